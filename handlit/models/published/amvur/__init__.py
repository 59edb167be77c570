"""AMVUR's network as its released code computes it, for its released weights.

For inference only; the network that handlit trains is `handlit.models.amvur`. docs/explanations/amvur.md lists
how the two differ.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299;
    https://github.com/ZhehengJiangLancaster/AMVUR at commit 991150e.
"""

from handlit.models.published.amvur.cameras import ReferenceCamera
from handlit.models.published.amvur.network import AMVURReferenceNetwork, ReferenceOutput

__all__ = ["AMVURReferenceNetwork", "ReferenceCamera", "ReferenceOutput"]
