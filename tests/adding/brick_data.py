"""Bricks as a data module."""

from pathlib import Path
from typing import Any

from typing_extensions import override

from handlit.data.loading.datamodule import HandDataModule
from handlit.formats.ground_truth import with_ground_truth
from handlit.geometry.crops import CropRule
from tests.adding.brick_format import BRICKS, read_split


class Bricks(HandDataModule):
    """Training, validation and evaluation splits of Bricks.

    Args:
        root: Folder with ``learn.npz``.
        crop: Rule that puts the square around the hand.
        **kwargs: Arguments of `HandDataModule`.
    """

    protocol = BRICKS.name
    tips = BRICKS.tips

    def __init__(self, root: str, crop: CropRule = "plain", **kwargs: Any) -> None:
        super().__init__(crop=crop, **kwargs)
        self.root = Path(root)

    @override
    def setup(self, stage: str) -> None:
        if stage in ("fit", "validate"):
            self.datasets["train"] = self.make_dataset(self.root, read_split(self.root, "learn"), train=True)
            self.datasets["val"] = self.make_dataset(self.root, read_split(self.root, "check"))
        exam = read_split(self.root, "exam")
        if stage == "predict":
            self.datasets["predict"] = self.make_dataset(self.root, exam)
        if stage == "test":
            self.datasets["test"] = self.make_dataset(self.root, with_ground_truth(exam, self.root, BRICKS))
