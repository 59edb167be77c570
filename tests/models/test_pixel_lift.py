import pytest
import torch

from handlit.errors import InputError
from handlit.models.backbones import Backbone
from handlit.models.lift import LiftNetwork
from handlit.models.pixel_lift import PixelLiftNetwork, PixelLiftOutput
from tests.models.test_lift import SMALL


def test_the_pretrained_network_is_the_package_s_and_stays_as_it_is() -> None:
    network = PixelLiftNetwork(Backbone("resnet10t", maps=True), width=16)
    assert network.lifter.settings == LiftNetwork().settings
    assert network.lifter.training
    assert not any(parameter.requires_grad for parameter in network.lifter.parameters())


def test_a_lifting_network_that_is_given_is_learned() -> None:
    network = PixelLiftNetwork(Backbone("resnet10t", maps=True), LiftNetwork(**SMALL), width=16)
    assert all(parameter.requires_grad for parameter in network.lifter.parameters())


def seen(network: PixelLiftNetwork) -> PixelLiftOutput:
    torch.manual_seed(0)
    intrinsics = torch.tensor([[128.0, 0.0, 31.5], [0.0, 128.0, 31.5], [0.0, 0.0, 1.0]]).expand(2, 3, 3)
    output: PixelLiftOutput = network(torch.randn(2, 3, 64, 64), intrinsics)
    return output


@torch.no_grad()
def test_what_the_image_shows_weighs_the_orientations_as_a_matrix_fisher_density_does() -> None:
    torch.manual_seed(0)
    network = PixelLiftNetwork(Backbone("resnet10t", maps=True), LiftNetwork(**SMALL), width=16).eval()
    before = seen(network).steps.rotation
    matrix = torch.tensor([[0.3, -1.0, 0.5], [2.0, 0.1, -0.4], [0.0, 0.7, -1.5]])
    network.facing[-1].load_state_dict({"weight": torch.zeros(9, 64), "bias": matrix.flatten()})
    after = seen(network).steps.rotation
    torch.testing.assert_close(after.means, before.means)
    torch.testing.assert_close(after.scale_tril, before.scale_tril)
    for image in range(2):
        for component in range(before.logits.shape[1]):
            expected = torch.trace(matrix.T @ before.means[image, component])
            found = after.logits[image, component] - before.logits[image, component]
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_likelihood_of_rotations_teaches_which_way_hands_face() -> None:
    torch.manual_seed(0)
    network = PixelLiftNetwork(Backbone("resnet10t", maps=True), LiftNetwork(**SMALL), width=16).eval()
    rotation = seen(network).steps.rotation
    # the second component's own rotation is the true one
    (-rotation.log_prob(rotation.means[:, 1].detach())).mean().backward()
    *_, bias = network.facing.parameters()
    assert bias.grad is not None
    with torch.no_grad():
        bias.sub_(0.1 * bias.grad / bias.grad.norm())
        after = seen(network).steps.rotation.logits.log_softmax(-1)
    assert (after[:, 1] > rotation.logits.log_softmax(-1)[:, 1]).all()


def test_a_backbone_without_maps_and_weights_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="maps to true"):
        PixelLiftNetwork(Backbone("resnet10t"))
    with pytest.raises(InputError, match=r"none\.safetensors cannot be read"):
        PixelLiftNetwork(Backbone("resnet10t", maps=True), pretrained="none.safetensors")
