"""Build the stand-in hand's file from its anatomy: `python -m scripts.standin_hand [--image FILE.png]`."""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handlit.hand import standin
from handlit.hand.articulation import named_poses
from handlit.hand.layer import HandLayer
from handlit.render.overlays import draw_mesh
from scripts.standin_hand.build import save_hand, sculpt_hand

TILE = 240
OVERSAMPLING = 3
PAPER = (247, 247, 245)
#: What each tile shows: label, view, posture, coefficient of a shape component.
TILES = (
    ("palm", "palm", "flat", None),
    ("back", "back", "flat", None),
    ("side", "side", "flat", None),
    ("relaxed", "oblique", "relaxed", None),
    ("fist", "palm", "fist", None),
    ("point", "palm", "point", None),
    ("pinch", "side", "pinch", None),
    ("grasp", "side", "grasp", None),
    ("small", "palm", "flat", (0, -2.5)),
    ("long fingers", "palm", "flat", (1, 2.5)),
    ("slender", "palm", "flat", (2, -2.5)),
    ("wide palm", "palm", "flat", (3, 2.5)),
)
#: Rows of the rotation from the hand's frame to the camera's (x right, y down, z forward).
VIEWS = {
    "palm": [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
    "back": [[0, 0, -1], [1, 0, 0], [0, -1, 0]],
    "side": [[1, 0, 0], [0, -1, 0], [0, 0, -1]],
    "oblique": (Rotation.from_euler("y", 35, degrees=True).as_matrix() @ [[0, 0, 1], [1, 0, 0], [0, 1, 0]]).tolist(),
}


def draw(path: Path) -> None:
    """Write a contact sheet of the hand in the package."""
    asset = standin.load_standin()
    layer, poses = HandLayer(asset), named_poses()
    faces = torch.from_numpy(asset.faces)
    size = TILE * OVERSAMPLING
    focal = 8.2 * size
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    tiles = []
    for label, view, posture, shape in TILES:
        betas = torch.zeros(1, 10)
        if shape is not None:
            betas[0, shape[0]] = shape[1]
        pose = torch.from_numpy(poses[posture]).float()[None]
        vertices = layer(pose, betas).vertices @ torch.tensor(VIEWS[view], dtype=torch.float32).T
        middle = (vertices.amax(1, keepdim=True) + vertices.amin(1, keepdim=True)) / 2
        vertices = vertices - middle + torch.tensor([0.0, 0.0, 2.0])
        paper = np.full((size, size, 3), PAPER, np.uint8)
        image = draw_mesh(paper, vertices[0], faces, intrinsics, opacity=1)
        tile = cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA)
        cv2.putText(tile, label, (12, TILE - 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (90, 90, 90), 1, cv2.LINE_AA)
        tiles.append(tile)
    sheet = np.vstack([np.hstack(tiles[row : row + 4]) for row in range(0, len(tiles), 4)])
    cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


def main(args: list[str] | None = None) -> None:
    """Sculpt the hand and write it where the package looks for it, or to the given file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(standin.__file__).with_name("standin_hand.npz"))
    parser.add_argument("--image", type=Path, help="also draw the package's hand to this image")
    options = parser.parse_args(args)
    save_hand(sculpt_hand(), options.out)
    print(f"wrote {options.out} ({options.out.stat().st_size / 1e3:.0f} kB)")
    if options.image:
        draw(options.image)


if __name__ == "__main__":
    main()
