"""Lightning callbacks: the submission file, predicted scales, and pictures of the predictions."""

from handlit.callbacks.pictures import PredictionPictures
from handlit.callbacks.predicted_scale import PredictedScale
from handlit.callbacks.submission import SubmissionCallback

__all__ = ["PredictedScale", "PredictionPictures", "SubmissionCallback"]
