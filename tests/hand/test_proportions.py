import pytest
import torch
from torch import Tensor

from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.skeleton import BONES

LAYER = HandLayer(load_standin(), dtype=torch.float64)


def lengths(joints: Tensor) -> Tensor:
    parents, children = (list(ends) for ends in zip(*BONES, strict=True))
    return (joints[..., children, :] - joints[..., parents, :]).norm(dim=-1)


@pytest.fixture
def hand() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = {"pose": (0.3, 45), "betas": (1.0, 10), "global_orient": (1.0, 3), "transl": (1.0, 3)}
    return {
        name: scale * torch.randn(6, size, generator=generator, dtype=torch.float64)
        for name, (scale, size) in draw.items()
    }


def test_ratios_of_one_change_nothing(hand: dict[str, Tensor]) -> None:
    plain, same = LAYER(**hand), LAYER(**hand, ratios=torch.ones(20))
    torch.testing.assert_close(same.vertices, plain.vertices, atol=1e-12, rtol=0)
    torch.testing.assert_close(same.joints, plain.joints, atol=1e-12, rtol=0)


def test_bones_get_the_lengths_asked_for(hand: dict[str, Tensor]) -> None:
    ratios = (0.1 * torch.randn(6, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).exp()
    plain, longer = LAYER(**hand), LAYER(**hand, ratios=ratios)
    reached = lengths(longer.joints) / lengths(plain.joints) / ratios
    inner = [i for i in range(20) if i % 4 != 3]
    torch.testing.assert_close(reached[:, inner], torch.ones(6, 15, dtype=torch.float64), atol=1e-10, rtol=0)
    # a tip is a vertex beside the last bone's axis, and shared with no other bone
    assert (reached[:, 3::4] - 1).abs().max() < 0.08
    torch.testing.assert_close(LAYER.joints_only(**hand, ratios=ratios), longer.joints, atol=1e-12, rtol=0)


def test_one_longer_bone_moves_what_lies_beyond_it_and_its_skin(hand: dict[str, Tensor]) -> None:
    ratios = torch.ones(20, dtype=torch.float64)
    middle = 4 * 2 + 2
    ratios[middle] = 1.2
    plain, longer = LAYER(**hand), LAYER(**hand, ratios=ratios)
    moved = (longer.joints - plain.joints).norm(dim=-1)
    assert moved[:, [11, 12]].min() > 0.002
    others = [i for i in range(21) if i not in (11, 12)]
    assert moved[:, others].max() < 1e-9
    skin = (longer.vertices - plain.vertices).norm(dim=-1)
    # vertices that belong to other fingers stay
    asset = load_standin()
    of_others = torch.from_numpy(asset.weights[:, 4:7].sum(1) == 0)
    assert skin[:, of_others].max() < 1e-9
    assert skin.amax(1).min() > 0.002


def test_ratios_are_differentiable(hand: dict[str, Tensor]) -> None:
    ratios = torch.ones(6, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r: LAYER.joints_only(**hand, ratios=r), (ratios,))


def test_another_number_of_ratios_is_refused(hand: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="ratios has shape"):
        LAYER(**hand, ratios=torch.ones(19))
