"""How a detector of 2D joints errs: a model of its noise, for training on joints that no detector has seen.

Errors are shared by the hand, by each finger, and every joint's own; hidden joints err more; now and then a joint lies
far off, two neighbouring fingers are taken for each other, or joints are missing. A confidence may say so, or be 1
whatever happens, as detectors' are.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from handlit.errors import check_number
from handlit.skeleton import BONES

#: Half the thickness of a finger, metres: what lies behind a bone by more and within it in the image is hidden.
_GIRTH_M = 0.009
_FINGER = torch.tensor([0, *(1 + i // 4 for i in range(20))])


@dataclass
class DetectorNoise:
    """How much a detector errs, in shares of the longer side of the hand's box.

    Attributes:
        scale: Largest standard deviation of a joint per coordinate; a hand has one between 0 and this.
        outliers: Share of joints that err four times as much.
        swapped: Share of hands in which two neighbouring fingers are taken for each other.
        incomplete: Share of hands with missing joints.
        most_missing: Of an incomplete hand at most this many joints are missing.
        silent: Share of hands whose confidences are all 1.
    """

    scale: float = 0.04
    outliers: float = 0.01
    swapped: float = 0.01
    incomplete: float = 0.25
    most_missing: int = 8
    silent: float = 0.6

    def __post_init__(self) -> None:
        check_number("scale", self.scale, least=0, most=1)
        for name in ("outliers", "swapped", "incomplete", "silent"):
            check_number(name, getattr(self, name), least=0, most=1)
        check_number("most_missing", self.most_missing, least=0, most=20, whole=True)


def detect(joints_2d: Tensor, joints_cam: Tensor, noise: DetectorNoise, generator: torch.Generator) -> Tensor:
    """What a detector makes of true joints.

    Args:
        joints_2d: (N, 21, 2) pixels.
        joints_cam: (N, 21, 3) camera frame, metres.
        noise: How it errs.
        generator: On the CPU.

    Returns:
        (N, 21, 3) pixels and confidence in [0, 1]; zeros for a missing joint.
    """
    count = len(joints_2d)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    box = (joints_2d.amax(1) - joints_2d.amin(1)).amax(1)[:, None, None]
    hidden = hidden_joints(joints_2d, joints_cam)
    level = noise.scale * uniform(1)
    level = level * torch.where(hidden, 1.5, 1.0) * torch.where(uniform(21) < noise.outliers, 4.0, 1.0)
    # parts of the variance: the hand's, the finger's, the joint's own
    shares = torch.tensor([0.15, 0.35, 0.5]).sqrt()
    error = shares[0] * normal(1, 2) + shares[1] * normal(6, 2)[:, _FINGER] + shares[2] * normal(21, 2)
    found = joints_2d + box * level[..., None] * error
    found = _swap_fingers(found, uniform() < noise.swapped, generator)
    says = (1 - 8 * level * (0.7 + 0.6 * uniform(21))).clamp(0.05, 1)
    confidence = torch.where(uniform(1) < noise.silent, 1.0, says)
    confidence = torch.where(_missing(hidden, noise, generator), 0.0, confidence)
    return torch.cat([torch.where(confidence[..., None] > 0, found, 0.0), confidence[..., None]], -1)


def hidden_joints(joints_2d: Tensor, joints_cam: Tensor) -> Tensor:
    """Joints that another bone of the hand covers; each bone is taken for a capsule of a finger's girth.

    Args:
        joints_2d: (N, 21, 2) pixels.
        joints_cam: (N, 21, 3) camera frame, metres.

    Returns:
        (N, 21) bool.
    """
    parents, children = (torch.tensor(ends) for ends in zip(*BONES, strict=True))
    start, end = joints_2d[:, None, parents], joints_2d[:, None, children]
    along, to_joint = end - start, joints_2d[:, :, None] - start
    share = ((along * to_joint).sum(-1) / along.square().sum(-1).clamp(min=1e-6)).clamp(0, 1)
    distance = (to_joint - share[..., None] * along).norm(dim=-1)
    near, far = joints_cam[:, None, parents, 2], joints_cam[:, None, children, 2]
    depth = near + share * (far - near)
    # pixels of a metre at the joint's depth, from the hand's own size
    size_m = (joints_cam[..., :2].amax(1) - joints_cam[..., :2].amin(1)).amax(1)
    size_px = (joints_2d.amax(1) - joints_2d.amin(1)).amax(1)
    girth = (_GIRTH_M * size_px / size_m.clamp(min=1e-3))[:, None, None]
    covers = (distance < girth) & (joints_cam[:, :, None, 2] - depth > _GIRTH_M)
    own = torch.arange(21)[:, None]
    return (covers & (own != parents) & (own != children)).any(-1)


def _swap_fingers(joints: Tensor, swapped: Tensor, generator: torch.Generator) -> Tensor:
    """Joints (N, 21, 2) with two neighbours of index to little finger exchanged in hands (N,) where it is True."""
    first = 5 + 4 * torch.randint(3, (len(joints),), generator=generator)[:, None] + torch.arange(4)
    order = torch.arange(21).expand(len(joints), -1).scatter(1, first, first + 4).scatter(1, first + 4, first)
    exchanged = joints.gather(1, order[..., None].expand(-1, -1, 2))
    return torch.where(swapped[:, None, None], exchanged, joints)


def _missing(hidden: Tensor, noise: DetectorNoise, generator: torch.Generator) -> Tensor:
    """(N, 21) bool, joints that are not found: of an incomplete hand 1 to `most_missing`, hidden ones first or any."""
    count = len(hidden)
    if not noise.most_missing:
        return torch.zeros_like(hidden)
    number = torch.randint(1, noise.most_missing + 1, (count, 1), generator=generator)
    number = torch.where(torch.rand(count, 1, generator=generator) < noise.incomplete, number, 0)
    prefers_hidden = torch.rand(count, 1, generator=generator) < 0.5
    order = torch.rand(count, 21, generator=generator) + (hidden & prefers_hidden)
    return order.argsort(1, descending=True).argsort(1) < number
