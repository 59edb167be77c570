"""Options that change speed or memory and not the result: memory layout, compiler, recomputation, accumulation, EMA."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from handlit.callbacks import MovingAverage
from handlit.errors import InputError
from handlit.hand.asset import HandAsset
from handlit.methods.amvur import AMVUR
from handlit.models.amvur import AMVURNetwork
from handlit.models.attention_decoder import AttentionDecoder
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
from tests.methods.hands import SIZE, hand_batch, hand_samples, loader
from tests.methods.test_amvur import losses, method, trainer

#: timm's smallest HRNet.
HRNET = "hrnet_w18_small"


def images(size: int = 64) -> Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def pair(name: str, **option: Any) -> tuple[Backbone, Backbone]:
    """A backbone without and one with an option, of the same weights."""
    plain, changed = Backbone(name, maps=True), Backbone(name, maps=True, **option)
    changed.load_state_dict(plain.state_dict())
    return plain, changed


def decoder(**settings: Any) -> AttentionDecoder:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden": (32, 16, 8), "layers": 3}
    return AttentionDecoder(
        12, torch.randn(21, 3), torch.randn(195, 3), torch.rand(778, 195) / 98, **{**sizes, **settings}
    )


def backward(module: nn.Module, argument: Tensor) -> tuple[Tensor, list[Tensor], int]:
    """Loss, gradients and the bytes that were kept for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = module(argument)
        outputs = (result.pooled, *result.maps) if isinstance(module, Backbone) else result
        loss = torch.stack([output.square().mean() for output in outputs]).sum()
    loss.backward()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return loss.detach(), gradients, sum(size for place, size in kept.items() if place not in weights)


def test_memory_layout_changes_no_result() -> None:
    plain, changed = pair("resnet10t", channels_last=False)
    normalised = plain.normalise(images()), changed.normalise(images())
    assert normalised[0].is_contiguous(memory_format=torch.channels_last)
    assert normalised[1].is_contiguous()
    weights = [plain.model.conv1[0].weight, changed.model.conv1[0].weight]
    assert [weight.is_contiguous(memory_format=torch.channels_last) for weight in weights] == [True, False]
    torch.testing.assert_close(changed(normalised[1]).pooled, plain(normalised[0]).pooled, rtol=1e-4, atol=1e-5)


# small networks keep much in their first and last layers; HRNet-W64 keeps 29 %
@pytest.mark.parametrize(("name", "share"), [("resnet10t", 0.75), (HRNET, 0.8)])
def test_recomputed_backbone_has_the_same_gradients_and_statistics_and_keeps_less(name: str, share: float) -> None:
    plain, changed = pair(name, activation_checkpointing=True)
    normalised = plain.normalise(images())
    loss, gradients, kept = backward(plain, normalised)
    new_loss, new_gradients, newly_kept = backward(changed, normalised)
    assert torch.equal(new_loss, loss)
    torch.testing.assert_close(new_gradients, gradients)
    # batch normalisation counts a batch once
    torch.testing.assert_close(changed.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert newly_kept < share * kept
    assert changed.eval()(normalised).pooled.equal(plain.eval()(normalised).pooled)


def test_recomputed_decoder_repeats_its_dropout_and_keeps_less() -> None:
    feature = torch.randn(2, 12)
    loss, gradients, kept = backward(decoder(), feature)
    new_loss, new_gradients, newly_kept = backward(decoder(activation_checkpointing=True), feature)
    assert torch.equal(new_loss, loss)
    assert all(map(torch.equal, new_gradients, gradients))
    assert newly_kept < 0.1 * kept


def test_backbone_without_recomputation_is_refused() -> None:
    with pytest.raises(InputError, match="no activation checkpointing for 'dla34'"):
        Backbone("dla34", activation_checkpointing=True)
    with pytest.raises(InputError, match="not both"):
        Backbone("resnet10t", activation_checkpointing=True, compile=True)


@pytest.mark.parametrize(("name", "training"), [("resnet10t", False), ("resnet10t", True), (HRNET, True)])
def test_backbone_is_one_graph(name: str, training: bool) -> None:
    backbone = Backbone(name, maps=True).train(training)
    report = torch._dynamo.explain(backbone)(backbone.normalise(images()))
    assert (report.graph_count, report.graph_break_count) == (1, 0), report.break_reasons


def test_decoder_is_one_graph() -> None:
    report = torch._dynamo.explain(decoder())(torch.randn(2, 12))
    assert (report.graph_count, report.graph_break_count) == (1, 0), report.break_reasons


def test_compiled_modules_keep_the_names_of_their_weights() -> None:
    def build(asset: HandAsset, tips: TipConvention, compile: bool) -> AMVURNetwork:
        sizes: dict[str, Any] = {"hidden": (16, 8), "layers": 1, "head_hidden": 16}
        return AMVURNetwork(asset, tips, Backbone("resnet10t", compile=compile), compile=compile, **sizes)

    plain, compiled = (AMVUR(partial(build, compile=each), image_size=SIZE).eval() for each in (False, True))
    assert compiled.network.backbone._compiled_call_impl is not None
    assert compiled.network.decoder._compiled_call_impl is not None
    compiled.load_state_dict(plain.state_dict())


def test_missing_compiler_is_named() -> None:
    with (
        torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(InputError, match=r"needs a C\+\+ compiler"),
    ):
        Backbone("resnet10t", compile=True)


def test_two_accumulated_halves_are_the_whole(tmp_path: Path) -> None:
    def train(batch_size: int, accumulated: int) -> dict[str, Tensor]:
        # without statistics of the batch; SGD shows the gradients as they are
        module = method()
        module.network.backbone.eval()
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=1e-3)  # type: ignore[method-assign]
        run = trainer(tmp_path, max_epochs=1, accumulate_grad_batches=accumulated, enable_checkpointing=False)
        run.fit(module, loader(hand_samples(8), batch_size))
        assert run.global_step == 2
        return module.state_dict()

    whole, halves = train(4, 1), train(2, 2)
    start = method().state_dict()
    moved = max((whole[name] - start[name]).abs().max().item() for name in whole)
    apart = max((whole[name] - halves[name]).abs().max().item() for name in whole)
    assert moved > 1e-2
    # an absolute error's gradient jumps where rounding moves it over 0
    assert apart < 1e-3 * moved


class Watched(pl.Callback):
    """Remembers the weights after each step and those that validation sees."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.steps.append(_copy(pl_module))

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.validated.append(_copy(pl_module))


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def test_moving_average_is_validated_saved_and_resumed(tmp_path: Path) -> None:
    def train(epochs: int, folder: str, resume: Path | None = None) -> tuple[AMVUR, Watched]:
        module, watched = method(learning_rate=1e-2), Watched()
        best = pl.callbacks.ModelCheckpoint(tmp_path / folder, "best", monitor="val/mpjpe_mm", save_last=True)
        run = trainer(
            tmp_path, max_epochs=epochs, callbacks=[best, MovingAverage(0.5), watched], num_sanity_val_steps=0
        )
        run.fit(module, loader(hand_samples(4), 2), loader(hand_samples(2, seed=1), 2), ckpt_path=resume)
        return module, watched

    module, watched = train(1, "first")
    first, second = watched.steps
    for name, value in second.items():
        if value.is_floating_point():
            expected = 0.5 * first[name] + 0.5 * value
            torch.testing.assert_close(watched.validated[0][name], expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(
        watched.validated[0]["network.backbone.model.bn1.running_mean"],
        second["network.backbone.model.bn1.running_mean"],
    )
    best = torch.load(tmp_path / "first/best.ckpt", weights_only=True)
    torch.testing.assert_close(best["state_dict"], watched.validated[0], rtol=0, atol=0)
    torch.testing.assert_close(module.state_dict(), watched.validated[0], rtol=0, atol=0)

    whole, _ = train(2, "whole")
    resumed, _ = train(2, "resumed", tmp_path / "first/last.ckpt")
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert torch.equal(whole.hand._template, method().hand._template)
    assert losses(whole.eval(), hand_batch()).total.isfinite()
