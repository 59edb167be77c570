"""Checks joints against the mesh of the hand model, and says what is likely wrong where they disagree."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from handlit.data.loading.visibility import right_hands
from handlit.data.verification.labels import AXES, TOLERANCE_MM, with_exchanged_fingers, with_joints
from handlit.data.verification.report import Report
from handlit.formats.frame_table import FrameTable
from handlit.formats.ho3d_annotations import turned
from handlit.geometry.mirroring import mirrored_points
from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.skeleton import JOINTS, KINEMATIC_JOINTS, TIP_VERTICES, TipConvention

#: A cause is named if it brings joints and mesh at least this many times closer together.
IMPROVEMENT = 5.0
#: Frames that causes are looked for in.
CAUSE_FRAMES = 200
#: Hands that are posed at a time.
BATCH = 1024


def check_meshes(
    report: Report, split: str, frames: FrameTable, asset: HandAsset, tips: TipConvention, why_not: str = ""
) -> None:
    """Compare joints with those of the hand that pose and betas give, both from the wrist on.

    Args:
        report: Takes findings and measures.
        split: Name of the split.
        frames: Labels in handlit's conventions; rows of NaN where not known.
        asset: The hand model.
        tips: Vertices that the labels' tips are.
        why_not: Why they cannot agree with this hand model; "" if they must.
    """
    if frames.pose is None or frames.betas is None or frames.joints_cam is None:
        return
    rows = with_joints(frames) & np.isfinite(frames.pose).all(axis=1) & np.isfinite(frames.betas).all(axis=1)
    if not rows.any():
        return
    if why_not:
        report.add("meshes not compared", split, why_not, severity="note")
        return
    labelled = frames.select(rows)
    errors = _distances_mm(labelled, HandLayer(asset, tips=tips))
    largest = errors.max(axis=1)
    measures = report.measures.setdefault(split, {})
    measures["joints to mesh, median, mm"] = float(np.median(errors))
    measures["joints to mesh, largest, mm"] = float(errors.max())
    wrong = np.flatnonzero(largest > TOLERANCE_MM)
    if not len(wrong):
        return
    spread = wrong[np.linspace(0, len(wrong) - 1, min(len(wrong), CAUSE_FRAMES)).astype(int)]
    cause = _cause(labelled.select(spread), asset, tips)
    text = f"joints are up to {errors.max():.3g} mm from the mesh of pose and betas: {cause}"
    report.add("joints and meshes", split, text, labelled.keys[wrong].tolist())


def _distances_mm(frames: FrameTable, hand: HandLayer) -> np.ndarray:
    """(N, 21) distances of the joints from the mesh's."""
    assert frames.joints_cam is not None
    bare = replace(frames, joints_cam=None, vertices_cam=None, root_cam=frames.joints_cam[:, 0])
    parts = [np.arange(start, min(start + BATCH, len(frames))) for start in range(0, len(frames), BATCH)]
    joints = np.concatenate([right_hands(bare.select(part), hand)[0] for part in parts]).astype(np.float64)
    if frames.mirrored is not None:
        joints[frames.mirrored] = mirrored_points(joints[frames.mirrored])
    return 1000 * np.linalg.norm(joints - frames.joints_cam, axis=-1)


def _cause(frames: FrameTable, asset: HandAsset, tips: TipConvention) -> str:
    """The change of the labels that brings them closest to the mesh, in words."""
    found = {name: float(_distances_mm(changed, hand).mean()) for name, changed, hand in _changes(frames, asset, tips)}
    best = min(found, key=lambda name: found[name])
    given = float(_distances_mm(frames, HandLayer(asset, tips=tips)).mean())
    if found[best] * IMPROVEMENT > given:
        return "no known mistake explains it; is this the hand model that the labels were made with?"
    return f"{best} ({given:.3g} mm on average, {found[best]:.3g} mm without that)"


def _changes(frames: FrameTable, asset: HandAsset, tips: TipConvention) -> Iterator[tuple[str, FrameTable, HandLayer]]:
    """The usual mistakes, each with the labels that it is undone in."""
    joints, pose, betas = frames.joints_cam, frames.pose, frames.betas
    assert joints is not None
    assert pose is not None
    assert betas is not None
    mean = np.concatenate([np.zeros(3), asset.pose_mean])
    swapped_pose = pose.reshape(-1, 16, 3)[:, with_exchanged_fingers(KINEMATIC_JOINTS)].reshape(-1, 48)
    changed = {
        "the mean pose is not added to the pose": replace(frames, pose=pose + mean),
        "the mean pose is added to the pose twice": replace(frames, pose=pose - mean),
        "pinky and ring are exchanged in the joints": replace(
            frames, joints_cam=joints[:, with_exchanged_fingers(JOINTS)]
        ),
        "pinky and ring are exchanged in the pose": replace(frames, pose=swapped_pose),
        "the joints belong to the mean shape, betas are not used": replace(frames, betas=np.zeros_like(betas)),
        "the global rotation is in other axes than the joints (OpenGL, OpenCV)": replace(
            frames, pose=np.concatenate([turned(pose[:, :3].astype(np.float64)), pose[:, 3:]], axis=1)
        ),
    }
    wrist = joints[:, :1]
    for name, signs in AXES.items():
        # what the fingers do about the wrist tells the axes even where a projection does not
        changed[f"joints: {name}"] = replace(frames, joints_cam=wrist + (joints - wrist) * np.array(signs))
    hand = HandLayer(asset, tips=tips)
    for name, table in changed.items():
        yield name, table, hand
    for convention in TIP_VERTICES:
        if convention != tips:
            yield f"the finger tips are those of {convention}, not of {tips}", frames, HandLayer(asset, tips=convention)
