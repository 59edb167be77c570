"""Lightning callbacks: the submission file, predicted scales, hypotheses, pictures and textured meshes."""

from handlit.callbacks.hypotheses import HypothesisEvaluation
from handlit.callbacks.hypothesis_export import HypothesisExport
from handlit.callbacks.meshes import TexturedMeshes
from handlit.callbacks.pictures import PredictionPictures
from handlit.callbacks.predicted_scale import PredictedScale
from handlit.callbacks.submission import SubmissionCallback

__all__ = [
    "HypothesisEvaluation",
    "HypothesisExport",
    "PredictedScale",
    "PredictionPictures",
    "SubmissionCallback",
    "TexturedMeshes",
]
