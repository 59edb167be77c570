"""Several datasets in one training run, each with its share."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from handlit.data.loading.datamodule import HandDataModule, length
from handlit.data.loading.dataset import HandDataset
from handlit.data.loading.sampling import SeededIndex, TrainingSampler
from handlit.errors import InputError, check_number
from handlit.geometry.cameras import project
from handlit.skeleton import JOINTS, TIP_VERTICES, TIPS, TipConvention
from handlit.types import HandBatch, HandSample

#: Positions of the finger tips among the joints.
TIP_JOINTS = [JOINTS.index(name) for name in TIPS]


class Mixture(HandDataModule):
    """Trains on several datasets and validates, tests and predicts on one of them.

    Every epoch holds the same number of samples of each dataset, by weight. What a dataset does not label has validity
    flags of False, so a method's loss leaves it out. Finger tips mean other vertices in other datasets: all training
    joints are brought to the convention of the evaluated dataset where the hand's mesh is known.

    Args:
        parts: The datasets. Their crop rule, augmentation and splits are their own; image size, hand model, batch size
            and workers are the mixture's.
        weights: Share of each part in an epoch; None for their sizes.
        epoch_samples: Training samples of an epoch; None for the sum of the parts' sizes.
        evaluated: Position of the part whose validation, test and prediction splits are used.
        **kwargs: Arguments of `HandDataModule`.

    Raises:
        InputError: There is no part, or weights or `evaluated` do not fit the parts.
    """

    def __init__(
        self,
        parts: list[HandDataModule],
        weights: list[float] | None = None,
        epoch_samples: int | None = None,
        evaluated: int = 0,
        **kwargs: Any,
    ) -> None:
        check_number("evaluated, the number of a part from 0,", evaluated, least=0, below=len(parts), whole=True)
        if weights is not None and len(weights) != len(parts):
            raise InputError(f"a mixture of {len(parts)} parts needs as many weights, got {weights}")
        for weight in weights or ():
            check_number("a part's weight", weight, least=0)
        if epoch_samples is not None:
            check_number("epoch_samples", epoch_samples, least=1, whole=True)
        chosen = parts[evaluated]
        super().__init__(crop=chosen.crop, augmentation=None, masks=False, on_error="raise", max_errors=0, **kwargs)
        self.parts = parts
        self.weights = weights
        self.epoch_samples = epoch_samples
        self.chosen = chosen
        self.tips: TipConvention = chosen.tips
        self.protocol = chosen.protocol
        self.box_source = chosen.box_source
        for part in parts:
            part.image_size, part.mano_path = self.image_size, self.mano_path
            part.batch_size, part.num_workers = self.batch_size, self.num_workers

    @override
    def prepare_data(self) -> None:
        """Let each part prepare what it keeps on disk."""
        for part in self.parts:
            part.prepare_data()

    @override
    def setup(self, stage: str) -> None:
        """Read what the stage needs: every part for training, one part otherwise."""
        for part in self.parts if stage == "fit" else [self.chosen]:
            part.setup(stage)
        for part in self.parts if stage == "fit" else []:
            if not isinstance(part.datasets["train"], HandDataset):
                name = type(part).__name__
                raise InputError(f"{name} makes whole batches on the device: it cannot be mixed with other datasets")
        self.datasets = {**self.chosen.datasets}
        if stage == "fit":
            self.datasets["train"] = Concatenation([part.datasets["train"] for part in self.parts])

    @override
    def training_sampler(self) -> TrainingSampler:
        """The parts' samples, mixed by weight."""
        lengths = [length(part.datasets["train"]) for part in self.parts]
        return TrainingSampler(lengths, self.weights, self.epoch_samples)

    @override
    def predict_dataloader(self) -> DataLoader[Any]:
        """The evaluated part's."""
        return self.chosen.predict_dataloader()

    @override
    def on_after_batch_transfer(self, batch: HandBatch, dataloader_idx: int) -> HandBatch:
        """Fill in ground-truth vertices and bring finger tips to one convention, on the batch's device."""
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        if self.trainer is not None and self.trainer.training and len({part.tips for part in self.parts}) > 1:
            batch = with_tips(batch, self.tips)
        return batch


def with_tips(batch: HandBatch, tips: TipConvention) -> HandBatch:
    """Let finger-tip joints be the vertices of a convention, in 3D and 2D, where mesh and joints are known.

    Args:
        batch: With vertices filled in.
        tips: The convention.

    Returns:
        The same batch.
    """
    joints, vertices = TIP_JOINTS, list(TIP_VERTICES[tips])
    known = (batch.valid["vertices_cam"] & batch.valid["joints_cam"])[:, None, None]
    points = torch.where(known, batch.vertices_cam[:, vertices], batch.joints_cam[:, joints])
    batch.joints_cam[:, joints] = points
    batch.joints_2d[:, joints] = torch.where(known, project(points, batch.intrinsics), batch.joints_2d[:, joints])
    return batch


class Concatenation(Dataset[HandSample | None]):
    """Datasets one after the other, with indices that count through all of them."""

    def __init__(self, datasets: Sequence[Dataset[HandSample | None]]) -> None:
        self.datasets = datasets
        self.ends = list(accumulate(length(dataset) for dataset in datasets))

    def __len__(self) -> int:
        return self.ends[-1]

    def __getitem__(self, item: int | SeededIndex) -> HandSample | None:
        index = item if isinstance(item, int) else item.index
        part = bisect_right(self.ends, index)
        own = index - (self.ends[part - 1] if part else 0)
        sample = self.datasets[part][own if isinstance(item, int) else replace(item, index=own)]
        return None if sample is None else replace(sample, index=index)
