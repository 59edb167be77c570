"""What the benchmarks of training steps share: a batch, a step, and what its times say."""

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from handlit.geometry.cameras import project
from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.amvur import AMVUR
from handlit.methods.method import HandMethod
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandSample, collate
from scripts.benchmarks.measure import (
    Figure,
    Seconds,
    alone,
    in_turns,
    matrix_rate,
    medians,
    peak_memory_mb,
    prepare,
    ratio,
)

#: Sizes of the decoder in configs/model/amvur_small.yaml.
SMALL = {
    "hidden": (64, 32, 16),
    "layers": 1,
    "heads": 2,
    "feedforward_ratio": 2,
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "head_hidden": 256,
}
BACKBONE_ALONE = "backbone alone"
REFERENCE = "reference's way"
#: handlit's steps: (bf16, compiled).
VARIANTS = {
    "handlit": (False, False),
    "handlit, bf16": (True, False),
    "handlit, compiled": (False, True),
    "handlit, compiled, bf16": (True, True),
}


def add_step_options(parser: argparse.ArgumentParser, batch: int, size: int) -> None:
    """Sizes of the step, and its variants."""
    parser.add_argument("--batch", type=int, nargs="+", default=[batch])
    parser.add_argument("--size", type=int, default=size, help="pixels")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="also under bfloat16 autocast")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    parser.add_argument("--matrix", type=int, default=2048, help="side of the matrices that the device's rate is of")


def make_batch(count: int, size: int, device: torch.device) -> HandBatch:
    """Posed hands with all 3D and 2D labels, before noise."""
    generator = torch.Generator().manual_seed(0)
    pose, betas, orient = (torch.randn(count, n, generator=generator) for n in (45, 10, 3))
    with torch.no_grad():
        mesh = HandLayer(load_hand())(0.2 * pose, betas, orient)
    root = torch.tensor([0.0, 0.0, 0.6]) - mesh.vertices.mean(1) + mesh.joints[:, 0]
    shift = (root - mesh.joints[:, 0])[:, None]
    focal = size * 0.6 / 0.24
    intrinsics = torch.tensor([[focal, 0, (size - 1) / 2], [0, focal, (size - 1) / 2], [0, 0, 1]])
    return collate(
        [
            HandSample(
                key=f"{i}",
                index=i,
                image=torch.randint(0, 256, (3, size, size), dtype=torch.uint8, generator=generator),
                intrinsics=intrinsics,
                crop_transform=torch.eye(2, 3),
                root_cam=root[i],
                joints_cam=(mesh.joints + shift)[i],
                vertices_cam=(mesh.vertices + shift)[i],
                joints_2d=project((mesh.joints + shift)[i], intrinsics),
                visible=torch.ones(21, dtype=torch.bool),
            )
            for i in range(count)
        ]
    ).to(device)


def amvur(backbone: str, size: int, full: bool) -> AMVUR:
    """AMVUR without texture, with the paper's decoder or with amvur_small.yaml's."""

    def network(asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
        sizes: dict[str, Any] = {} if full else SMALL
        return AMVURNetwork(asset, tips, Backbone(backbone), **sizes)

    return AMVUR(network, image_size=size)


def adam(part: nn.Module) -> torch.optim.Optimizer:
    """handlit's optimiser."""
    return torch.optim.Adam(part.parameters(), lr=1e-6, fused=True)


def plain_adam(part: nn.Module) -> torch.optim.Optimizer:
    """Adam that updates one tensor after the other, as PyTorch did when the papers' code was written."""
    return torch.optim.Adam(part.parameters(), lr=1e-6, foreach=False)


def loss_of(method: HandMethod[Any], batch: HandBatch, bf16: bool) -> Tensor:
    """Total loss of a batch."""
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bf16):
        total = method.losses(method.infer(method.observe(batch)), batch).total
    assert total is not None
    return total


def training_step(method: HandMethod[Any], batch: HandBatch, optimiser: torch.optim.Optimizer, bf16: bool) -> None:
    """Forward, losses, backward, update."""
    optimiser.zero_grad()
    loss_of(method, batch, bf16).backward()
    optimiser.step()


def backbone_step(backbone: Backbone, image: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Forward, backward and update of the backbone alone."""
    optimiser.zero_grad()
    backbone(backbone.normalise(image)).pooled.sum().backward()
    optimiser.step()


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of matrix products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


@dataclass(frozen=True)
class Contest:
    """A method's step and the published way of doing it; functions of a module, so that any process can be given them.

    Attributes:
        build: The method on its device, in training mode.
        step: handlit's step: method, batch, optimiser, under bfloat16 or not.
        reference: The published way's step for a batch.
        more: Further steps of a method to be timed.
    """

    build: Callable[[argparse.Namespace], Any]
    step: Callable[[Any, HandBatch, torch.optim.Optimizer, bool], None]
    reference: Callable[[argparse.Namespace, HandBatch], Callable[[], object]]
    more: Callable[[Any, HandBatch, torch.optim.Optimizer], dict[str, Callable[[], object]]]


def _peak(contest: Contest, name: str, args: argparse.Namespace, count: int) -> float | None:
    """Megabytes of two steps; None if the GPU's do not suffice."""
    device = prepare(args)
    batch = make_batch(count, args.size, device)
    try:
        if name == REFERENCE:
            step = contest.reference(args, batch)
        else:
            method = contest.build(args)
            step = partial(contest.step, method, batch, adam(method.network), VARIANTS[name][0])
        for _ in range(2):
            step()
    except torch.cuda.OutOfMemoryError:
        return None
    return peak_memory_mb(device)


def peaks(contest: Contest, args: argparse.Namespace) -> list[Figure]:
    """Peak memory of each way, in processes of their own; to be called before anything is computed here."""
    figures = []
    for count in args.batch:
        for name in (REFERENCE, *(name for name in _variants(args) if "compiled" not in name)):
            megabytes = alone(_peak, contest, name, args, count)
            print(f"{name}, batch {count}: peak memory {megabytes or float('nan'):.0f} MB", flush=True)
            if megabytes is not None:
                figures.append(Figure(f"{name}, batch {count}, peak memory", megabytes, "MB"))
    return figures


def measure(contest: Contest, args: argparse.Namespace, count: int) -> list[Figure]:
    """Times of the steps of one batch size, which take turns."""
    device = prepare(args)
    batch = make_batch(count, args.size, device)
    plain = contest.build(args)
    optimiser, backbone = adam(plain.network), plain.network.backbone
    compiled = plain
    if args.compile:
        compiled = copy.deepcopy(plain)
        compiled.network.compile()
    compiled_optimiser = adam(compiled.network)
    steps: dict[str, Callable[[], object]] = {
        BACKBONE_ALONE: partial(backbone_step, backbone, batch.image, adam(backbone)),
        REFERENCE: contest.reference(args, batch),
        **contest.more(plain, batch, optimiser),
    }
    for name, (bf16, is_compiled) in _variants(args).items():
        method, own = (compiled, compiled_optimiser) if is_compiled else (plain, optimiser)
        steps[name] = partial(contest.step, method, batch, own, bf16)
    operations = flops(steps["handlit"])
    print(f"{args.backbone}, batch {count}, {args.size} px, {args.device}, {args.threads} threads", flush=True)
    for name, step in list(steps.items()):
        try:
            step()  # compiles, and tries the memory
        except torch.cuda.OutOfMemoryError:
            print(f"  {name}: out of memory")
            del steps[name]
            torch.cuda.empty_cache()
    seconds = in_turns(steps, args.steps, device, warm_up=0)
    return report(seconds, count, operations, args.matrix, device)


def _variants(args: argparse.Namespace) -> dict[str, tuple[bool, bool]]:
    """Those of `VARIANTS` that were asked for."""
    return {
        name: (bf16, compiled)
        for name, (bf16, compiled) in VARIANTS.items()
        if (args.bf16 or not bf16) and (args.compile or not compiled)
    }


def report(seconds: Seconds, images: int, operations: int, matrix: int, device: torch.device) -> list[Figure]:
    """Figures of the steps, printed.

    Args:
        seconds: Of each step in each round.
        images: In a batch.
        operations: Of a step of handlit's, forward and backward.
        matrix: Side of the matrices whose products give the device's rate, in the step's precision.
        device: Where.
    """
    figures = []
    rates = {"float32": matrix_rate(device, torch.float32, matrix)}
    if any("bf16" in name for name in seconds):
        rates["bfloat16"] = matrix_rate(device, torch.bfloat16, matrix)
    for precision, rate in rates.items():
        print(f"matrix products of {matrix}, {precision}: {rate / 1e12:.3f} TFLOP/s")
        figures.append(Figure(f"matrix products of {matrix}, {precision}", rate / 1e12, "TFLOP/s"))
    print(f"a step of {images} images: {operations / 1e12:.3f} TFLOP")
    for name, median in medians(seconds).items():
        figures.append(Figure(f"{name}, batch {images}, a step", 1000 * median, "ms"))
        figures.append(Figure(f"{name}, batch {images}", images / median, "images/s"))
        line = f"  {name:26s} {1000 * median:9.1f} ms {images / median:9.1f} images/s"
        if BACKBONE_ALONE in seconds and name != BACKBONE_ALONE:
            slower = ratio(seconds, name, BACKBONE_ALONE)
            figures.append(Figure(f"{name}, batch {images}, by the backbone's step", slower, "x"))
            line += f"   {slower:5.2f} backbone steps"
        if name in VARIANTS:
            faster = ratio(seconds, REFERENCE, name) if REFERENCE in seconds else None
            rate = rates["bfloat16" if "bf16" in name else "float32"]
            used = 100 * operations / (median * rate)
            figures.append(Figure(f"{name}, batch {images}, of the matrix rate", used, "%"))
            line += f"   {used:3.0f} % of the matrix rate"
            if faster is not None:
                figures.append(Figure(f"{name}, batch {images}, times the reference's speed", faster, "x"))
                line += f"   {faster:5.2f} times the reference's way"
        print(line)
    return figures
