"""Methods and baselines as LightningModules; those that repeat released code are in `published`."""

from handlit.methods.amvur import AMVUR
from handlit.methods.deterministic import Deterministic
from handlit.methods.lift import Lift
from handlit.methods.mean_hand import MeanHand
from handlit.methods.mhentropy import MHEntropy
from handlit.methods.pixel_lift import PixelLift

__all__ = ["AMVUR", "Deterministic", "Lift", "MHEntropy", "MeanHand", "PixelLift"]
