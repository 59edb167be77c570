from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data.config import resolve_model_data_config

from handlit.errors import InputError
from handlit.models.backbones import Backbone


def images(size: int = 64, batch: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


NETWORKS = {
    "resnet10t": 64,
    "mobilenetv3_small_050": 64,
    "mobilenetv4_conv_small_050": 64,
    "convnext_atto": 64,
    "convnextv2_atto": 64,
    "efficientnet_b0": 64,
    "test_vit": 160,
    "vit_tiny_patch16_224": 224,
}


@pytest.mark.parametrize(("name", "size"), NETWORKS.items())
def test_pooled_and_maps_have_the_announced_channels(name: str, size: int) -> None:
    plain, mapped = Backbone(name).eval(), Backbone(name, maps=True).eval()
    mapped.load_state_dict(plain.state_dict())
    with torch.no_grad():
        pooled = plain(plain.normalise(images(size)))
        features = mapped(mapped.normalise(images(size)))
    assert pooled.pooled.shape == (2, plain.channels)
    assert pooled.maps == ()
    torch.testing.assert_close(features.pooled, pooled.pooled)
    assert tuple(each.shape[1] for each in features.maps) == mapped.map_channels
    strides = [size // each.shape[-1] for each in features.maps]
    assert strides == [4, 8, 16]


def test_grid_appends_where_things_are_in_the_last_map() -> None:
    plain, gridded = Backbone("mobilenetv3_small_050").eval(), Backbone("mobilenetv3_small_050", grid=4).eval()
    gridded.load_state_dict(gridded.state_dict() | plain.state_dict())
    assert gridded.channels == plain.channels + 4 * 9
    with torch.no_grad():
        # 192 pixels end in a map of 6 x 6
        normalised = plain.normalise(images(192))
        pooled, both = plain(normalised).pooled, gridded(normalised).pooled
        cells = plain.model.forward_features(normalised).unflatten(2, (3, 2)).unflatten(4, (3, 2)).mean((3, 5))
        assert gridded.cells is not None
        reduce: Any = gridded.cells[1]
        expected = torch.nn.functional.hardswish(
            torch.einsum("bcij,kc->bkij", cells, reduce.weight[..., 0, 0]) + reduce.bias[:, None, None]
        )
    torch.testing.assert_close(both[:, : plain.channels], pooled)
    torch.testing.assert_close(both[:, plain.channels :], expected.flatten(1), rtol=1e-4, atol=1e-5)


def test_grid_of_a_transformer_is_refused() -> None:
    backbone = Backbone("test_vit", grid=4)
    with pytest.raises(InputError, match="ends in tokens, not in a map: set grid to 0"):
        backbone(backbone.normalise(images(160)))


def test_hrnet_gives_the_whole_networks_feature_and_the_last_stages_maps() -> None:
    backbone = Backbone("hrnet_w64", maps=True).eval()
    names = [name for name, _ in backbone.named_parameters()]
    assert not [name for name in names if "classifier" in name]
    assert sum(p.numel() for p in backbone.parameters()) == 128_059_944 - 2048 * 1000 - 1000
    normalised = backbone.normalise(images())
    seen: dict[str, list[torch.Tensor]] = {}
    backbone.model.stage4.register_forward_hook(lambda module, args, result: seen.update(maps=result))
    with torch.no_grad():
        features = backbone(normalised)
        expected = backbone.model.forward_features(normalised).mean((2, 3))
    assert [tuple(each.shape[1:]) for each in features.maps] == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]
    assert backbone.map_channels == (64, 128, 256)
    assert features.pooled.shape == (2, 2048) == (2, backbone.channels)
    torch.testing.assert_close(features.pooled, expected)
    for map_, branch in zip(features.maps, seen["maps"][:3], strict=True):
        torch.testing.assert_close(map_, branch)


def test_normalise_is_the_networks_own() -> None:
    backbone = Backbone("resnet10t")
    pixels = images()
    config: dict[str, Any] = resolve_model_data_config(backbone.model)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    torch.testing.assert_close(backbone.normalise(pixels), (pixels / 255 - mean) / std)
    with pytest.raises(TypeError, match="uint8"):
        backbone.normalise(pixels / 255)


def test_checkpoint_of_a_classifier_is_loaded(tmp_path: Path) -> None:
    source: Any = timm.create_model("resnet10t")
    torch.save({"state_dict": source.state_dict()}, tmp_path / "weights.pth")
    backbone = Backbone("resnet10t", checkpoint=str(tmp_path / "weights.pth")).eval()
    normalised = backbone.normalise(images())
    with torch.no_grad():
        expected = source.eval().forward_features(normalised).mean((2, 3))
        torch.testing.assert_close(backbone(normalised).pooled, expected)


def test_checkpoint_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    weights = timm.create_model("resnet10t").state_dict()
    weights.pop("conv1.0.weight")
    torch.save(weights, tmp_path / "weights.pth")
    with pytest.raises(InputError, match=r"1 missing \['conv1.0.weight'\]"):
        Backbone("resnet10t", checkpoint=str(tmp_path / "weights.pth"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Backbone("resnet10t", checkpoint=str(tmp_path / "nothing.pth"))


def test_unknown_network_names_similar_ones() -> None:
    with pytest.raises(InputError, match="hrnet_w64"):
        Backbone("hrnet_w63")


def test_pretrained_weights_out_of_reach_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"no network.*pretrained=False"):
        Backbone("resnet10t", pretrained=True)


def test_simple_pyramid_resamples_the_last_map() -> None:
    backbone = Backbone("test_vit", maps=True).eval()
    normalised = backbone.normalise(images(160))
    with torch.no_grad():
        maps = backbone(normalised).maps
        last = backbone.model.forward_intermediates(normalised)[1][-1]
    torch.testing.assert_close(maps[2], last)
    torch.testing.assert_close(maps[0].mean((2, 3)), last.mean((2, 3)), atol=0.05, rtol=0)
    assert maps[0].shape[-2:] == (40, 40)


def test_network_without_maps_is_refused() -> None:
    class Mapless(torch.nn.Module):
        pass

    backbone = Backbone("resnet10t")
    backbone.model = Mapless()
    with pytest.raises(InputError, match="no feature maps"):
        backbone._choose_maps()
