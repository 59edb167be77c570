"""What all data modules share: the loaders around a dataset's splits, and what is computed for a whole batch."""

import atexit
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.dataset import ErrorPolicy, HandDataset, collate_read, start_worker
from handlit.data.loading.sampling import EvaluationSampler, ResumableLoader, TrainingSampler
from handlit.errors import InputError, check_choice, check_number
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import MaskReader
from handlit.formats.worker_pool import MAX_WORKERS
from handlit.geometry.cameras import project
from handlit.geometry.crops import CropRule, inside
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandSample

#: Pixels; more than a crop ever needs.
MAX_SIDE = 4096

_LOADERS: WeakSet[DataLoader[Any]] = WeakSet()


@atexit.register
def _end_workers() -> None:
    """End the workers of loaders that were left within an epoch, as a script or notebook leaves them.

    They ignore SIGTERM (`start_worker`), by which multiprocessing would end them, and then wait for, at the end.
    """
    for loader in list(_LOADERS):
        if loader._iterator is not None:
            loader._iterator._shutdown_workers()  # type: ignore[attr-defined]


class HandDataModule(pl.LightningDataModule):
    """Loaders around the splits of one dataset; subclasses say how the splits are read.

    Ground-truth vertices are computed from pose and shape for a whole batch on the training device, with the
    dataset's own hand conventions: cheaper than per sample in the workers, and always consistent with augmentation.

    Args:
        crop: Rule that puts the square around the hand: a published method's or a plain centred one.
        image_size: Side of the square crops, pixels.
        batch_size: Samples per process and step.
        num_workers: Loader processes.
        augmentation: Random changes of the training samples.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
        masks: Give the samples masks of hand and object, if the dataset has them.
        on_error: What to do about a training sample whose files are missing or damaged: end the run, or leave it out
            with a warning. Evaluation needs every sample.
        max_errors: With ``"skip"``, how many samples of a process may be left out.

    Raises:
        InputError: A setting is none of its choices, or out of range.
    """

    #: Decodes the dataset's segmentation files; None for a dataset without.
    mask_reader: MaskReader | None = None
    #: Name of the benchmark whose submission format predictions are written in; None where there is none.
    protocol: str | None = None
    #: Where the hand boxes of the evaluation split come from, for the card beside a prediction.
    box_source: str = "given with the dataset"
    #: Which vertices are finger tips in this dataset's labels.
    tips: TipConvention = "ho3d"

    def __init__(
        self,
        *,
        crop: CropRule,
        image_size: int = 224,
        batch_size: int = 16,
        num_workers: int = 8,
        augmentation: Augmentation | None = None,
        mano_path: str | None = None,
        masks: bool = False,
        on_error: ErrorPolicy = "raise",
        max_errors: int = 100,
    ) -> None:
        super().__init__()
        check_choice("crop", crop, CropRule)
        check_choice("on_error", on_error, ErrorPolicy)
        check_number("image_size", image_size, least=1, most=MAX_SIDE, whole=True)
        check_number("batch_size", batch_size, least=1, whole=True)
        check_number("num_workers", num_workers, least=0, most=MAX_WORKERS, whole=True)
        check_number("max_errors", max_errors, least=0, whole=True)
        self.image_size = image_size
        self.crop: CropRule = crop
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.augmentation = augmentation
        self.mano_path = mano_path
        self.masks = masks
        self.on_error: ErrorPolicy = on_error
        self.max_errors = max_errors
        self.datasets: dict[str, Dataset[HandSample | None]] = {}
        self._training_loader: ResumableLoader | None = None
        self._position: dict[str, int] = {}

    @cached_property
    def hand(self) -> HandLayer:
        """Hand layer with the dataset's conventions."""
        return HandLayer(load_hand(self.mano_path), tips=self.tips)

    def make_dataset(
        self, root: Path, frames: FrameTable, rows: np.ndarray | None = None, train: bool = False
    ) -> HandDataset:
        """Dataset of some rows of a table with this module's crop and, for training, its augmentation."""
        return HandDataset(
            root,
            frames,
            self.crop,
            self.image_size,
            augmentation=self.augmentation if train else None,
            rows=rows,
            read_masks=self.mask_reader if self.masks else None,
            on_error=self.on_error if train else "raise",
            max_errors=self.max_errors,
        )

    def training_sampler(self) -> TrainingSampler:
        """The order of the training samples."""
        return TrainingSampler([length(self.datasets["train"])])

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled training batches; the last, smaller one is dropped."""
        dataset = self._dataset("train")
        sampler = self.training_sampler()
        drop_last = len(sampler) >= self.batch_size
        loader = ResumableLoader(dataset, sampler=sampler, drop_last=drop_last, **self._loader_options())
        _LOADERS.add(loader)
        if self._position:
            loader.load_state_dict(self._position)
        self._position = {}
        self._training_loader = loader
        return loader

    @override
    def state_dict(self) -> dict[str, int]:
        """Where in its epoch the training is, for checkpoints.

        Lightning keeps the loader's own state too, and does not give it back if the loader was made before the
        checkpoint was read, as a schedule that asks for the run's length makes it.
        """
        return self._position if self._training_loader is None else self._training_loader.state_dict()

    @override
    def load_state_dict(self, state: dict[str, int]) -> None:
        """Let the next training loader begin there."""
        self._position = state

    @override
    def val_dataloader(self) -> DataLoader[Any]:
        """Validation batches in dataset order."""
        return self._evaluation_loader("val")

    @override
    def test_dataloader(self) -> DataLoader[Any]:
        """Evaluation split with its public ground truth, in dataset order."""
        return self._evaluation_loader("test")

    @override
    def predict_dataloader(self) -> DataLoader[Any]:
        """Evaluation split in dataset order: the order of a submission."""
        return self._evaluation_loader("predict")

    def _evaluation_loader(self, split: str) -> DataLoader[Any]:
        dataset = self._dataset(split)
        processes = 1 if self.trainer is None else self.trainer.world_size
        if length(dataset) < processes:
            raise InputError(
                f"the {split} split has fewer images ({length(dataset)}) than there are processes ({processes}): use "
                "fewer processes"
            )
        loader = DataLoader(dataset, sampler=EvaluationSampler(length(dataset)), **self._loader_options())
        _LOADERS.add(loader)
        return loader

    def _dataset(self, split: str) -> Dataset[HandSample | None]:
        dataset = self.datasets[split]
        if length(dataset) == 0:
            advice = "; give val_fraction and data that leave some to validate on" if split == "val" else ""
            raise InputError(f"the {split} split has no usable frame{advice}")
        return dataset

    def _loader_options(self) -> dict[str, Any]:
        return {
            "batch_size": self.batch_size,
            "num_workers": self.num_workers,
            "collate_fn": collate_read,
            "worker_init_fn": start_worker,
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.num_workers > 0,
        }

    @override
    def on_after_batch_transfer(self, batch: HandBatch, dataloader_idx: int) -> HandBatch:
        """Fill in ground-truth vertices from pose and shape, on the batch's device."""
        return add_vertices(batch, self.hand.to(batch.image.device))


def length(dataset: Dataset[HandSample | None]) -> int:
    """Samples of a dataset; torch leaves the length out of a map-style dataset's type."""
    return len(dataset)  # type: ignore[arg-type]


def add_vertices(batch: HandBatch, hand: HandLayer) -> HandBatch:
    """Compute vertices where pose, shape and root are known and vertices are not.

    Args:
        batch: Any batch.
        hand: Hand layer with the conventions of the batch's dataset.

    Returns:
        The same batch, with ``vertices_cam`` and its validity flag completed.
    """
    computable = batch.valid["pose"] & batch.valid["betas"] & batch.valid["root_cam"] & ~batch.valid["vertices_cam"]
    with torch.no_grad():
        mesh = hand(batch.pose[:, 3:], batch.betas, batch.pose[:, :3])
        vertices = mesh.vertices - mesh.joints[:, :1] + batch.root_cam[:, None]
        points = project(vertices, batch.intrinsics)
    batch.vertices_cam = _where(computable, vertices, batch.vertices_cam)
    batch.valid["vertices_cam"] = batch.valid["vertices_cam"] | computable
    # whoever made the sample did not know the vertices, and so not which of them lie outside the crop
    in_crop = inside(points, batch.image.shape[-1])
    batch.vertices_visible = batch.vertices_visible & (in_crop | ~computable[:, None])
    return batch


def _where(flag: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return torch.where(flag.view(-1, *[1] * (first.dim() - 1)), first, second)
