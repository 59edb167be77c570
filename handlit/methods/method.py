"""What all methods share: one step for training, validation and test, and metrics by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MeanMetric
from typing_extensions import override

from handlit.distributions.calibrated_hands import HandCalibration
from handlit.errors import InputError, check_number
from handlit.hand.layer import HandLayer
from handlit.losses.reduction import mean_over_processes
from handlit.methods.compatibility import check_checkpoint, stamp
from handlit.methods.graph import HandGraph, PointGraph
from handlit.methods.loss_watch import MAX_WATCHED, LossWatch
from handlit.metrics.measure import PointMeasure
from handlit.metrics.pose import PerImageMean
from handlit.metrics.registry import measures
from handlit.seeding import run_seed, seed_step
from handlit.types import HandBatch, HandPrediction, PredictedBatch

#: What a method's network predicts for a batch, before it becomes a `HandPrediction`.
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


class HandMethod(pl.LightningModule, ABC, Generic[OutputT]):
    """Base of the methods: subclasses define what they infer from images, its loss and the prediction that it makes.

    Logged: ``{stage}/loss`` and ``{stage}/loss_{term}``, ``train/grad_norm`` (before clipping), and for validation and
    test ``{stage}/KEY`` of every registered `PointMeasure`: errors of the point estimate against the dataset's own
    joints and vertices.

    Args:
        image_size: Side of the square crops, pixels.

    Raises:
        InputError: A setting of the method is none of its choices, or out of range.

    Attributes:
        fixed_settings: Of the settings that the command line shares between data and method (``mano_path``, ``tips``
            and ``image_size``), those that this method fixes, and that its constructor therefore lacks.
        calibration: What becomes of the spread of every prediction; None for the method's own.
    """

    fixed_settings: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, image_size: int) -> None:
        super().__init__()
        check_number("image_size", image_size, least=1, whole=True)
        self.image_size = image_size
        self.metrics = nn.ModuleDict(
            {
                stage: nn.ModuleDict({point.key: PerImageMean(point) for point in measures(PointMeasure)})
                for stage in ("val", "test")
            }
        )
        self.loss_means = nn.ModuleDict({stage: nn.ModuleDict() for stage in ("val", "test")})
        self._watch = LossWatch()
        self.calibration: HandCalibration | None = None

    @property
    @abstractmethod
    def hand(self) -> HandLayer:
        """The hand layer that names and regresses the method's joints."""

    def observe(self, batch: HandBatch) -> Any:
        """What the method sees of a batch, and all that it sees: `of_crops`, unless a subclass says otherwise."""
        return self.of_crops(batch.image, batch.intrinsics)

    def of_crops(self, image: Tensor, intrinsics: Tensor) -> Any:
        """What the method sees of crops: the images, unless a subclass says otherwise.

        Args:
            image: (B, 3, H, W) uint8 RGB, H = W = `image_size`.
            intrinsics: (B, 3, 3) of the crops' pixels.
        """
        return image

    @abstractmethod
    def infer(self, observed: Any) -> OutputT:
        """What the method's network predicts from what it sees.

        Args:
            observed: As from `observe`: (B, 3, H, W) uint8 RGB crops, H = W = `image_size`.
        """

    @abstractmethod
    def losses(self, output: OutputT, batch: HandBatch) -> Losses:
        """Compare the network's output with a batch's labels; labels that an image lacks are ignored."""

    @abstractmethod
    def predict(self, output: OutputT) -> HandPrediction:
        """The prediction that the network's output makes."""

    def graph(self) -> HandGraph:
        """The method as tensors in and out, for other programs: by default the point estimate from images."""
        return PointGraph(self, self.image_size)

    @override
    def forward(self, observed: Any) -> HandPrediction:
        """Predict from what the method sees, and from no label.

        Args:
            observed: As from `observe`: (B, 3, H, W) uint8 RGB crops, H = W = `image_size`.

        Raises:
            InputError: The crops have another size.
        """
        return self._prediction(self._infer(observed))

    @override
    def on_train_batch_start(self, batch: HandBatch, batch_idx: int) -> None:
        # a resumed run draws what the stopped one would have drawn, and no two processes draw the same
        seed_step(run_seed(), self.current_epoch, batch_idx, self.global_rank)

    @override
    def on_validation_batch_start(self, batch: HandBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        # the same in every epoch, so that epochs compare
        seed_step(run_seed(), 0, batch_idx, self.global_rank)

    @override
    def on_test_batch_start(self, batch: HandBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        seed_step(run_seed(), 0, batch_idx, self.global_rank)

    @override
    def training_step(self, batch: HandBatch, batch_idx: int) -> Tensor | None:
        losses = self.losses(self._infer(self.observe(batch)), batch)
        self._log_losses("train", losses, len(batch))
        if losses.total is not None:
            self._watch.add(batch, self.current_epoch, batch_idx, losses.total)
        return losses.total

    @override
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
        # a CPU has the values at hand; elsewhere a check means waiting, so it is done as often as logging
        every: int = min(self.trainer.log_every_n_steps, MAX_WATCHED)  # type: ignore[attr-defined]
        if norm.device.type == "cpu" or len(self._watch) >= every:
            self._watch.check()

    @override
    def validation_step(self, batch: HandBatch, batch_idx: int) -> HandPrediction:  # type: ignore[override]
        """As `test_step`, of a validation batch."""
        return self._evaluate("val", batch)

    @override
    def test_step(self, batch: HandBatch, batch_idx: int) -> HandPrediction:  # type: ignore[override]
        """Losses and metrics of a test batch; the prediction is for callbacks that measure more of it."""
        return self._evaluate("test", batch)

    @override
    def predict_step(self, batch: HandBatch, batch_idx: int) -> PredictedBatch:
        """Predict a batch from what the method sees of it."""
        return PredictedBatch(batch.key, batch.index, self(self.observe(batch)))

    @override
    def on_train_start(self) -> None:
        """Refuse to train beyond where the learning rate of a resumed run was set to end.

        Raises:
            InputError: The run is longer now.
        """
        for config in self.trainer.lr_scheduler_configs:
            planned = getattr(config.scheduler, "total_steps", None)
            if isinstance(planned, int) and planned < self.trainer.estimated_stepping_batches:
                raise InputError(
                    f"the run was planned for {planned} steps, where its learning rate ends, and cannot be resumed for "
                    f"{self.trainer.estimated_stepping_batches}: keep trainer.max_epochs and max_steps, or start anew"
                )

    @override
    def on_train_epoch_end(self) -> None:
        self._watch.check()

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save no weights that a NaN or infinite loss has spoilt; say which method's weights they are."""
        self._watch.check()
        checkpoint["handlit"] = stamp(type(self).__name__)

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        resumes = self.trainer.state.fn == TrainerFn.FITTING
        check_checkpoint(checkpoint, type(self).__name__, self.state_dict(), resumes)

    def _infer(self, observed: Any) -> OutputT:
        if not isinstance(observed, Tensor):
            return self.infer(observed)
        height, width = observed.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise InputError(
                f"the method is set up for crops of {self.image_size}x{self.image_size} pixels, the data yields "
                f"{width}x{height}: give data.init_args.image_size and model.init_args.image_size the same value"
            )
        return self.infer(observed)

    def _prediction(self, output: OutputT) -> HandPrediction:
        prediction = self.predict(output)
        return prediction if self.calibration is None else self.calibration.apply(prediction)

    def _evaluate(self, stage: str, batch: HandBatch) -> HandPrediction:
        output = self._infer(self.observe(batch))
        self._log_losses(stage, self.losses(output, batch), len(batch))
        prediction = self._prediction(output)
        joints = batch.joints_cam - batch.joints_cam[:, :1]
        vertices = batch.vertices_cam - batch.root_cam[:, None]
        vertices_valid = batch.valid["vertices_cam"] & batch.valid["root_cam"]
        metrics: Mapping[str, PerImageMean] = self.metrics[stage]  # type: ignore[assignment]
        for name, metric in metrics.items():
            if metric.measure.points == "joints":
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
