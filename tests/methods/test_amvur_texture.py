"""The texture branch inside the method: lazy, masked, exported."""

from functools import partial
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch.utils._python_dispatch import TorchDispatchMode

from handlit.errors import InputError
from handlit.hand.asset import HandAsset
from handlit.losses.photometric import photometric_distance
from handlit.methods import amvur
from handlit.methods.amvur import AMVUR
from handlit.methods.method import HandMethod, Losses
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.texture import TextureDecoder
from handlit.skeleton import TipConvention
from handlit.types import HandBatch
from tests.methods.hands import SIZE, hand_batch


def network(
    asset: HandAsset, tips: TipConvention, camera: Any = "weak_perspective", texture: bool = True
) -> AMVURNetwork:
    sizes: dict[str, Any] = {
        "hidden": (32, 16, 8),
        "layers": 1,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "head_hidden": 64,
    }
    build = partial(TextureDecoder, hidden=24, feedforward=24, heads=2, layers=1, dropout=0.0) if texture else None
    return AMVURNetwork(asset, tips, Backbone("resnet10t", maps=texture), camera=camera, texture=build, **sizes)


def method(camera: str = "weak_perspective", texture: bool = True, **settings: Any) -> AMVUR:
    torch.manual_seed(0)
    return AMVUR(partial(network, camera=camera, texture=texture), image_size=SIZE, **settings)


def losses(module: AMVUR, batch: HandBatch) -> Losses:
    return module.losses(module.infer(batch.image), batch)


def test_nothing_of_the_texture_is_computed_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the texture was computed")

    module, late, batch = method(), method(photometric=1e-4, photometric_from=21), hand_batch()
    active = method(photometric=1e-4, photometric_from=0)
    monkeypatch.setattr(amvur, "view_hands", never)
    for each in (module, late):
        monkeypatch.setattr(each.network.texture, "forward", never)
        result = losses(each, batch)
        result.total.backward()
        assert "photometric" not in result.terms
        # a gradient, which DDP expects of every parameter, and none that moves it
        assert all(not parameter.grad.any() for parameter in each.network.texture.parameters())
        each.predict_step(batch, 0)
    for asked in (lambda: losses(active, batch), lambda: module.colours(batch)):
        with pytest.raises(AssertionError, match="texture was computed"):
            asked()


def test_the_loss_starts_at_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = method(photometric=1e-4, photometric_from=21), hand_batch()
    for epoch, present in ((0, False), (20, False), (21, True), (30, True)):
        monkeypatch.setattr(AMVUR, "current_epoch", epoch)
        assert ("photometric" in losses(module, batch).terms) == present


@pytest.mark.parametrize("camera", ["weak_perspective", "perspective"])
def test_the_loss_joins_the_others_with_its_weight(camera: str) -> None:
    module, batch = method(camera, photometric=3.0).eval(), hand_batch()
    with_texture = losses(module, batch)
    module.photometric = 0.0
    without = losses(module, batch)
    value = with_texture.terms["photometric"]
    assert 0.1 < value < 1
    torch.testing.assert_close(with_texture.total, without.total + 3 * value)


@pytest.mark.parametrize("camera", ["weak_perspective", "perspective"])
def test_the_loss_reaches_colours_mesh_and_backbone(camera: str) -> None:
    module, batch = method(camera, photometric=1.0).train(), hand_batch()
    losses(module, batch).terms["photometric"].backward()
    for name, parameter in module.network.named_parameters():
        part = name.split(".")[0]
        if part in ("texture", "decoder", "camera_head") and "log_variance" not in name and "intrinsics" not in name:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    assert any(parameter.grad.any() for parameter in module.network.decoder.parameters() if parameter.grad is not None)
    assert any(p.grad is not None and p.grad.any() for p in module.network.backbone.parameters())


def with_masks(batch: HandBatch) -> HandBatch:
    """An object over the left half of the crops."""
    batch.object_mask[:, :, : SIZE // 2] = True
    batch.valid["object_mask"][:] = True
    return batch


def test_pixels_of_an_object_neither_train_nor_colour_the_hand() -> None:
    module, clear, covered = method(photometric=1.0).eval(), hand_batch(), with_masks(hand_batch())
    outputs = {changes: module.infer(batch.image) for batch, changes in ((covered, False), (clear, True))}
    painted = with_masks(hand_batch())
    painted.image[..., : SIZE // 2] = 255
    for batch, changes in ((covered, False), (clear, True)):
        value = module.losses(outputs[changes], batch).terms["photometric"]
        # the same features, but other pixels to compare with
        batch.image[..., : SIZE // 2] = 255
        assert (module.losses(outputs[changes], batch).terms["photometric"] != value).item() == changes


def test_no_object_pixel_is_compared_even_between_visible_vertices(monkeypatch: pytest.MonkeyPatch) -> None:
    module, batch = method(photometric=1.0).eval(), hand_batch()
    batch.object_mask[:] = torch.rand(batch.object_mask.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    batch.valid["object_mask"][:] = True
    compared = []

    def note(rendered: torch.Tensor, image: torch.Tensor, mask: torch.Tensor) -> Any:
        compared.append(mask)
        return photometric_distance(rendered, image, mask)

    monkeypatch.setattr(amvur, "photometric_distance", note)
    losses(module, batch)
    assert compared[0].flatten(1).any(1).all()
    assert not (compared[0] & batch.object_mask).any()


def test_an_image_without_any_label_does_not_count() -> None:
    module = method(photometric=1.0).eval()
    result = losses(module, hand_batch(labelled=False))
    assert result.terms["photometric"] == 0
    assert result.total == 0


@pytest.mark.parametrize("state", ["no hand", "all hidden"])
def test_nothing_to_compare_gives_finite_gradients(state: str) -> None:
    module, batch = method("perspective", photometric=1.0).train(), hand_batch()
    if state == "no hand":
        with torch.no_grad():
            head: Any = module.network.camera_head
            head.head[-1].bias[1:] = 100.0  # far outside the crop
    else:
        batch.object_mask[:] = True
        batch.valid["object_mask"][:] = True
    result = losses(module, batch)
    result.total.backward()
    assert result.terms["photometric"] == 0
    assert result.total.isfinite()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in module.parameters())


class Waits(TorchDispatchMode):
    """Counts operations for which the host waits for the device."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "repeat_interleave")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.NAMES or (name.startswith("index") and _by_mask(args)):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def _by_mask(args: Any) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ()
    return any(isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in indices)


def test_only_the_rasteriser_waits_for_the_device() -> None:
    module, batch = method(photometric=1.0).train(), hand_batch()
    with Waits() as waits:
        losses(module, batch).total.backward()
    # one flat list each of scan lines, their pixels and the covered pixels, whose lengths torch must know, and the
    # check that they fit into memory at once
    assert sorted(waits.seen) == ["_local_scalar_dense"] * 3 + ["nonzero"]
    module.photometric = 0.0
    with Waits() as waits:
        losses(module, batch).total.backward()
    assert not waits.seen


def test_colours_are_bounded_and_repeatable() -> None:
    module, batch = method().eval(), hand_batch()
    colours = module.colours(batch)
    assert colours.shape == (4, 778, 3)
    assert ((colours > 0) & (colours < 1)).all()
    assert torch.equal(colours, module.colours(batch))
    assert not colours.requires_grad


def test_a_method_without_the_branch_says_so() -> None:
    with pytest.raises(InputError, match="no texture branch"):
        method(texture=False, photometric=1e-3)
    with pytest.raises(InputError, match="no texture branch"):
        method(texture=False).colours(hand_batch())


@pytest.mark.parametrize("settings", [{"hidden": 24, "heads": 2, "layers": 1}, {}])
def test_configuration_builds_the_branch(settings: dict[str, Any]) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(HandMethod, "model")
    name = {"name": "mobilenetv3_small_050", "maps": True}
    config = {
        "class_path": "handlit.methods.amvur.AMVUR",
        "init_args": {
            "network": {
                "class_path": "handlit.models.amvur.AMVURNetwork",
                "init_args": {
                    "backbone": {"class_path": "handlit.models.backbones.Backbone", "init_args": name},
                    "hidden": [32, 16, 8],
                    "texture": {"class_path": "handlit.models.texture.TextureDecoder", "init_args": settings},
                },
            },
            "image_size": SIZE,
            "photometric": 0.001,
        },
    }
    module = parser.instantiate_classes(parser.parse_object({"model": config})).model
    assert module.network.texture.hidden_token.shape == (settings.get("hidden", 216),)
    assert module.photometric == 0.001
