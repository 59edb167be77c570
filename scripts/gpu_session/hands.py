"""Lift and PixelLift, the hand layer, the rasteriser and rendering while training."""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import torch
from jsonargparse import ArgumentParser

from handlit.cli.configs import config_folder
from handlit.data.joints import SyntheticJoints
from handlit.data.online import OnlineHands
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.lift import Lift
from handlit.methods.method import HandMethod
from handlit.methods.pixel_lift import PixelLift
from handlit.render import TorchRasterizer, interpolate
from handlit.types import HandBatch
from handlit.yaml_files import load_yaml
from scripts.benchmarks.measure import Figure, in_turns, medians, now, peak_memory_mb
from scripts.benchmarks.rasterizer import DISTANCE_M, HAND_M, camera, posed_hands
from scripts.benchmarks.steps import adam, training_step
from scripts.gpu_session.piece import Emit, Setting

HYPOTHESES = 200
MethodT = TypeVar("MethodT", bound=HandMethod[Any])


def lift(setting: Setting, emit: Emit) -> None:
    """A training step of hands without images, hypotheses of half as many, and the making of a batch on the CPU."""
    device, count = setting.device, setting.batch
    images, draws = max(count // 2, 1), 3 if setting.smoke else HYPOTHESES
    method = _configured(Lift, "lift").to(device).train()
    data, numbers = SyntheticJoints(val_samples=1, test_samples=1), torch.arange(count)
    data.setup("fit")

    def make(hands: int) -> HandBatch:
        return data.on_after_batch_transfer(torch.stack([numbers, numbers], 1)[:hands], 0)

    batch, optimiser = make(count).to(device), adam(method)
    observed = method.observe(make(images).to(device))

    @torch.no_grad()
    def draw() -> None:
        method.infer(observed).hypotheses(draws)

    _report(
        {f"training step of {count} hands": (partial(training_step, method, batch, optimiser, False), count)},
        setting,
        emit,
    )
    method.eval()
    _report({f"{draws} hypotheses of {images} hands": (draw, images)}, setting, emit)
    _report({f"making {count} hands on the CPU": (lambda: make(count), count)}, setting, emit)


def pixel_lift(setting: Setting, emit: Emit) -> None:
    """A training step from pixels, alone and under bfloat16, and hypotheses of as many images, backbone included."""
    device, count = setting.device, setting.batch
    size, draws = (64, 3) if setting.smoke else (224, HYPOTHESES)
    method = _configured(PixelLift, "pixel_lift_small", image_size=size).to(device).train()
    data = OnlineHands(batch_size=count, num_workers=0, image_size=size, epoch_samples=count, val_samples=1)
    data.setup("fit")
    scenes = data.transfer_batch_to_device(next(iter(data.train_dataloader())), device, 0)
    batch, optimiser = data.on_after_batch_transfer(scenes, 0), adam(method.network)

    @torch.no_grad()
    def draw() -> None:
        method.infer(method.observe(batch)).hands.hypotheses(draws)

    for name, bf16 in (("training step", False), ("training step, bf16", True)):
        step = partial(training_step, method, batch, optimiser, bf16)
        _report({f"{name}, {size} px, batch {count}": (step, count)}, setting, emit)
    method.eval()
    _report({f"{draws} hypotheses of {count} images": (draw, count)}, setting, emit)


def hand_layer(setting: Setting, emit: Emit) -> None:
    """Meshes and joints of very many hands at once."""
    layer, count = HandLayer(load_hand()).to(setting.device), setting.batch
    generator = torch.Generator().manual_seed(0)
    inputs = [(0.5 * torch.randn(count, size, generator=generator)).to(setting.device) for size in (45, 10, 3)]
    with torch.no_grad():
        ways = {"joints": lambda: layer.joints_only(*inputs), "meshes": lambda: layer(*inputs)}
        _report({f"{name} of {count} hands": (work, count) for name, work in ways.items()}, setting, emit)


def rasteriser(setting: Setting, emit: Emit) -> None:
    """Hands in images of 640x480: forward, and backward to colours and vertices."""
    device, count = setting.device, setting.batch
    size = (48, 64) if setting.smoke else (480, 640)
    asset, rasterise = load_hand(), TorchRasterizer()
    faces = torch.from_numpy(asset.faces).to(device)
    vertices = posed_hands(count, HandLayer(asset).to(device), device).requires_grad_()
    colours = torch.rand_like(vertices).requires_grad_()
    intrinsics = camera(0.9 * size[0] * DISTANCE_M / HAND_M, size, count, device)

    def both() -> None:
        interpolate(rasterise(vertices, faces, intrinsics, size), faces, colours).square().sum().backward()

    ways = {
        "rasterise": torch.no_grad()(lambda: rasterise(vertices, faces, intrinsics, size)),
        "rasterise, interpolate, backward to colours and vertices": both,
    }
    what = f"{count} hands, {size[1]}x{size[0]}"
    _report({f"{name}, {what}": (work, count) for name, work in ways.items()}, setting, emit)


def online(setting: Setting, emit: Emit) -> None:
    """Rendering while training: the device alone, and fed by the loader's processes."""
    device, count = setting.device, setting.batch
    workers, batches = (0, 1) if setting.smoke else (8, 40)
    size = 64 if setting.smoke else 224
    # what processes have made before the clock starts does not count
    ahead = 1 + 2 * workers
    samples = count * (1 + ahead + batches)
    data = OnlineHands(batch_size=count, num_workers=workers, image_size=size, epoch_samples=samples, val_samples=1)
    data.setup("fit")

    def render(scenes: Any) -> HandBatch:
        return data.on_after_batch_transfer(data.transfer_batch_to_device(scenes, device, 0), 0)

    loader = iter(data.train_dataloader())
    scenes = data.transfer_batch_to_device(next(loader), device, 0)
    _report({f"render, {size} px, batch {count}": (lambda: render(scenes), count)}, setting, emit)
    for ready in islice(loader, ahead):
        render(ready)
    start = now(device)
    for fetched in islice(loader, batches):
        render(fetched)
    emit(Figure(f"render, fed by {workers} processes", batches * count / (now(device) - start), "images/s"))


def _configured(kind: type[MethodT], name: str, **settings: object) -> MethodT:
    """The method of ``configs/model/NAME.yaml``, untrained, with these settings."""
    model = load_yaml(config_folder() / "model" / f"{name}.yaml")
    model["init_args"] |= settings
    parser = ArgumentParser()
    parser.add_subclass_arguments(kind, "model")
    method: MethodT = parser.instantiate_classes(parser.parse_object({"model": model})).model
    return method


def _report(works: dict[str, tuple[Callable[[], object], int]], setting: Setting, emit: Emit) -> None:
    """Median times of pieces of work and what they do in a second, and their memory."""
    device = setting.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rounds, warm_up = (1, 0) if setting.smoke else (10, 2)
    seconds = in_turns({name: work for name, (work, _) in works.items()}, rounds, device, warm_up)
    for name, median in medians(seconds).items():
        emit(Figure(name, 1000 * median, "ms"))
        emit(Figure(f"{name}, a second", works[name][1] / median, "per s"))
    emit(Figure(f"{', '.join(works)}, peak memory", peak_memory_mb(device), "MB"))
