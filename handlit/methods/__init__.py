"""Published methods and baselines as LightningModules."""

from handlit.methods.amvur import AMVUR
from handlit.methods.mean_hand import MeanHand

__all__ = ["AMVUR", "MeanHand"]
