"""Batches of stand-in hands with exact labels; the images are coarse noise that tells the samples apart."""

import torch
from torch.utils.data import DataLoader

from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.types import HandBatch, HandSample, collate

SIZE = 64


def hand_samples(count: int, seed: int = 0, labelled: bool = True) -> list[HandSample]:
    """Hands half a metre in front of a camera, projected near the middle of the crop."""
    generator = torch.Generator().manual_seed(seed)
    layer = HandLayer(load_hand(None), tips="ho3d")
    pose = torch.cat([torch.randn(count, 3, generator=generator), 0.2 * torch.rand(count, 45, generator=generator)], 1)
    betas = 0.5 * torch.randn(count, 10, generator=generator)
    root = torch.tensor([0.0, 0.0, 0.5]) + 0.02 * torch.randn(count, 3, generator=generator)
    mesh = layer(pose[:, 3:], betas, pose[:, :3])
    shift = root[:, None] - mesh.joints[:, :1]
    vertices, joints = mesh.vertices + shift, mesh.joints + shift
    intrinsics = torch.tensor([[120.0, 0.0, 31.5], [0.0, 120.0, 31.5], [0.0, 0.0, 1.0]])
    joints_2d = project(joints, intrinsics.expand(count, 3, 3))
    samples = []
    for i in range(count):
        labels = {
            "root_cam": root[i],
            "joints_cam": joints[i],
            "vertices_cam": vertices[i],
            "joints_2d": joints_2d[i],
            "pose": pose[i],
            "betas": betas[i],
        }
        image = torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8, generator=generator)
        samples.append(
            HandSample(
                key=f"hand/{i:04d}",
                index=i,
                image=image.repeat_interleave(SIZE // 4, 1).repeat_interleave(SIZE // 4, 2),
                intrinsics=intrinsics,
                crop_transform=torch.eye(2, 3),
                **(labels if labelled else {}),
            )
        )
    return samples


def hand_batch(count: int = 4, seed: int = 0, labelled: bool = True) -> HandBatch:
    return collate(hand_samples(count, seed, labelled))


def loader(samples: list[HandSample], batch_size: int) -> DataLoader[HandSample]:
    return DataLoader(samples, batch_size=batch_size, collate_fn=collate)  # type: ignore[arg-type]
