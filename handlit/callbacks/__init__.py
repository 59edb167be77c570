"""Lightning callbacks and the W&B logger: submissions, hypotheses, images, meshes, what a run was made with."""

from handlit.callbacks.output.hypotheses import HypothesisEvaluation
from handlit.callbacks.output.hypothesis_export import HypothesisExport
from handlit.callbacks.output.meshes import TexturedMeshes
from handlit.callbacks.output.pictures import PredictionPictures
from handlit.callbacks.output.predicted_scale import PredictedScale
from handlit.callbacks.output.submission import SubmissionCallback
from handlit.callbacks.output.validation_pictures import ValidationPictures
from handlit.callbacks.output.weights_file import WeightsFile
from handlit.callbacks.running.checkpoint_files import DurableCheckpoints
from handlit.callbacks.running.csv_logger import ResumableCSVLogger
from handlit.callbacks.running.ema import MovingAverage
from handlit.callbacks.running.last_checkpoint import LastCheckpoint
from handlit.callbacks.running.logger_guard import LoggerGuard
from handlit.callbacks.running.model_size import ModelSize
from handlit.callbacks.running.nonfinite import NonFiniteRecord
from handlit.callbacks.running.progress import RunProgress
from handlit.callbacks.running.run_record import RunRecord
from handlit.callbacks.running.wandb_run import WandbRun

__all__ = [
    "DurableCheckpoints",
    "HypothesisEvaluation",
    "HypothesisExport",
    "LastCheckpoint",
    "LoggerGuard",
    "ModelSize",
    "MovingAverage",
    "NonFiniteRecord",
    "PredictedScale",
    "PredictionPictures",
    "ResumableCSVLogger",
    "RunProgress",
    "RunRecord",
    "SubmissionCallback",
    "TexturedMeshes",
    "ValidationPictures",
    "WandbRun",
    "WeightsFile",
]
