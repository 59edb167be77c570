"""Lightning callbacks: the submission file and pictures of the predictions."""

from handlit.callbacks.pictures import PredictionPictures
from handlit.callbacks.submission import SubmissionCallback

__all__ = ["PredictionPictures", "SubmissionCallback"]
