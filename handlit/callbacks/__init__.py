"""Lightning callbacks and the W&B logger: submissions, hypotheses, pictures, meshes, what a run was made with."""

from handlit.callbacks.output.hypotheses import HypothesisEvaluation
from handlit.callbacks.output.hypothesis_export import HypothesisExport
from handlit.callbacks.output.meshes import TexturedMeshes
from handlit.callbacks.output.pictures import PredictionPictures
from handlit.callbacks.output.predicted_scale import PredictedScale
from handlit.callbacks.output.submission import SubmissionCallback
from handlit.callbacks.output.validation_pictures import ValidationPictures
from handlit.callbacks.running.checkpoints import DurableCheckpoints, LastCheckpoint, ResumableCSVLogger
from handlit.callbacks.running.ema import MovingAverage
from handlit.callbacks.running.guards import LoggerGuard, Reproducer
from handlit.callbacks.running.progress import RunProgress
from handlit.callbacks.running.run_record import RunRecord
from handlit.callbacks.running.wandb_run import WandbRun

__all__ = [
    "DurableCheckpoints",
    "HypothesisEvaluation",
    "HypothesisExport",
    "LastCheckpoint",
    "LoggerGuard",
    "MovingAverage",
    "PredictedScale",
    "PredictionPictures",
    "Reproducer",
    "ResumableCSVLogger",
    "RunProgress",
    "RunRecord",
    "SubmissionCallback",
    "TexturedMeshes",
    "ValidationPictures",
    "WandbRun",
]
