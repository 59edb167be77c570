"""While training, shows how the answers to a few validation images come along: in files, and in every logger."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import wandb
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from handlit.callbacks.output.hypothesis_export import HandOfHypotheses
from handlit.callbacks.output.meshes import write_mesh
from handlit.callbacks.output.pictures import CELL, TITLES, PredictedHand, file_stem, write_image
from handlit.callbacks.running.wandb_run import WandbRun
from handlit.errors import InputError
from handlit.geometry.cameras import flip_opengl
from handlit.metrics.calibration import calibration_error, coverage, radial_rank
from handlit.render import overlays as drawing
from handlit.types import HandBatch, HandPrediction

log = logging.getLogger(__name__)

FOLDER = "media"


class ValidationPictures(pl.Callback):
    """Draws the same validation images, with the same random draws, every few epochs and at the end.

    Into ``media/epoch_NNNN`` of the run folder and into W&B and TensorBoard go: ``predictions`` (joints, mesh and
    scales of each hand), ``hypotheses`` (all skeletons of each hand), ``reliability`` (how often the true joints lie
    inside the regions that are to hold a given share of them) and each hand's mesh (glb). The first process alone
    draws, with random numbers of its own: the training is the same with and without pictures.

    Args:
        every_n_epochs: 0 leaves the pictures out.
        count: Hands, spread evenly over the validation images.
        num_hypotheses: Drawn for each hand.
        reliability_count: Images that the reliability is measured on, spread evenly; 0 leaves it out.
    """

    def __init__(
        self, every_n_epochs: int = 10, count: int = 4, num_hypotheses: int = 50, reliability_count: int = 64
    ) -> None:
        for name, value, least in (
            ("every_n_epochs", every_n_epochs, 0),
            ("count", count, 1),
            ("num_hypotheses", num_hypotheses, 1),
            ("reliability_count", reliability_count, 0),
        ):
            if value < least:
                raise InputError(f"{name} of the validation pictures is {value}; expected at least {least}")
        self.every_n_epochs = every_n_epochs
        self.count = count
        self.num_hypotheses = num_hypotheses
        self.reliability_count = reliability_count
        self._drawn_step = -1

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw after the last batch: at the end of the epoch, an average of the weights is already gone."""
        last = batch_idx + 1 == trainer.num_val_batches[dataloader_idx]
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if last and due and trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._show(trainer, pl_module, trainer.current_epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the last state, whatever ended the training."""
        drawn = trainer.global_step == self._drawn_step
        if self.every_n_epochs and not drawn and any(trainer.num_val_batches):
            self._show(trainer, pl_module, max(trainer.current_epoch - 1, 0))

    def _show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int) -> None:
        """Draw, write and log; what fails costs a warning."""
        self._drawn_step = trainer.global_step
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / FOLDER / f"epoch_{epoch:04d}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _own_random_numbers(pl_module.device), _evaluating(pl_module):
                pictures, hands = self._draw(trainer, pl_module)
            for name, picture in pictures.items():
                write_image(folder / f"{name}.png", picture)
            for hand in hands:
                colours = torch.tensor(drawing.SKIN).expand(len(hand.vertices_root), 3)
                write_mesh(folder / f"{file_stem(hand.key)}.glb", hand, colours)
            for logger in trainer.loggers:
                if isinstance(logger, WandbRun):
                    _to_wandb(logger, folder, list(pictures), hands, trainer.global_step)
                elif isinstance(logger, TensorBoardLogger):
                    _to_tensorboard(logger, pictures, hands, trainer.global_step)
        # a full disk, a device without room for one more batch, a logger: nothing that the training needs
        except Exception as error:
            log.warning("no validation pictures of epoch %d: %s: %s", epoch, type(error).__name__, error)

    def _draw(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> tuple[dict[str, np.ndarray], list[PredictedHand]]:
        """Pictures by name, and the hands in them."""
        hand_layer: Any = pl_module.hand
        faces = hand_layer.faces.cpu()
        hands: list[PredictedHand] = []
        drawn: list[HandOfHypotheses] = []
        for batch, prediction in _answers(trainer, pl_module, self.count):
            hypotheses = prediction.distribution.hypotheses(self.num_hypotheses, vertices=True)
            for row in range(len(batch)):
                hands.append(PredictedHand(prediction, batch, row, faces))
                drawn.append(HandOfHypotheses(prediction, hypotheses, batch, row, faces, temperature=1.0))
        range_m = drawing.SCALE_RANGE_M
        rows = [
            [h.crop, h.skeletons(range_m), h.skeletons_from_the_side(range_m), h.mean_by_scale(range_m)] for h in drawn
        ]
        titles = ("crop", f"{self.num_hypotheses} hypotheses", "the same from the side", "mean hand, scale")
        pictures = {
            "predictions": drawing.contact_sheet([hand.sheet_row() for hand in hands], TITLES, CELL),
            "hypotheses": drawing.contact_sheet(rows, titles, CELL),
        }
        ranks = self._ranks(trainer, pl_module)
        if len(ranks):
            levels = torch.linspace(0, 1, 21).tolist()
            title = f"{len(ranks)} joints, calibration error {float(calibration_error(ranks)):.3f}"
            pictures["reliability"] = drawing.reliability_plot(levels, coverage(ranks, levels).tolist(), title)
        return pictures, hands

    def _ranks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Tensor:
        """(N,) ranks of the joints that are labelled, the wrist apart: it is the origin of truth and draws alike."""
        ranks = [torch.empty(0)]
        for batch, prediction in _answers(trainer, pl_module, self.reliability_count):
            samples = prediction.distribution.hypotheses(self.num_hypotheses).joints_root[:, :, 1:].float()
            came = (batch.joints_cam - batch.joints_cam[:, :1])[:, 1:]
            ranks.append(radial_rank(samples, came)[batch.valid["joints_cam"]].flatten().cpu())
        return torch.cat(ranks)


def _answers(
    trainer: pl.Trainer, pl_module: pl.LightningModule, count: int
) -> Iterator[tuple[HandBatch, HandPrediction]]:
    """Answers for validation images that are spread evenly, in batches of the loader's size."""
    loader: Any = trainer.val_dataloaders
    size = len(loader.dataset)
    chosen = np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()
    for first in range(0, len(chosen), loader.batch_size):
        batch = loader.collate_fn([loader.dataset[index] for index in chosen[first : first + loader.batch_size]])
        # with the data module's own part in it
        batch = trainer.strategy.batch_to_device(batch)
        with trainer.precision_plugin.forward_context():
            prediction = pl_module(batch.image)
        yield batch, prediction


@contextlib.contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """The same draws every time, and the training's generators untouched."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


@contextlib.contextmanager
def _evaluating(module: pl.LightningModule) -> Iterator[None]:
    """As in validation, and each part as it was afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:
            part.training = training


def _to_wandb(logger: WandbRun, folder: Path, names: list[str], hands: list[PredictedHand], step: int) -> None:
    media: dict[str, Any] = {f"media/{name}": wandb.Image(str(folder / f"{name}.png")) for name in names}
    files = [folder / f"{file_stem(hand.key)}.glb" for hand in hands]
    media["media/meshes"] = [wandb.Object3D(str(path)) for path in files]
    logger.log_metrics(media, step)


def _to_tensorboard(
    logger: TensorBoardLogger, pictures: dict[str, np.ndarray], hands: list[PredictedHand], step: int
) -> None:
    writer = logger.experiment
    for name, picture in pictures.items():
        writer.add_image(f"media/{name}", picture, step, dataformats="HWC")
    for hand in hands:
        vertices = flip_opengl(hand.vertices_cam)[None]
        colours = (torch.tensor(drawing.SKIN) * 255).round().byte().expand(vertices.shape)
        writer.add_mesh(f"media/{file_stem(hand.key)}", vertices, colours, hand.faces[None], global_step=step)
