import pytest
import torch

from handlit.errors import InputError
from handlit.geometry.viewing_ray import view_hand
from handlit.models.lift import LiftNetwork, LiftOutput

SMALL = {"width": 32, "blocks": 1, "features": 16, "hidden": 16, "context": 8, "couplings": 2, "components": 3}
INTRINSICS = torch.tensor([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])


def run(network: LiftNetwork, points: torch.Tensor, confidence: torch.Tensor) -> LiftOutput:
    view = view_hand(points, confidence > 0, INTRINSICS.expand(len(points), 3, 3))
    return network(view, confidence)


@torch.no_grad()
def test_items_of_a_batch_do_not_meet() -> None:
    torch.manual_seed(0)
    network = LiftNetwork(**SMALL)
    points, confidence = 300 + 50 * torch.randn(5, 21, 2), torch.rand(5, 21)
    whole, one = run(network, points, confidence), run(network, points[2:3], confidence[2:3])
    torch.testing.assert_close(one.feature, whole.feature[2:3], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(one.rotation.means, whole.rotation.means[2:3], atol=1e-6, rtol=1e-5)
    turned = whole.rotation.centre
    z = torch.randn(4, 5, 57)
    drawn, drawn_one = whole.hands(turned).push(z)[0], one.hands(turned[2:3]).push(z[:, 2:3])[0]
    torch.testing.assert_close(drawn_one, drawn[:, 2:3], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_a_missing_joint_says_is_not_read() -> None:
    torch.manual_seed(0)
    network = LiftNetwork(**SMALL)
    points, confidence = 300 + 50 * torch.randn(2, 21, 2), torch.ones(2, 21)
    confidence[:, 8] = 0
    other = points.clone()
    other[:, 8] = 1e4
    first, second = run(network, points, confidence), run(network, other, confidence)
    torch.testing.assert_close(first.feature, second.feature)
    gap = torch.rand(2, 21, 2)
    torch.testing.assert_close(first.definition(gap).mean, second.definition(gap).mean)
    torch.testing.assert_close(first.camera(gap).mean, second.camera(gap).mean)
    turned = first.rotation.centre
    torch.testing.assert_close(first.hands(turned).centre, second.hands(turned).centre)
    confidence[:, 8] = 1
    assert (run(network, points, confidence).feature - first.feature).abs().max() > 1e-3


def test_single_precision_is_kept_under_autocast() -> None:
    network = LiftNetwork(**SMALL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = run(network, 300 + 50 * torch.randn(2, 21, 2), torch.ones(2, 21))
        assert output.feature.dtype == torch.float32
        assert output.hands(output.rotation.centre).rsample().dtype == torch.float32


@pytest.mark.parametrize("name", [*SMALL])
def test_sizes_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        LiftNetwork(**{**SMALL, name: 0})


def test_the_package_s_network_has_room_in_five_megabytes() -> None:
    network = LiftNetwork()
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 4.97e6
