"""Which joints and vertices of a whole dataset the images show: from depth images, or from the hands' meshes."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from handlit.data.loading.cropping import check_mask
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import DepthReader, MaskReader
from handlit.formats.worker_pool import in_processes
from handlit.geometry.mirroring import MIRROR, mirrored_rotation_vectors
from handlit.hand.asset import NUM_VERTICES
from handlit.hand.layer import HandLayer
from handlit.render import point_visibility
from handlit.render.visibility import joints_seen
from handlit.skeleton import NUM_JOINTS

#: From what the visibility of joints and vertices is found.
VisibilitySource = Literal["none", "depth", "mesh"]

#: Pixels around a joint in which its surface is looked for, to each side.
WINDOW = 4
#: How far a joint may lie behind the measured surface, millimetres.
BEHIND_SURFACE_MM = 40.0
#: Frames that a process works on at a time, and of those at once.
BLOCK, BATCH = 512, 32

_OFFSETS = np.stack(np.meshgrid(*[np.arange(-WINDOW, WINDOW + 1)] * 2), axis=-1).reshape(-1, 2)


def joints_in_depth(
    joints_cam: np.ndarray, intrinsics: np.ndarray, depth: np.ndarray, hand_mask: np.ndarray
) -> np.ndarray:
    """Joints that a depth image shows, by MHEntropy's definition (ICCV 2023, its published code).

    A joint is seen if, in the 9x9 pixels around its projection (truncated to whole pixels), some pixel of the hand was
    measured at no more than 40 mm before it: joints lie inside the flesh. A joint before the measured surface counts
    as seen; where nothing was measured nothing is seen.

    Args:
        joints_cam: (N, 3) camera frame, metres.
        intrinsics: (3, 3) pixels.
        depth: (H, W) metres, 0 where nothing was measured.
        hand_mask: (h, w) bool, of the same image, at its resolution or a whole fraction of it.

    Returns:
        (N,) bool.
    """
    height, width = depth.shape
    homogeneous = joints_cam @ intrinsics.T
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.trunc(homogeneous[:, :2] / homogeneous[:, 2:])
    # far outside the image, as is what has no projection
    centre = np.nan_to_num(centre, nan=-1e6, posinf=1e6, neginf=-1e6).clip(-1e6, 1e6).astype(np.int64)
    u, v = np.moveaxis(centre[:, None] + _OFFSETS, -1, 0)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    u, v = u.clip(0, width - 1), v.clip(0, height - 1)
    on_hand = hand_mask[v * hand_mask.shape[0] // height, u * hand_mask.shape[1] // width]
    near = 1000 * joints_cam[:, 2:] - 1000 * depth[v, u] < BEHIND_SURFACE_MM
    return (inside & on_hand & near).any(axis=1)


def visibility_from_depth(
    root: Path, frames: FrameTable, read_depth: DepthReader, read_masks: MaskReader, workers: int | None = None
) -> np.ndarray:
    """Joints of every frame that its depth image shows; see `joints_in_depth`.

    Args:
        root: Folder that the table's file paths start from.
        frames: Labels.
        read_depth: Decodes the table's depth images; a module's own function.
        read_masks: Decodes the table's segmentation files, likewise.
        workers: Processes; None for one a core, 0 for this one.

    Returns:
        (N, 21) int8: 1 seen, 0 hidden, -1 where joints, depth or mask are not known.

    Raises:
        InputError: The table names no depth images or masks, or one is damaged.
    """
    if frames.joints_cam is None or frames.depths is None or frames.masks is None:
        raise InputError(
            f"visibility from depth needs joints, depth images and segmentation, and {root} lacks one of them for "
            'every frame: complete it (HO-3D ships its segmentation apart: seg_root), or choose visibility "mesh"'
        )
    parts = in_processes(
        partial(_depth_block, root, read_depth, read_masks), _blocks(frames), "visibility from depth", workers
    )
    return np.concatenate(parts)


def _depth_block(root: Path, read_depth: DepthReader, read_masks: MaskReader, frames: FrameTable) -> np.ndarray:
    assert frames.joints_cam is not None
    assert frames.depths is not None
    assert frames.masks is not None
    visible = np.full((len(frames), NUM_JOINTS), -1, dtype=np.int8)
    for row in range(len(frames)):
        joints = frames.joints_cam[row].astype(np.float64)
        if not (frames.depths[row] and frames.masks[row]) or np.isnan(joints).any():
            continue
        depth_path, mask_path = root / str(frames.depths[row]), root / str(frames.masks[row])
        depth, (hand_mask, _) = read_depth(depth_path), read_masks(mask_path)
        width, height = frames.image_sizes[row].tolist()
        check_mask(hand_mask, (width, height), mask_path)
        if depth.shape != (height, width):
            raise InputError(f"depth image {depth_path} is {depth.shape[::-1]}, its frame is {width}x{height}")
        visible[row] = joints_in_depth(joints, frames.intrinsics[row], depth, hand_mask)
    return visible


def visibility_from_mesh(
    root: Path, frames: FrameTable, hand: HandLayer, read_masks: MaskReader | None = None, workers: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Joints and vertices of every frame that its image shows, from the hand's own mesh.

    A vertex is seen if it is inside the image, no other part of the hand is in front of it and the object's mask, where
    there is one, does not cover it. A joint is seen if at least half of the skin before it is (`joints_seen`).
    What hides a hand and has no mask is not known here.

    Args:
        root: Folder that the table's file paths start from.
        frames: Labels; hands come from stored vertices, or from pose, betas and root.
        hand: With the dataset's conventions.
        read_masks: Decodes the table's segmentation files, a module's own function; None to go by the mesh alone.
        workers: Processes; None for one a core, 0 for this one.

    Returns:
        Joints (N, 21) and vertices (N, 778), int8: 1 seen, 0 hidden, -1 where the mesh is not known.

    Raises:
        InputError: The table has no meshes at all, or a mask is damaged.
    """
    if frames.vertices_cam is None and (frames.pose is None or frames.betas is None or frames.root_cam is None):
        raise InputError(f"visibility from meshes needs vertices, or pose, shape and root, and {root} has neither")
    parts = in_processes(partial(_mesh_block, root, hand, read_masks), _blocks(frames), "visibility from mesh", workers)
    return np.concatenate([joints for joints, _ in parts]), np.concatenate([vertices for _, vertices in parts])


def _mesh_block(
    root: Path, hand: HandLayer, read_masks: MaskReader | None, frames: FrameTable
) -> tuple[np.ndarray, np.ndarray]:
    joints_visible = np.full((len(frames), NUM_JOINTS), -1, dtype=np.int8)
    vertices_visible = np.full((len(frames), NUM_VERTICES), -1, dtype=np.int8)
    joints, vertices, intrinsics = right_hands(frames, hand)
    known = np.isfinite(vertices).all(axis=(1, 2)) & np.isfinite(joints).all(axis=(1, 2))
    for size in np.unique(frames.image_sizes, axis=0):
        rows = np.flatnonzero(known & (frames.image_sizes == size).all(axis=1))
        for batch in (rows[start : start + BATCH] for start in range(0, len(rows), BATCH)):
            skin, cameras = torch.from_numpy(vertices[batch]), torch.from_numpy(intrinsics[batch])
            seen = point_visibility(skin, skin, hand.faces, cameras, (int(size[1]), int(size[0])))
            if read_masks is not None:
                covered = [
                    _under_object(root, read_masks, frames, row, vertices[row], intrinsics[row]) for row in batch
                ]
                seen &= ~torch.from_numpy(np.stack(covered))
            vertices_visible[batch] = seen.numpy()
            joints_visible[batch] = joints_seen(torch.from_numpy(joints[batch]), skin, hand.faces, seen).numpy()
    return joints_visible, vertices_visible


def right_hands(frames: FrameTable, hand: HandLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frames' hands and cameras; a left hand is the right hand that its mirrored image shows.

    Args:
        frames: Labels of a few frames.
        hand: With the dataset's conventions.

    Returns:
        Joints (N, 21, 3) and vertices (N, 778, 3) in the camera frame, metres, NaN where not known, and intrinsics
        (N, 3, 3) in pixels; all float32.
    """
    count = len(frames)
    mirrored = np.zeros(count, dtype=bool) if frames.mirrored is None else np.asarray(frames.mirrored)
    mirror = np.where(mirrored[:, None, None], MIRROR, np.eye(3))
    joints = _rows(frames.joints_cam, (count, NUM_JOINTS, 3)) @ mirror
    vertices = _rows(frames.vertices_cam, (count, NUM_VERTICES, 3)) @ mirror
    pose, betas = _rows(frames.pose, (count, 48)), _rows(frames.betas, (count, 10))
    pose = np.where(mirrored[:, None], mirrored_rotation_vectors(pose), pose)
    wrist = _rows(frames.root_cam, (count, 3))[:, None] @ mirror
    with torch.no_grad():
        turns = torch.from_numpy(pose).float()
        mesh = hand(turns[:, 3:], torch.from_numpy(betas).float(), turns[:, :3])
        offset = torch.from_numpy(wrist) - mesh.joints[:, :1]
    joints = np.where(np.isnan(joints), (mesh.joints + offset).numpy(), joints)
    vertices = np.where(np.isnan(vertices), (mesh.vertices + offset).numpy(), vertices)
    pixels = np.tile(np.eye(3), (count, 1, 1))
    pixels[mirrored, 0, 0] = -1
    pixels[mirrored, 0, 2] = frames.image_sizes[mirrored, 0] - 1
    intrinsics = pixels @ frames.intrinsics @ mirror
    return joints.astype(np.float32), vertices.astype(np.float32), intrinsics.astype(np.float32)


def _rows(values: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, np.nan) if values is None else np.asarray(values, dtype=np.float64)


def _under_object(
    root: Path, read_masks: MaskReader, frames: FrameTable, row: int, points: np.ndarray, intrinsics: np.ndarray
) -> np.ndarray:
    """Which points (N, 3) of one frame's right hand the object's mask covers, (N,) bool."""
    if frames.masks is None or not frames.masks[row]:
        return np.zeros(len(points), dtype=bool)
    path = root / str(frames.masks[row])
    _, mask = read_masks(path)
    if mask is None:
        return np.zeros(len(points), dtype=bool)
    width, height = frames.image_sizes[row].tolist()
    check_mask(mask, (width, height), path)
    if frames.mirrored is not None and frames.mirrored[row]:
        mask = mask[:, ::-1]
    homogeneous = points.astype(np.float64) @ intrinsics.T
    u, v = np.rint(homogeneous[:, :2] / homogeneous[:, 2:]).T
    # points beside the image are not seen whatever the mask says
    columns, rows = u.clip(0, width - 1).astype(int), v.clip(0, height - 1).astype(int)
    return mask[rows * mask.shape[0] // height, columns * mask.shape[1] // width]


def _blocks(frames: FrameTable) -> list[FrameTable]:
    """The table in parts, without what visibility does not need."""
    frames = replace(frames, visible=None, vertices_visible=None)
    return [frames.select(np.arange(start, min(start + BLOCK, len(frames)))) for start in range(0, len(frames), BLOCK)]
