"""Writes the official submission file while predicting, and the card that says how it was made."""

import logging
import uuid
from pathlib import Path

import pytorch_lightning as pl
from torch import Tensor
from typing_extensions import override

from handlit.callbacks.trainer_parts import hand_data, num_predicted, run_folder
from handlit.errors import InputError, check_number
from handlit.files import sha256
from handlit.formats.registry import benchmark_named
from handlit.geometry.cameras import fit_root
from handlit.run_folder import RunFolder
from handlit.scoring.official.result_card import ResultCard, write_card
from handlit.scoring.official.submission_writer import SubmissionWriter
from handlit.skeleton import JOINTS
from handlit.types import HandBatch, HandData, HandPrediction, KnownBoneLengths, PredictedBatch
from handlit.version import code_version
from handlit.yaml_files import load_yaml

log = logging.getLogger(__name__)

#: The bone that FreiHAND calls a hand's scale: the middle finger's proximal one.
SCALE_BONE = (JOINTS.index("middle_1"), JOINTS.index("middle_2"))


def place_by_bone(prediction: HandPrediction, intrinsics: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted hands, scaled to a known bone, where the crop's camera shows them at the predicted 2D joints.

    Args:
        prediction: Of a batch of B hands.
        intrinsics: (B, 3, 3) of the crops, pixels.
        lengths: (B,) of the middle finger's proximal bone, metres.

    Returns:
        Joints (B, 21, 3) and vertices (B, 778, 3), camera frame, metres.

    Raises:
        InputError: A predicted bone has no length.
    """
    joints = prediction.joints_root.double()
    bones = (joints[:, SCALE_BONE[0]] - joints[:, SCALE_BONE[1]]).norm(dim=-1)
    if not bool((bones > 0).all()):
        raise InputError("a predicted middle finger has no length, so that the given length of it cannot scale a hand")
    factor = (lengths.double() / bones)[:, None, None]
    joints, vertices = factor * joints, factor * prediction.vertices_root.double()
    root = fit_root(joints, prediction.joints_2d.double(), intrinsics.double())[:, None]
    return (joints + root).float(), (vertices + root).float()


class SubmissionCallback(pl.Callback):
    """Streams predictions to a ``pred.zip`` in the format of the dataset's benchmark.

    A submission holds absolute camera coordinates: the predicted root-relative hand plus the root that the benchmark
    gives. Where it gives the length of a bone and no root (FreiHAND without the ground truth that was released later),
    the hand is scaled to it and its root is fitted to the predicted 2D joints. Datasets without a benchmark
    (photographs) are left alone. Every process writes its own samples; the first one joins them in dataset order, and
    the file takes its name when it is whole. A killed run is started anew. Beside ``pred.zip`` comes
    ``pred.card.json``: method, checkpoint, data, boxes, roots and crop of the prediction.

    Args:
        out: The file; ``pred.zip`` in the run folder by default.
        decimals: Digits after the point, metres; 5 is a hundredth of a millimetre.
    """

    def __init__(self, out: str | None = None, decimals: int = 5) -> None:
        check_number("decimals", decimals, least=1, most=17, whole=True)
        self.out = out
        self.decimals = decimals
        self.writer: SubmissionWriter | None = None
        self.root_source: str | None = None

    @override
    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = hand_data(trainer)
        self.writer = None
        if data is None or data.protocol is None:
            return
        self.writer = SubmissionWriter(
            self.out or run_folder(trainer).submission,
            num_samples=num_predicted(trainer),
            protocol=benchmark_named(data.protocol),
            decimals=self.decimals,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
            run_id=trainer.strategy.broadcast(uuid.uuid4().hex),
        )
        if self.writer.replaced_records:
            log.warning("predictions of an interrupted run beside %s are discarded; predicting anew", self.writer.path)

    @override
    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: PredictedBatch,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.writer is None:
            return
        prediction = outputs.prediction
        self.root_source = "given with the dataset"
        if bool(batch.valid["root_cam"].all()):
            root = batch.root_cam[:, None]
            joints, vertices = prediction.joints_root + root, prediction.vertices_root + root
        elif isinstance(data := hand_data(trainer), KnownBoneLengths):
            self.root_source = "fitted to the predicted 2D joints, the hand scaled to the given bone length"
            joints, vertices = place_by_bone(prediction, batch.intrinsics, data.bone_lengths(batch.index))
        else:
            raise InputError("a submission needs the root joint of every image, and the dataset does not give it")
        self.writer.write(batch.index, joints, vertices)

    @override
    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = hand_data(trainer)
        if self.writer is None or data is None:
            return
        self.writer.close()
        trainer.strategy.barrier("submission")
        if trainer.is_global_zero:
            for finding in self.writer.finalise():
                print(f"{finding.severity}: {finding.name}: {finding.message} {finding.fix}")
            card = make_card(trainer, pl_module, data, self.writer.path, self.root_source)
            write_card(card, self.writer.path)
            print(f"submission for {self.writer.protocol.name}: {self.writer.path}")

    @override
    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # nothing is left behind that looks like a result
        if self.writer is not None:
            self.writer.discard()


def make_card(
    trainer: pl.Trainer, pl_module: pl.LightningModule, data: HandData, prediction: Path, root_source: str | None
) -> ResultCard:
    """What trainer, data and method know about a prediction that was just written.

    Args:
        trainer: The trainer that predicted.
        pl_module: The method.
        data: What was predicted.
        prediction: The file.
        root_source: Where the roots of its hands come from.

    Returns:
        The card. The training data is what the ``config.yaml`` of the checkpoint's run names; without one it is not
        known.
    """
    checkpoint = trainer.ckpt_path
    is_file = checkpoint is not None and Path(checkpoint).is_file()
    crop, size = getattr(data, "crop", None), getattr(data, "image_size", None)
    root = getattr(data, "root", None)
    evaluation_data = f"{data.protocol}: {root}" if root is not None else str(data.protocol)
    return ResultCard(
        method=type(pl_module).__name__,
        checkpoint=str(checkpoint) if is_file else None,
        checkpoint_sha256=sha256(Path(str(checkpoint))) if is_file else None,
        training_data=_training_data(Path(str(checkpoint))) if is_file else None,
        evaluation_data=evaluation_data,
        box_source=data.box_source,
        root_source=root_source,
        crop=f"{crop}, {size} px" if crop is not None and size is not None else None,
        # the loop shows every image once, and the point estimate is what is written
        test_time_augmentation="none",
        num_hypotheses=1,
        calibration=_calibration(pl_module, Path(str(checkpoint))) if is_file else None,
        code_version=code_version(),
        prediction_sha256=sha256(prediction),
    )


def _calibration(pl_module: pl.LightningModule, checkpoint: Path) -> str | None:
    """Checksum of the calibration that a method's scales are by."""
    calibrated = getattr(pl_module, "calibration", None) is not None
    return sha256(RunFolder.of_checkpoint(checkpoint).calibration) if calibrated else None


def _training_data(checkpoint: Path) -> str | None:
    """Dataset and folder from the configuration that was saved beside ``checkpoints/`` when training started."""
    config = RunFolder.of_checkpoint(checkpoint).config
    if not config.is_file():
        return None
    data = load_yaml(config)["data"]
    return f"{data['class_path'].rsplit('.', 1)[-1]}: {data['init_args'].get('root')}"
