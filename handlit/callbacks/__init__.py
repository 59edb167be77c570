"""Lightning callbacks and the W&B logger: submissions, hypotheses, pictures, meshes, what a run was made with."""

from handlit.callbacks.checkpoints import DurableCheckpoints, LastCheckpoint, ResumableCSVLogger
from handlit.callbacks.ema import MovingAverage
from handlit.callbacks.guards import LoggerGuard, Reproducer
from handlit.callbacks.hypotheses import HypothesisEvaluation
from handlit.callbacks.hypothesis_export import HypothesisExport
from handlit.callbacks.meshes import TexturedMeshes
from handlit.callbacks.pictures import PredictionPictures
from handlit.callbacks.predicted_scale import PredictedScale
from handlit.callbacks.progress import RunProgress
from handlit.callbacks.run_record import RunRecord
from handlit.callbacks.submission import SubmissionCallback
from handlit.callbacks.validation_pictures import ValidationPictures
from handlit.callbacks.wandb_run import WandbRun

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
