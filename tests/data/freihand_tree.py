"""A small dataset in FreiHAND's layout: hands of the hand layer, drawn flat."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.skeleton import JOINTS

VERSIONS = 4


def write_tree(root: Path, train: int = 12, evaluation: int = 3, seed: int = 0) -> Path:
    """Write the tree; every number comes from a layer that adds the mean pose itself."""
    rng = np.random.default_rng(seed)
    hand = HandLayer(load_hand(None), flat_hand_mean=False, tips="freihand", dtype=torch.float64)
    for split, count in (("training", train), ("evaluation", evaluation)):
        pose = 0.3 * rng.normal(size=(count, 48))
        betas = 0.5 * rng.normal(size=(count, 10))
        root_cam = rng.uniform((-0.05, -0.05, 0.55), (0.05, 0.05, 0.7), (count, 3))
        mesh = hand(torch.from_numpy(pose[:, 3:]), torch.from_numpy(betas), torch.from_numpy(pose[:, :3]))
        offset = root_cam[:, None] - mesh.joints[:, :1].numpy()
        joints, vertices = mesh.joints.numpy() + offset, mesh.vertices.numpy() + offset
        focal = rng.uniform(400, 500, count)
        K = np.zeros((count, 3, 3))
        K[:, 0, 0] = K[:, 1, 1] = focal
        K[:, :2, 2] = 112 - focal[:, None] * joints[:, 9, :2] / joints[:, 9, 2:]
        K[:, 2, 2] = 1
        uv = np.einsum("nij,nvj->nvi", K, vertices)
        uv = uv[..., :2] / uv[..., 2:]
        bone = np.linalg.norm(joints[:, JOINTS.index("middle_1")] - joints[:, JOINTS.index("middle_2")], axis=-1)
        mano = np.concatenate([pose, betas, np.zeros((count, 3))], axis=1)[:, None]
        lists = {"K": K, "scale": bone, "xyz": joints, "verts": vertices, "mano": mano}
        for name, values in lists.items():
            (root / f"{split}_{name}.json").write_text(json.dumps(values.tolist()))
        (root / split / "rgb").mkdir(parents=True)
        masks = []
        for sample in range(count):
            mask = np.zeros((224, 224), np.uint8)
            for face in hand.faces.numpy():
                cv2.fillConvexPoly(mask, np.rint(uv[sample][face]).astype(np.int32), 255)
            masks.append(mask)
        for number in range(count * (VERSIONS if split == "training" else 1)):
            version, sample = divmod(number, count)
            image = np.full((224, 224, 3), 40 * version + 20, np.uint8)
            image[masks[sample] > 0] = (120, 160, 220)
            cv2.imwrite(str(root / split / "rgb" / f"{number:08d}.jpg"), image)
        if split == "training":
            (root / split / "mask").mkdir()
            for sample, mask in enumerate(masks):
                cv2.imwrite(str(root / split / "mask" / f"{sample:08d}.jpg"), mask)
    return root
