"""The released codes as methods, for their released weights; what they compute is in `handlit.models.published`."""

from handlit.methods.published.amvur import AMVURReference
from handlit.methods.published.mhentropy import MHEntropyReference

__all__ = ["AMVURReference", "MHEntropyReference"]
