"""What all methods share: one step for training, validation and test, metrics by name, and a watch over the loss."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MeanMetric

from handlit.errors import InputError, NonFiniteError
from handlit.hand.layer import HandLayer
from handlit.losses.reduction import mean_over_processes, several_processes
from handlit.metrics.pose import MPJPE, MPVPE, PAMPJPE, PAMPVPE, PerImageMean
from handlit.seeding import run_seed, seed_step
from handlit.types import HandBatch, HandPrediction

_METRICS: dict[str, type[PerImageMean]] = {
    "mpjpe_mm": MPJPE,
    "pa_mpjpe_mm": PAMPJPE,
    "mpvpe_mm": MPVPE,
    "pa_mpvpe_mm": PAMPVPE,
}

#: Of checkpoints; goes up when older ones can no longer be read.
CHECKPOINT_FORMAT = 1

#: Steps whose batches are kept until their losses have been looked at.
MOST_WATCHED = 20

#: What a method's network says about a batch, before it becomes a `HandPrediction`.
OutputT = TypeVar("OutputT")


@dataclass
class Losses:
    """How far a method's output is from a batch's labels.

    Attributes:
        total: What is minimised; None for methods that are not trained by gradients.
        terms: Its parts by name, before their weights.
    """

    total: Tensor | None
    terms: Mapping[str, Tensor]


@dataclass
class PredictedBatch:
    """What `predict_step` hands to callbacks: the answer and whose it is.

    Attributes:
        key: Name of each sample.
        index: (B,) position of each sample in its dataset.
        prediction: The answer.
    """

    key: list[str]
    index: Tensor
    prediction: HandPrediction


@dataclass
class WatchedStep:
    """A training step whose numbers have not been looked at yet.

    Attributes:
        batch: Its batch.
        epoch: From 0.
        batch_idx: From 0.
        finite: Flags by name, on the device.
    """

    batch: HandBatch
    epoch: int
    batch_idx: int
    finite: dict[str, Tensor]


class LossWatch:
    """Notices losses and gradients that are not finite, without waiting for the device at every step.

    The flags stay on the device; `check` fetches all of them at once and names the first bad batch.
    """

    def __init__(self) -> None:
        self._steps: list[WatchedStep] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, batch: HandBatch, epoch: int, batch_idx: int, loss: Tensor) -> None:
        """Remember a step."""
        self._steps.append(WatchedStep(batch, epoch, batch_idx, {"loss": loss.detach().isfinite()}))

    def add_gradient(self, norm: Tensor) -> None:
        """Remember the norm of the last step's gradient."""
        if self._steps:
            self._steps[-1].finite["gradient"] = norm.isfinite()

    def check(self) -> None:
        """Look at the steps since the last check.

        Raises:
            NonFiniteError: The loss or the gradient of one of them was NaN or infinite.
        """
        steps, self._steps = self._steps, []
        found = [(step, name) for step in steps for name in step.finite]
        if not found:
            return
        finite = torch.stack([step.finite[name] for step, name in found]).tolist()
        if not all(finite):
            step, name = found[finite.index(False)]
            # a gradient is the mean of all processes'
            others = " or another process's" if name == "gradient" and several_processes() else ""
            raise NonFiniteError(
                f"the training {name} became NaN or infinite on the batch of {', '.join(step.batch.key)}{others}. "
                "Look at these samples' labels; if they are sound, lower the learning rate or set "
                "trainer.gradient_clip_val",
                step.batch,
                step.epoch,
                step.batch_idx,
            )


class HandMethod(pl.LightningModule, ABC, Generic[OutputT]):
    """Base of the methods: subclasses say what they infer from images, what its loss is and which answer it makes.

    Logged: ``{stage}/loss`` and ``{stage}/loss_{term}``, ``train/grad_norm`` (before clipping), and for validation and
    test ``{stage}/mpjpe_mm``, ``pa_mpjpe_mm``, ``mpvpe_mm`` and ``pa_mpvpe_mm``: errors of the point estimate against
    the dataset's own joints and vertices, wrist at the origin or Procrustes-aligned (``pa``).

    Args:
        image_size: Side of the square crops, pixels.
    """

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.metrics = nn.ModuleDict(
            {stage: nn.ModuleDict({name: metric() for name, metric in _METRICS.items()}) for stage in ("val", "test")}
        )
        self.loss_means = nn.ModuleDict({stage: nn.ModuleDict() for stage in ("val", "test")})
        self._watch = LossWatch()

    @property
    @abstractmethod
    def hand(self) -> HandLayer:
        """The hand layer that names and regresses the method's joints."""

    @abstractmethod
    def infer(self, image: Tensor) -> OutputT:
        """What the method's network says about images.

        Args:
            image: (B, 3, H, W) uint8 RGB crops, H = W = `image_size`.
        """

    @abstractmethod
    def losses(self, output: OutputT, batch: HandBatch) -> Losses:
        """Compare the network's output with a batch's labels; labels that an image lacks count nothing."""

    @abstractmethod
    def predict(self, output: OutputT) -> HandPrediction:
        """The answer that the network's output makes."""

    def forward(self, image: Tensor) -> HandPrediction:
        """Answer for images alone.

        Args:
            image: (B, 3, H, W) uint8 RGB crops, H = W = `image_size`.

        Raises:
            InputError: The crops have another size.
        """
        return self.predict(self._infer(image))

    def on_train_batch_start(self, batch: HandBatch, batch_idx: int) -> None:
        """Seed the step's noise by the run's seed, the batch's place and the process alone.

        A resumed run so draws what the stopped one would have drawn, and no two processes draw the same.
        """
        seed_step(run_seed(), self.current_epoch, batch_idx, self.global_rank)

    def on_validation_batch_start(self, batch: HandBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Seed the noise of validation too: the same in every epoch, so that epochs compare."""
        seed_step(run_seed(), 0, batch_idx, self.global_rank)

    def on_test_batch_start(self, batch: HandBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Seed what a test draws."""
        seed_step(run_seed(), 0, batch_idx, self.global_rank)

    def training_step(self, batch: HandBatch, batch_idx: int) -> Tensor | None:
        """Loss of a training batch."""
        losses = self.losses(self._infer(batch.image), batch)
        self._log_losses("train", losses, len(batch))
        if losses.total is not None:
            self._watch.add(batch, self.current_epoch, batch_idx, losses.total)
        return losses.total

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log the norm of the whole gradient, before clipping; do not update weights by what is not finite."""
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        # a fused optimiser takes float16's gradients as they are scaled
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            norm = norm / scaler.get_scale()
        self.log("train/grad_norm", norm)
        # float16's scaler tries steps that overflow and leaves them out
        if self.trainer.precision != "16-mixed":
            self._watch.add_gradient(norm)
        # a CPU has the values at hand; elsewhere looking means waiting, so it is done as often as logging
        every: int = min(self.trainer.log_every_n_steps, MOST_WATCHED)  # type: ignore[attr-defined]
        if norm.device.type == "cpu" or len(self._watch) >= every:
            self._watch.check()

    def validation_step(self, batch: HandBatch, batch_idx: int) -> None:
        """Losses and metrics of a validation batch."""
        self._evaluate("val", batch)

    def test_step(self, batch: HandBatch, batch_idx: int) -> HandPrediction:  # type: ignore[override]
        """Losses and metrics of a test batch; the answer is for callbacks that measure more of it."""
        return self._evaluate("test", batch)

    def predict_step(self, batch: HandBatch, batch_idx: int) -> PredictedBatch:
        """Answer for a batch from its images alone."""
        return PredictedBatch(batch.key, batch.index, self(batch.image))

    def on_train_start(self) -> None:
        """Refuse to train beyond where the learning rate of a resumed run was set to end.

        Raises:
            InputError: The run is longer now.
        """
        for config in self.trainer.lr_scheduler_configs:
            planned = getattr(config.scheduler, "total_steps", None)
            if planned is not None and planned < self.trainer.estimated_stepping_batches:
                raise InputError(
                    f"the run was planned for {planned} steps, where its learning rate ends, and cannot go on to "
                    f"{self.trainer.estimated_stepping_batches}: keep trainer.max_epochs and max_steps, or start anew"
                )

    def on_train_epoch_end(self) -> None:
        """Do not end an epoch on a broken loss."""
        self._watch.check()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Do not save weights that a broken loss has spoilt; say whose weights they are."""
        self._watch.check()
        checkpoint["handlit"] = {"format": CHECKPOINT_FORMAT, "method": type(self).__name__}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that is not of this method and network.

        Raises:
            InputError: It is of another method, a newer handlit, or of a network of other sizes; or a training is to
                go on from weights alone.
        """
        made_by = checkpoint.get("handlit", {})
        if made_by.get("format", CHECKPOINT_FORMAT) > CHECKPOINT_FORMAT:
            raise InputError(
                f"the checkpoint has format {made_by['format']}, this handlit knows {CHECKPOINT_FORMAT}: update handlit"
            )
        if made_by.get("method", type(self).__name__) != type(self).__name__:
            raise InputError(
                f"the checkpoint is of {made_by['method']}, the configuration of {type(self).__name__}: give the "
                "config.yaml of the checkpoint's run"
            )
        own, given = self.state_dict(), checkpoint["state_dict"]
        wrong = [f"{name} is missing" for name in own if name not in given]
        wrong += [f"{name} is not in this network" for name in given if name not in own]
        wrong += [
            f"{name} is {tuple(given[name].shape)}, here {tuple(value.shape)}"
            for name, value in own.items()
            if name in given and given[name].shape != value.shape
        ]
        if wrong:
            shown = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
            raise InputError(
                f"the checkpoint does not fit this network ({shown}): give the config.yaml of the checkpoint's run"
            )
        if self.trainer.state.fn == TrainerFn.FITTING and "loops" not in checkpoint:
            raise InputError("the checkpoint holds weights alone: a training cannot go on from it")

    def _infer(self, image: Tensor) -> OutputT:
        height, width = image.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise InputError(
                f"the method is set up for crops of {self.image_size}x{self.image_size} pixels, the data yields "
                f"{width}x{height}: give data.init_args.image_size and model.init_args.image_size the same value"
            )
        return self.infer(image)

    def _evaluate(self, stage: str, batch: HandBatch) -> HandPrediction:
        output = self._infer(batch.image)
        self._log_losses(stage, self.losses(output, batch), len(batch))
        prediction = self.predict(output)
        joints = batch.joints_cam - batch.joints_cam[:, :1]
        vertices = batch.vertices_cam - batch.root_cam[:, None]
        vertices_valid = batch.valid["vertices_cam"] & batch.valid["root_cam"]
        metrics: Mapping[str, PerImageMean] = self.metrics[stage]  # type: ignore[assignment]
        for name, metric in metrics.items():
            if metric.num_points == joints.shape[1]:
                metric.update(prediction.joints_root, joints, batch.valid["joints_cam"])
            else:
                metric.update(prediction.vertices_root, vertices, vertices_valid)
            self.log(f"{stage}/{name}", metric, on_epoch=True, prog_bar=True, batch_size=len(batch))
        return prediction

    def _log_losses(self, stage: str, losses: Losses, batch_size: int) -> None:
        values = {f"{stage}/loss_{name}": value.detach() for name, value in losses.terms.items()}
        if losses.total is not None:
            values[f"{stage}/loss"] = losses.total.detach()
        if stage == "train":
            self.log_dict(mean_over_processes(values), batch_size=batch_size)
            return
        # Lightning's own mean over processes rounds their number of samples, and MeanMetric without a strategy for NaN
        # leaves weights out: one value for each sample
        means: nn.ModuleDict = self.loss_means[stage]  # type: ignore[assignment]
        for name, value in values.items():
            term = name.removeprefix(f"{stage}/")
            if term not in means:
                means[term] = MeanMetric(nan_strategy="disable").to(value.device)
            means[term].update(value.expand(batch_size))  # type: ignore[operator]
            where = f"loss_means.{stage}.{term}"
            self.log(name, means[term], batch_size=batch_size, metric_attribute=where)  # type: ignore[arg-type]
