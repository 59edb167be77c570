"""What callbacks ask of a trainer and its parts, with types: run folder, data, hand, number of samples, processes."""

from typing import TypeVar

import pytorch_lightning as pl
import torch.distributed
from torch import Tensor

from handlit.errors import InputError
from handlit.losses.reduction import several_processes
from handlit.run_folder import RunFolder
from handlit.types import HandData, HasHand

PartT = TypeVar("PartT")


def run_folder(trainer: pl.Trainer) -> RunFolder:
    """The folder that the run writes into."""
    return RunFolder(trainer.default_root_dir)


def hand_data(trainer: pl.Trainer) -> HandData | None:
    """The run's data module; None where loaders were given alone or the module is not one of hands."""
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, HandData) else None


def hand_faces(module: pl.LightningModule) -> Tensor:
    """(1538, 3) triangles of the meshes that a method predicts, on the CPU.

    Raises:
        InputError: It is no method for hands.
    """
    if not isinstance(module, HasHand):
        raise InputError(f"{type(module).__name__} has no `hand`: derive it from handlit.methods.method.HandMethod")
    return module.hand.faces.cpu()


def num_predicted(trainer: pl.Trainer) -> int:
    """Samples in the dataset that is being predicted."""
    return len(trainer.predict_dataloaders.dataset)  # type: ignore[union-attr]


def gathered(part: PartT) -> list[PartT]:
    """A picklable object of each process that runs together with this one, by rank; every one of them must call it."""
    if not several_processes():
        return [part]
    parts = [part] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, part)
    return parts
