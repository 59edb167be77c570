"""While training, draws the predictions of a few validation images: in files, and in every logger."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import STEP_OUTPUT
from torch import Tensor
from typing_extensions import override

from handlit.callbacks.output.chosen_hands import spread_evenly
from handlit.callbacks.output.hand_of_hypotheses import HandOfHypotheses
from handlit.callbacks.output.predicted_hand import CELL, TITLES, PredictedHand
from handlit.callbacks.running.wandb_run import WandbRun
from handlit.callbacks.trainer_parts import hand_faces, run_folder
from handlit.errors import check_number
from handlit.formats.hand_files import write_image, write_mesh
from handlit.geometry.cameras import flip_opengl
from handlit.metrics.calibration import calibration_error, coverage, radial_rank
from handlit.render.figures import contact_sheet, reliability_plot
from handlit.render.overlays import SCALE_RANGE_M, SKIN
from handlit.types import HandBatch, HandPrediction

log = logging.getLogger(__name__)


class ValidationPictures(pl.Callback):
    """Draws the same validation images, with the same random draws, every few epochs and at the end.

    Into ``media/epoch_NNNN`` of the run folder and into W&B and TensorBoard go: ``predictions`` (joints, mesh and
    scales of each hand), ``hypotheses`` (all skeletons of each hand), ``reliability`` (nominal and actual coverage of
    the true joints) and each hand's mesh (glb). The first process alone draws, with random numbers of its own: the
    training is the same with and without it.

    Args:
        every_n_epochs: 0 draws nothing.
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
            check_number(f"{name} of ValidationPictures", value, least=least, whole=True)
        self.every_n_epochs = every_n_epochs
        self.count = count
        self.num_hypotheses = num_hypotheses
        self.reliability_count = reliability_count
        self._drawn_step = -1

    @override
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: STEP_OUTPUT,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # after the last batch: at the end of the epoch, an average of the weights is already gone
        last = batch_idx + 1 == trainer.num_val_batches[dataloader_idx]
        due = self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if last and due and trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._show(trainer, pl_module, trainer.current_epoch)

    @override
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # the last state, whatever ended the training
        drawn = trainer.global_step == self._drawn_step
        if self.every_n_epochs and not drawn and any(trainer.num_val_batches):
            self._show(trainer, pl_module, max(trainer.current_epoch - 1, 0))

    def _show(self, trainer: pl.Trainer, pl_module: pl.LightningModule, epoch: int) -> None:
        """Draw, write and log; what fails costs a warning."""
        self._drawn_step = trainer.global_step
        if not trainer.is_global_zero:
            return
        folder = run_folder(trainer).media / f"epoch_{epoch:04d}"
        try:
            with _own_random_numbers(pl_module.device), _evaluating(pl_module):
                images, hands = self._draw(trainer, pl_module)
            for name, image in images.items():
                write_image(folder / f"{name}.png", image)
            for hand in hands:
                colours = torch.tensor(SKIN).expand(len(hand.vertices_root), 3)
                write_mesh(folder / f"{hand.file_stem}.glb", hand.vertices_cam, hand.faces, colours)
            for logger in trainer.loggers:
                if isinstance(logger, WandbRun):
                    _to_wandb(logger, folder, list(images), hands, trainer.global_step)
                elif isinstance(logger, TensorBoardLogger):
                    _to_tensorboard(logger, images, hands, trainer.global_step)
        # a full disk, a device without room for one more batch, a logger: nothing that the training needs
        except Exception as error:
            log.warning("no drawings of epoch %d: %s: %s", epoch, type(error).__name__, error)

    def _draw(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> tuple[dict[str, np.ndarray], list[PredictedHand]]:
        """Images by name, and the hands in them."""
        faces = hand_faces(pl_module)
        hands: list[PredictedHand] = []
        drawn: list[HandOfHypotheses] = []
        for batch, prediction in _predictions(trainer, pl_module, self.count):
            hypotheses = prediction.distribution.hypotheses(self.num_hypotheses, vertices=True)
            for row in range(len(batch)):
                hands.append(PredictedHand(prediction, batch, row, faces))
                drawn.append(HandOfHypotheses(prediction, hypotheses, batch, row, faces, temperature=1.0))
        rows = [
            [
                hand.crop,
                hand.skeletons(SCALE_RANGE_M),
                hand.skeletons_from_the_side(SCALE_RANGE_M),
                hand.mean_by_scale(SCALE_RANGE_M),
            ]
            for hand in drawn
        ]
        titles = ("crop", f"{self.num_hypotheses} hypotheses", "the same from the side", "mean hand, scale")
        images = {
            "predictions": contact_sheet([hand.sheet_row() for hand in hands], TITLES, CELL),
            "hypotheses": contact_sheet(rows, titles, CELL),
        }
        ranks = self._ranks(trainer, pl_module)
        if len(ranks):
            levels = torch.linspace(0, 1, 21).tolist()
            title = f"{len(ranks)} joints, calibration error {float(calibration_error(ranks)):.3f}"
            images["reliability"] = reliability_plot(levels, coverage(ranks, levels).tolist(), title)
        return images, hands

    def _ranks(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> Tensor:
        """(N,) ranks of the joints that are labelled, the wrist apart: it is the origin of truth and draws alike."""
        ranks = [torch.empty(0)]
        for batch, prediction in _predictions(trainer, pl_module, self.reliability_count):
            samples = prediction.distribution.hypotheses(self.num_hypotheses).joints_root[:, :, 1:].float()
            truth = (batch.joints_cam - batch.joints_cam[:, :1])[:, 1:]
            ranks.append(radial_rank(samples, truth)[batch.valid["joints_cam"]].flatten().cpu())
        return torch.cat(ranks)


def _predictions(
    trainer: pl.Trainer, pl_module: pl.LightningModule, count: int
) -> Iterator[tuple[HandBatch, HandPrediction]]:
    """Predictions for validation images that are spread evenly, in batches of the loader's size."""
    loader: Any = trainer.val_dataloaders
    method: Any = pl_module
    chosen = spread_evenly(count, len(loader.dataset))
    for first in range(0, len(chosen), loader.batch_size):
        batch = loader.collate_fn([loader.dataset[index] for index in chosen[first : first + loader.batch_size]])
        # where the data module computes labels of the whole batch
        batch = trainer.strategy.batch_to_device(batch)
        with trainer.precision_plugin.forward_context():
            prediction = pl_module(method.observe(batch))
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
    import wandb

    media: dict[str, Any] = {f"media/{name}": wandb.Image(str(folder / f"{name}.png")) for name in names}
    files = [folder / f"{hand.file_stem}.glb" for hand in hands]
    media["media/meshes"] = [wandb.Object3D(str(path)) for path in files]
    logger.log_metrics(media, step)


def _to_tensorboard(
    logger: TensorBoardLogger, images: dict[str, np.ndarray], hands: list[PredictedHand], step: int
) -> None:
    writer = logger.experiment
    for name, image in images.items():
        writer.add_image(f"media/{name}", image, step, dataformats="HWC")
    for hand in hands:
        vertices = flip_opengl(hand.vertices_cam)[None]
        colours = (torch.tensor(SKIN) * 255).round().byte().expand(vertices.shape)
        writer.add_mesh(f"media/{hand.file_stem}", vertices, colours, hand.faces[None], global_step=step)
