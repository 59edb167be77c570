import pytest

from handlit.errors import InputError
from handlit.models.backbones import Backbone
from handlit.models.lift import LiftNetwork
from handlit.models.pixel_lift import PixelLiftNetwork


def test_the_pretrained_network_is_the_package_s_and_is_trained_on() -> None:
    network = PixelLiftNetwork(Backbone("resnet10t", maps=True), width=16)
    assert network.lifter.training
    assert network.lifter.settings["width"] == LiftNetwork().settings["width"]


def test_a_backbone_without_maps_and_weights_that_are_not_there_are_refused() -> None:
    with pytest.raises(InputError, match="maps to true"):
        PixelLiftNetwork(Backbone("resnet10t"))
    with pytest.raises(InputError, match=r"none\.safetensors cannot be read"):
        PixelLiftNetwork(Backbone("resnet10t", maps=True), pretrained="none.safetensors")
