"""Checks of a split's labels: axes, units, joint order, bones and projections, and joints against stored vertices.

A mistake that most frames share is named once and then undone for the checks that follow: one cause, one finding.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handlit.data.verification.report import Report
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.geometry.crops import check_box, check_in_image, inside, misses_image, share_in_image
from handlit.skeleton import BONES, JOINTS, TIP_VERTICES, TIPS, TipConvention, permutation

#: Lengths that bones of a hand have, from wrist to knuckle too, metres.
BONE_RANGE = (0.004, 0.14)
#: Length of a palm, wrist to middle knuckle, metres: tells the unit, nothing finer.
PALM = 0.09
#: Share of the joints that must lie in the images.
MIN_IN_IMAGE = 0.8
#: Share of a hand's box that is in the image, below which it is named.
MIN_BOX_IN_IMAGE = 0.5
#: Joints and meshes of one hand agree up to this, millimetres; another tip vertex is further away.
TOLERANCE_MM = 1.0
#: How many of a unit make a metre.
UNITS = {"millimetres": 1000.0, "centimetres": 100.0}
#: What a mistaken change of axes does to the signs of x, y and z.
AXES: dict[str, tuple[float, float, float]] = {
    "y and z have the wrong sign: OpenGL and OpenCV axes are mixed up": (1.0, -1.0, -1.0),
    "z has the wrong sign: half of a change between OpenGL and OpenCV axes": (1.0, 1.0, -1.0),
    "y has the wrong sign: half of a change between OpenGL and OpenCV axes": (1.0, -1.0, 1.0),
    "x has the wrong sign: mirrored": (-1.0, 1.0, 1.0),
}


def with_exchanged_fingers(names: Sequence[str]) -> list[int]:
    """Indices that put right an array in the order of these joint names whose ring and pinky were exchanged."""
    marked = [name.replace("ring", "*").replace("pinky", "ring").replace("*", "pinky") for name in names]
    return permutation(marked, names)


def check_labels(report: Report, split: str, frames: FrameTable) -> FrameTable:
    """Check the joints of a split.

    Args:
        report: Takes findings and measures.
        split: Name of the split.
        frames: Labels in handlit's conventions; rows of NaN where not known.

    Returns:
        The labels with the mistakes that most frames share undone.
    """
    known = with_joints(frames)
    if not known.any():
        return frames
    assert frames.joints_cam is not None
    joints = np.asarray(frames.joints_cam, dtype=np.float64)
    measures = report.measures.setdefault(split, {})
    measures["frames with joints"] = int(known.sum())
    if np.median(np.linalg.norm(joints[known, 0], axis=-1)) < 1e-6:
        text = "the wrist is at the origin: expected absolute camera coordinates, not relative to the wrist"
        report.add("relative joints", split, text)
        return replace(frames, joints_cam=np.full_like(joints, np.nan))
    factor = _unit(report, split, joints[known])
    signs = np.array(_signs(report, split, replace(frames, joints_cam=joints), known))
    joints = joints / factor * signs
    joints = _in_order(report, split, joints, known)
    _check_frames(report, split, replace(frames, joints_cam=joints), known)
    inside = in_image(joints[known], frames.intrinsics[known], frames.image_sizes[known])
    measures["joints in the image"] = float(inside.mean())
    measures["depth of the wrist, median, m"] = float(np.median(joints[known, 0, 2]))
    measures["palm, median, mm"] = 1000 * float(np.median(_palms(joints[known])))
    return replace(frames, joints_cam=joints, root_cam=joints[:, 0])


def with_joints(frames: FrameTable) -> np.ndarray:
    """(N,) bool, frames whose joints and camera are known."""
    if frames.joints_cam is None:
        return np.zeros(len(frames), dtype=bool)
    return np.isfinite(frames.joints_cam).all(axis=(1, 2)) & np.isfinite(frames.intrinsics).all(axis=(1, 2))


def in_image(joints: np.ndarray, intrinsics: np.ndarray, image_sizes: np.ndarray) -> np.ndarray:
    """(N, 21) bool, joints (N, 21, 3) that are in front of the camera and project into the image."""
    homogeneous = joints @ intrinsics.transpose(0, 2, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        points = homogeneous[..., :2] / homogeneous[..., 2:]
        within = inside(points, image_sizes[:, None])
    return within & (joints[..., 2] > 0)


def _palms(joints: np.ndarray) -> np.ndarray:
    return np.linalg.norm(joints[:, JOINTS.index("middle_1")] - joints[:, 0], axis=-1)


def _unit(report: Report, split: str, joints: np.ndarray) -> float:
    palm = float(np.median(_palms(joints)))
    for name, factor in UNITS.items():
        if 1 / 3 < palm / PALM / factor < 3:
            text = f"a palm measures {palm:.4g}: these are {name}, expected metres; divide by {factor:g}"
            report.add("units", split, text)
            return factor
    return 1.0


def _signs(report: Report, split: str, frames: FrameTable, known: np.ndarray) -> tuple[float, float, float]:
    """The signs that put the joints before the camera and into the image."""
    assert frames.joints_cam is not None
    joints, intrinsics, sizes = frames.joints_cam[known], frames.intrinsics[known], frames.image_sizes[known]

    def share(signs: tuple[float, float, float]) -> float:
        return float(in_image(joints * np.array(signs), intrinsics, sizes).mean())

    given = share((1.0, 1.0, 1.0))
    if given >= MIN_IN_IMAGE:
        return 1.0, 1.0, 1.0
    shares = {name: share(signs) for name, signs in AXES.items()}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < MIN_IN_IMAGE:
        text = f"{given:.0%} of the joints project into the image, at least {MIN_IN_IMAGE:.0%} expected: other cameras?"
        report.add("projection", split, text)
        return 1.0, 1.0, 1.0
    report.add("axes", split, f"{best} ({given:.0%} of the joints are in the image, {shares[best]:.0%} without that)")
    return AXES[best]


def _in_order(report: Report, split: str, joints: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The joints with ring and pinky in their places: the pinky's knuckle is the one further from the index's."""
    index, ring, pinky = (joints[known, JOINTS.index(f"{finger}_1")] for finger in ("index", "ring", "pinky"))
    swapped = np.linalg.norm(pinky - index, axis=-1) < np.linalg.norm(ring - index, axis=-1)
    if swapped.mean() <= 0.5:
        return joints
    report.add("joint order", split, "pinky and ring are exchanged: MANO's order has the pinky first")
    return joints[:, with_exchanged_fingers(JOINTS)]


def _check_frames(report: Report, split: str, frames: FrameTable, known: np.ndarray) -> None:
    """What is wrong with single frames."""
    assert frames.joints_cam is not None
    keys, joints = frames.keys[known], frames.joints_cam[known]
    behind = (joints[..., 2] <= 0).any(axis=1)
    report.add("behind the camera", split, "joints are behind the camera (z <= 0)", keys[behind].tolist())
    inside = in_image(joints, frames.intrinsics[known], frames.image_sizes[known])
    outside = ~inside.any(axis=1) & ~behind
    report.add("outside the image", split, "all joints project outside the image", keys[outside].tolist())
    bones = np.stack([np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1) for parent, child in BONES], axis=1)
    odd = ((bones < BONE_RANGE[0]) | (bones > BONE_RANGE[1])).any(axis=1)
    low, high = (1000 * length for length in BONE_RANGE)
    text = f"bones are shorter than {low:g} mm or longer than {high:g} mm"
    report.add("bone lengths", split, text, keys[odd].tolist())


def check_boxes(report: Report, split: str, frames: FrameTable) -> None:
    """Check the hands' boxes against their images.

    Args:
        report: Takes findings.
        split: Name of the split.
        frames: Boxes; rows of NaN where not known.
    """
    boxes, sizes = frames.boxes, frames.image_sizes
    known = ~np.isnan(boxes[:, 0])
    is_box = np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1)
    outside = [
        _box_fault(frames, row) for row in np.flatnonzero(known & (~is_box | misses_image(boxes, sizes))).tolist()
    ]
    shown = np.flatnonzero(is_box & ~misses_image(boxes, sizes))
    cut = frames.keys[shown[share_in_image(boxes[shown], sizes[shown]) < MIN_BOX_IN_IMAGE]].tolist()
    report.add("boxes", split, "images do not show the hands' boxes", outside)
    text = "less than half of the hand's box is in the image: are boxes of images of this size, turned as shown (EXIF)?"
    report.add("boxes at the edge", split, text, cut, "note")


def _box_fault(frames: FrameTable, row: int) -> str:
    width, height = frames.image_sizes[row].tolist()
    try:
        check_in_image(np.array(check_box(frames.boxes[row])), (width, height))
    except InputError as error:
        return f"{frames.keys[row]}: {error}"
    return ""


def check_tips(
    report: Report, split: str, keys: np.ndarray, joints: np.ndarray, vertices: np.ndarray, convention: TipConvention
) -> None:
    """Check that the tips of the joints are the vertices that the dataset says; this needs no hand model.

    Args:
        report: Takes findings and measures.
        split: Name of the split.
        keys: (N,) names of the frames.
        joints: (N, 21, 3) metres, handlit's order.
        vertices: (N, 778, 3), same frame.
        convention: The dataset's.
    """
    tips = joints[:, [JOINTS.index(tip) for tip in TIPS]]

    def distance_mm(name: TipConvention) -> np.ndarray:
        return 1000 * np.linalg.norm(tips - vertices[:, TIP_VERTICES[name]], axis=-1).max(axis=1)

    distances = distance_mm(convention)
    measures = report.measures.setdefault(split, {})
    measures["tips to stored vertices, median, mm"] = float(np.median(distances))
    measures["tips to stored vertices, largest, mm"] = float(distances.max())
    wrong = distances > TOLERANCE_MM
    if not wrong.any():
        return
    others = [name for name in TIP_VERTICES if np.median(distance_mm(name)[wrong]) < TOLERANCE_MM]
    cause = f"they are those of {others[0]}" if others else "do the lists belong together?"
    text = f"finger tips are up to {distances.max():.3g} mm from the vertices of {convention}: {cause}"
    report.add("tips and vertices", split, text, keys[wrong].tolist())
