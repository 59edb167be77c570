"""Bricks: hands before a brick wall, 96x64 pixels. What lies on disk, and how it is read.

``SPLIT/NAME.webp`` and ``SPLIT.npz`` for the splits ``learn``, ``check`` and ``exam``; ``exam.truth.npz``, the public
ground truth of the exam. Labels are in OpenGL axes, joints in the order of the Rendered Handpose Dataset.
"""

from pathlib import Path

import numpy as np

from handlit.errors import InputError
from handlit.formats.benchmark import Benchmark
from handlit.formats.frame_table import FrameTable
from handlit.formats.registry import register
from handlit.formats.scenes import Scenes, existing
from handlit.formats.truth_files import TruePoints
from handlit.skeleton import ORDERS, WRIST

IMAGE_SIZE = (96, 64)
SPLITS = ("learn", "check", "exam")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): unpack Bricks again") from error


def read_split(root: Path, split: str) -> FrameTable:
    """The labels of a split in handlit's conventions; joints and mesh of the exam are not among them."""
    labels = read_arrays(root / f"{split}.npz")
    count = len(labels["names"])
    known = {"root_cam": BRICKS.points_to_official(labels["root"])}
    if split != "exam":
        joints = BRICKS.joints_from_official(labels["joints"])
        known = {"root_cam": joints[:, WRIST], "joints_cam": joints}
        known["vertices_cam"] = BRICKS.points_to_official(labels["vertices"])
    return FrameTable(
        keys=labels["names"],
        images=np.array([f"{split}/{name}{BRICKS.image_suffix}" for name in labels["names"]]),
        image_sizes=np.tile(np.array(IMAGE_SIZE), (count, 1)),
        intrinsics=labels["cameras"],
        boxes=labels["boxes"],
        **known,
    )


def read_truth(root: Path) -> TruePoints:
    truth = read_arrays(root / "exam.truth.npz")
    return TruePoints(truth["joints"], truth["vertices"], read_arrays(root / "exam.npz")["names"].tolist())


class BrickScenes(Scenes):
    """Images and cameras of the exam, for the report of `score`."""

    def image_file(self, number: int) -> Path | None:
        return existing(self.root / "exam" / self.names[number], (BRICKS.image_suffix,))

    def intrinsics(self, number: int) -> np.ndarray | None:
        return np.asarray(read_arrays(self.root / "exam.npz")["cameras"][number])


BRICKS = Benchmark(
    name="bricks",
    title="Bricks",
    page="https://example.org/bricks",
    marks=("learn.npz", "exam.npz"),
    data="tests.adding.brick_data.Bricks",
    image_folders="exam",
    image_suffix=".webp",
    splits=SPLITS,
    read=read_split,
    tips="manopth",
    axes="opengl",
    joint_order=ORDERS["rhd"],
    image_size=IMAGE_SIZE,
    released={"learn": 8, "check": 4, "exam": 3},
    evaluation="exam",
    error_keys={"joints": "kp", "joints_procrustes": "kp_al", "vertices": "mesh", "vertices_procrustes": "mesh_al"},
    read_truth=read_truth,
    scenes=BrickScenes,
)
register(BRICKS)
