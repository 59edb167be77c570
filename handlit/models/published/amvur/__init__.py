"""AMVUR's network as its released code computes it, for its released weights.

Inference only, and nothing else of handlit needs this package: the method that handlit trains is
`handlit.models.amvur`. docs/amvur.md lists how the two differ.
"""

from handlit.models.published.amvur.cameras import ReferenceCamera
from handlit.models.published.amvur.network import AMVURReferenceNetwork, ReferenceOutput

__all__ = ["AMVURReferenceNetwork", "ReferenceCamera", "ReferenceOutput"]
