"""Images in, hands in 3D out, with honest uncertainty."""

from handlit.reconstruct.hand import HandHypotheses, ReconstructedHand
from handlit.reconstruct.reconstructor import Reconstructor

__all__ = ["HandHypotheses", "ReconstructedHand", "Reconstructor"]
