"""Decodes images, masks and depth images of a split in worker processes, and compares them with the joints."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from handlit.data.loading.cropping import check_mask
from handlit.data.loading.visibility import BEHIND_SURFACE_MM
from handlit.data.verification.labels import in_image, with_joints
from handlit.data.verification.report import Report
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import DepthReader, MaskReader, decode_sized, read_bytes
from handlit.formats.worker_pool import in_processes

#: What reading a damaged file may raise; anything else is a defect of this program.
DAMAGE = (InputError, OSError)
#: Frames that a process decodes at a time.
BLOCK = 32
#: A joint lies inside the flesh: at most so far before the measured surface, by the noise of a depth camera.
BEFORE_SURFACE_MM = 10.0
#: Shares of the joints of which depth and masks must be as expected. Objects hide joints; a wrong unit leaves none.
MIN_IN_DEPTH, MIN_IN_MASKS = 0.3, 0.5
#: Frames with known joints below which their shares are not judged.
MIN_FRAMES = 5


@dataclass
class _Block:
    """What decoding some frames gave."""

    decoded: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("image", "mask", "depth"), 0))
    damaged: list[tuple[str, str]] = field(default_factory=list)
    empty_masks: list[str] = field(default_factory=list)
    empty_depths: list[str] = field(default_factory=list)
    in_masks: list[np.ndarray] = field(default_factory=list)
    joint_depths: list[np.ndarray] = field(default_factory=list)
    surface_depths: list[np.ndarray] = field(default_factory=list)


def spread_rows(count: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Rows spread over a table: one at random from each of `wanted` equal parts; all if there are no more."""
    if wanted >= count:
        return np.arange(count)
    edges = np.linspace(0, count, wanted + 1)
    return (edges[:-1] + rng.random(wanted) * np.diff(edges)).astype(int)


def check_images(
    report: Report,
    split: str,
    root: Path,
    frames: FrameTable,
    read_masks: MaskReader | None = None,
    read_depth: DepthReader | None = None,
    workers: int | None = None,
) -> None:
    """Decode every file of these frames; "" in the table stands for none.

    Args:
        report: Takes findings, counts and measures.
        split: Name of the split.
        root: Folder that the table's files start from.
        frames: Files and labels of the frames to look at.
        read_masks: Decodes the table's masks; a module's own function.
        read_depth: Decodes the table's depth images, likewise.
        workers: Processes; None for one a core, 0 for this one.
    """
    bare = replace(frames, vertices_cam=None, pose=None, betas=None, object_pose=None, object_names=None)
    tables = [bare.select(np.arange(start, min(start + BLOCK, len(bare)))) for start in range(0, len(bare), BLOCK)]
    check = partial(_check_block, root, read_masks, read_depth)
    blocks = in_processes(check, tables, f"images of {split}", workers)
    counts = report.counts.setdefault(split, {})
    for kind in ("image", "mask", "depth"):
        decoded = sum(block.decoded[kind] for block in blocks)
        damaged = [message for block in blocks for name, message in block.damaged if name == kind]
        if decoded or damaged:
            counts[f"{kind}s decoded"] = decoded
            counts[f"{kind}s unreadable"] = len(damaged)
        report.add(f"unreadable {kind}s", split, f"{kind} files cannot be decoded", damaged)
    empty_masks = [name for block in blocks for name in block.empty_masks]
    report.add("empty masks", split, "masks without a pixel of the hand", empty_masks, "note")
    empty_depths = [name for block in blocks for name in block.empty_depths]
    report.add("empty depth", split, "depth images in which nothing was measured", empty_depths)
    _judge_masks(report, split, [share for block in blocks for share in block.in_masks])
    joint_depths = [values for block in blocks for values in block.joint_depths]
    _judge_depth(report, split, joint_depths, [values for block in blocks for values in block.surface_depths])


def _judge_masks(report: Report, split: str, in_masks: Sequence[np.ndarray]) -> None:
    if len(in_masks) < MIN_FRAMES:
        return
    share = float(np.concatenate(in_masks).mean())
    report.measures.setdefault(split, {})["joints on the masks"] = share
    if share < MIN_IN_MASKS:
        text = f"{share:.0%} of the joints are on the masks of hand and object: do masks and cameras fit the labels?"
        report.add("masks and joints", split, text)


def _judge_depth(
    report: Report, split: str, joint_depths: Sequence[np.ndarray], surface_depths: Sequence[np.ndarray]
) -> None:
    if len(joint_depths) < MIN_FRAMES:
        return
    joints, surfaces = np.concatenate(joint_depths), np.concatenate(surface_depths)
    behind_mm = 1000 * (joints - surfaces)
    share = float(((behind_mm > -BEFORE_SURFACE_MM) & (behind_mm < BEHIND_SURFACE_MM)).mean()) if len(joints) else 0.0
    report.measures.setdefault(split, {})["joints within 40 mm behind the measured surface"] = share
    if share < MIN_IN_DEPTH:
        text = f"the measured surface is within 40 mm before {share:.0%} of the joints"
        if len(joints):
            text += (
                f"; on average it is at {np.median(surfaces / joints):.3g} of their depth: is the depth's unit right?"
            )
        report.add("depth and joints", split, text)


def _check_block(
    root: Path, read_masks: MaskReader | None, read_depth: DepthReader | None, frames: FrameTable
) -> _Block:
    block = _Block()
    known = with_joints(frames)
    for row in range(len(frames)):
        size = (int(frames.image_sizes[row, 0]), int(frames.image_sizes[row, 1]))
        key = str(frames.keys[row])
        joints = _in_image(frames, row) if known[row] else None
        name = str(frames.images[row])
        if name:
            try:
                decode_sized(read_bytes(root / name), name, size)
                block.decoded["image"] += 1
            except DAMAGE as error:
                block.damaged.append(("image", str(error)))
        name = "" if frames.masks is None or read_masks is None else str(frames.masks[row])
        if name and read_masks is not None:
            try:
                hand, held = read_masks(root / name)
                check_mask(hand, size, root / name)
                block.decoded["mask"] += 1
                if not hand.any():
                    block.empty_masks.append(key)
                if joints is not None:
                    mask = hand if held is None else hand | held
                    block.in_masks.append(_values_at(mask, joints, size))
            except DAMAGE as error:
                block.damaged.append(("mask", str(error)))
        name = "" if frames.depths is None or read_depth is None else str(frames.depths[row])
        if name and read_depth is not None:
            try:
                depth = read_depth(root / name)
                if depth.shape != size[::-1]:
                    raise InputError(f"depth image {root / name} is {depth.shape[::-1]}, its frame is {size}")
                block.decoded["depth"] += 1
                if not depth.any():
                    block.empty_depths.append(key)
                elif joints is not None:
                    measured = _values_at(depth, joints, size)
                    block.joint_depths.append(joints[measured > 0, 2])
                    block.surface_depths.append(measured[measured > 0])
            except DAMAGE as error:
                block.damaged.append(("depth", str(error)))
    return block


def _in_image(frames: FrameTable, row: int) -> np.ndarray:
    """(M, 3) the joints of a frame that project into its image: column and row in pixels, depth in metres."""
    assert frames.joints_cam is not None
    joints, intrinsics = frames.joints_cam[row].astype(np.float64), frames.intrinsics[row]
    joints = joints[in_image(joints[None], intrinsics[None], frames.image_sizes[row : row + 1])[0]]
    homogeneous = joints @ intrinsics.T
    return np.concatenate([homogeneous[:, :2] / homogeneous[:, 2:], joints[:, 2:]], axis=1)


def _values_at(image: np.ndarray, joints: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(M,) values of an image, of the image's size or a whole fraction of it, at the joints' pixels."""
    columns, rows = np.rint(joints[:, :2]).astype(int).T
    return image[rows * image.shape[0] // size[1], columns * image.shape[1] // size[0]]
