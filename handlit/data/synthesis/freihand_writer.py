"""The on-disk layout of FreiHAND ("FreiHAND_pub_v2"): square crops in four colourings, labels in one list per kind.

Labels are in OpenCV camera axes, metres, joints in FreiHAND's order, which is handlit's.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from handlit.data.synthesis.appearance import sample_colour, sample_light, to_linear
from handlit.data.synthesis.collage import sample_background
from handlit.data.synthesis.drawing import PAN_MARGIN, Backdrop, Frame, Painter, paint_backdrop
from handlit.data.synthesis.ho3d_writer import JPEG_OPTIONS, write_truth
from handlit.data.synthesis.motion import rotation_vectors
from handlit.data.synthesis.renderer import HAND, SceneRenderer
from handlit.data.synthesis.scene import one_of, to_float32
from handlit.data.synthesis.sequence import Sequence
from handlit.files import write_bytes
from handlit.formats.freihand import IMAGE_SIZE, VERSIONS, FreiHANDSplit, list_file
from handlit.formats.ho3d_annotations import HO3DSplit
from handlit.skeleton import JOINTS, TIP_VERTICES, TIPS

#: Kinds of labels, each in a list of its own: ``training_K.json`` and so on.
LabelKind = Literal["K", "scale", "mano", "xyz", "verts"]
Labels = dict[LabelKind, np.ndarray]

FOLDERS: dict[HO3DSplit, FreiHANDSplit] = {"train": "training", "evaluation": "evaluation"}
#: Side of the crop over the larger side of the hand's box.
CROP_MARGIN = 1.4
#: Green screen, sRGB.
SCREEN = (60.0, 160.0, 80.0)
_TIPS = [JOINTS.index(tip) for tip in TIPS]


def coloured_versions(
    renderer: SceneRenderer, sequence: Sequence, split: HO3DSplit, rng: np.random.Generator
) -> list[Painter]:
    """Painters of the same hand and object before other backgrounds and in other light.

    Args:
        renderer: Of the hand model.
        sequence: What is drawn.
        split: Training samples have the four `VERSIONS`, evaluation samples one.
        rng: Source of backgrounds, lights and colours.
    """
    scene, side = sequence.scene, IMAGE_SIZE + 2 * PAN_MARGIN
    screen = np.array(SCREEN) * rng.uniform(0.8, 1.1) + rng.normal(0, 4, size=(side, side, 1))
    green = Backdrop(screen.clip(0, 255).astype(np.uint8), np.full((side, side), 1.5, dtype=np.float32))
    scenes = [scene._replace(background=one_of(sample_background(rng))) for _ in VERSIONS[1:]]
    scenes[1] = scenes[1]._replace(light=to_float32(sample_light(rng))[None])
    cloth = to_float32(to_linear(sample_colour(rng)))[None]
    scenes[2] = scenes[2]._replace(light=to_float32(sample_light(rng))[None], person=scene.person._replace(cloth=cloth))
    backdrops = [paint_backdrop(other.background, IMAGE_SIZE, IMAGE_SIZE, rng) for other in scenes]
    pairs = list(zip([scene, *scenes], [green, *backdrops], strict=True))
    chosen = pairs if split == "train" else pairs[1:2]
    return [Painter(renderer, sequence, other, backdrop) for other, backdrop in chosen]


def crop_intrinsics(sequence: Sequence, frame: int) -> np.ndarray:
    """(3, 3) intrinsics of a square crop around the hand, pixels."""
    homogeneous = sequence.vertices[frame] @ sequence.intrinsics.T
    points = homogeneous[:, :2] / homogeneous[:, 2:]
    low, high = points.min(axis=0), points.max(axis=0)
    zoom = IMAGE_SIZE / (CROP_MARGIN * (high - low).max())
    intrinsics = np.array(sequence.intrinsics, dtype=np.float64)
    intrinsics[:2, 2] -= (low + high) / 2
    intrinsics[:2] *= zoom
    intrinsics[:2, 2] += (IMAGE_SIZE - 1) / 2
    return intrinsics


def frame_labels(sequence: Sequence, frame: int, intrinsics: np.ndarray, pose_mean: np.ndarray) -> Labels:
    """The labels of one sample.

    Args:
        sequence: That it is of.
        frame: Number within the sequence.
        intrinsics: (3, 3) of the crop.
        pose_mean: (45,) mean finger pose of the hand model: FreiHAND's finger poses are relative to it.

    Returns:
        ``K`` (3, 3), ``scale`` (1,) length of the middle finger's first bone, ``mano`` (1, 61) pose, shape, root in
        pixels and scale, ``xyz`` (21, 3) and ``verts`` (778, 3); float64.
    """
    vertices = sequence.vertices[frame].astype(np.float64)
    joints = sequence.joints[frame].astype(np.float64)
    joints[_TIPS] = vertices[list(TIP_VERTICES["freihand"])]
    scale = np.linalg.norm(joints[JOINTS.index("middle_1")] - joints[JOINTS.index("middle_2")])
    root = intrinsics @ joints[0]
    rotation = rotation_vectors(sequence.hand_rotation[frame])
    mano = [rotation, sequence.pose[frame] - pose_mean, sequence.betas, root[:2] / root[2], [scale]]
    return {
        "K": intrinsics,
        "scale": np.array(scale),
        "mano": np.concatenate(mano)[None],
        "xyz": joints,
        "verts": vertices,
    }


def frame_files(root: Path, split: HO3DSplit, sample: int, total: int) -> list[Path]:
    """The images of one sample, in the order of `coloured_versions`; in training its mask follows them.

    Args:
        root: Of the dataset.
        split: Of the sample.
        sample: Number within the split.
        total: Samples of the split: version k of sample i is file i + k * total.
    """
    folder = root / FOLDERS[split]
    if split == "evaluation":
        return [folder / "rgb" / f"{sample:08d}.jpg"]
    images = [folder / "rgb" / f"{sample + version * total:08d}.jpg" for version in range(len(VERSIONS))]
    return [*images, folder / "mask" / f"{sample:08d}.jpg"]


def write_frame(files: list[Path], frames: list[Frame]) -> None:
    """Write a sample's images, and its mask where ``files`` names one more file than there are images."""
    images = [cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR) for frame in frames]
    if len(files) > len(frames):
        images.append(np.where(frames[0].parts == HAND, 255, 0).astype(np.uint8))
    for path, image in zip(files, images, strict=True):
        write_bytes(path, cv2.imencode(".jpg", image, JPEG_OPTIONS)[1].tobytes(), durable=False)


def write_labels(root: Path, split: HO3DSplit, samples: Iterable[Labels]) -> None:
    """Write ``training_K.json`` and its kin; for the evaluation split those that were released later, too."""
    rows = list(samples)
    kinds: tuple[LabelKind, ...] = ("mano", "xyz", "verts", "scale", "K")
    for kind in kinds:
        write_truth(list_file(root, FOLDERS[split], kind), (row[kind] for row in rows))
