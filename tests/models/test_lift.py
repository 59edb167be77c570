import pytest
import torch

from handlit.errors import InputError
from handlit.geometry.viewing_ray import view_hand
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.models.lift import LiftNetwork, LiftOutput
from handlit.models.lifter import DetectedJoints, Lifter

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
    z, seen = torch.randn(4, 5, 15), torch.randn(4, 5, 106)
    drawn, drawn_one = whole.bend(0, seen).push(z)[0], one.bend(0, seen[:, 2:3]).push(z[:, 2:3])[0]
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
    gap, turned = torch.rand(2, 21, 2), first.rotation.centre
    torch.testing.assert_close(turned, second.rotation.centre)
    torch.testing.assert_close(first.definition(gap).mean, second.definition(gap).mean)
    torch.testing.assert_close(first.place(gap).centre, second.place(gap).centre)
    torch.testing.assert_close(first.build(turned).centre, second.build(turned).centre)
    confidence[:, 8] = 1
    assert (run(network, points, confidence).feature - first.feature).abs().max() > 1e-3


@torch.no_grad()
def test_orientations_start_apart_and_each_is_corrected_in_its_own_axes() -> None:
    torch.manual_seed(0)
    network = LiftNetwork(**SMALL)
    points = 300 + 50 * torch.randn(2, 21, 2)
    means = run(network, points, torch.ones(2, 21)).rotation.means
    identity = torch.eye(3).expand(2, 3, 3, 3)
    torch.testing.assert_close(means @ means.mT, identity, atol=1e-5, rtol=0)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (means[:, first] - means[:, second]).norm(dim=(1, 2)).min() > 0.3
    network.refined.out.weight.zero_()
    network.refined.out.bias.zero_()
    guesses = run(network, points, torch.ones(2, 21)).rotation.means
    assert (means - guesses).abs().max() > 1e-3


@torch.no_grad()
def test_single_precision_is_kept_under_autocast() -> None:
    lifter = Lifter(LiftNetwork(**SMALL), HandLayer(load_standin(), pose_space="matrix"))
    observed = DetectedJoints(300 + 50 * torch.randn(2, 21, 2), torch.ones(2, 21), INTRINSICS.expand(2, 3, 3))
    expected = lifter.infer(observed).centre().joints_root
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(lifter.infer(observed).centre().joints_root, expected)


@pytest.mark.parametrize("name", [*SMALL])
def test_sizes_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        LiftNetwork(**{**SMALL, name: 0})


def test_the_package_s_network_has_room_in_five_megabytes() -> None:
    network = LiftNetwork()
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 4.97e6
