"""How the vertices of a mesh err together: the uncertainty of a hand's orientation, pose and shape, seen at its skin.

A covariance of low rank over the mesh. Its directions are those in which a hand can be wrong as a whole: turned about
the wrist, bent along the principal components of poses, of another shape, each to first order; an image says how much
of each, and which go together.
"""

import torch
from torch import Tensor, nn

from handlit.hand.layer import HandLayer
from handlit.models.prior_net import RegressionHead

_TURNS, _BETAS = 3, 10
#: Standard deviation of each direction before training, radians or coefficients.
_INITIAL = 0.2
#: Half of the step of the difference quotients.
_STEP = 0.05


class MeshSpread(nn.Module):
    """Image feature to the factor W of a covariance ``W Wᵀ`` of all vertex coordinates.

    ``W = J L``: J are the vertices' derivatives by rotation (of the given mesh), pose and shape (of the mean hand, in
    the given orientation), L is predicted. It trains neither the mesh nor its orientation.

    Args:
        in_features: Width of the image feature.
        hand: Hand layer with ``pose_space="pca"``.
        num_components: Pose coefficients that the hand layer takes.
        rank: Columns of W.
        hidden: Width inside the head.
    """

    modes: Tensor

    def __init__(self, in_features: int, hand: HandLayer, num_components: int, rank: int, hidden: int = 512) -> None:
        super().__init__()
        self.rank = rank
        self.register_buffer("modes", _modes(hand, num_components), persistent=False)
        initial = _INITIAL * torch.eye(_TURNS + num_components + _BETAS, rank)
        self.head = RegressionHead(in_features, hidden, initial.flatten().tolist())

    def forward(self, feature: Tensor, mean: Tensor, rotation: Tensor) -> Tensor:
        """The factor.

        Args:
            feature: (B, in_features).
            mean: (B, 778, 3) the mesh, wrist at the origin, metres.
            rotation: (B, 3, 3) from the hand model's frame to that of the mesh.

        Returns:
            (B, 778, 3, rank) metres.
        """
        with torch.autocast(feature.device.type, enabled=False):
            mixed = self.head(feature).unflatten(1, (-1, self.rank))
            turns, others = mixed.split((_TURNS, mixed.shape[1] - _TURNS), dim=1)
            around = torch.linalg.cross(turns[:, None], mean.detach().float()[..., None], dim=2)
            deformed = torch.einsum("vck,bkr->bvcr", self.modes, others)
            return around + torch.einsum("bdc,bvcr->bvdr", rotation.detach().float(), deformed)


@torch.no_grad()
def _modes(hand: HandLayer, num_components: int) -> Tensor:
    """Derivatives (778, 3, num_components + 10) of the mean hand's vertices by pose and shape, wrist at the origin."""
    steps = _STEP * torch.eye(num_components + _BETAS)

    def vertices(parameters: Tensor) -> Tensor:
        mesh = hand(*parameters.split((num_components, _BETAS), dim=1))
        return mesh.vertices - mesh.joints[:, :1]

    return ((vertices(steps) - vertices(-steps)) / (2 * _STEP)).permute(1, 2, 0)
