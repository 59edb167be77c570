"""Time a training step of AMVUR and its parts, against its backbone alone and the published way of doing the step.

    python -m scripts.benchmarks.amvur_step --backbone hrnet_w64 --batch 4 --threads 2
    python -m scripts.benchmarks.amvur_step --device cuda --batch 16 32 64 128 --bf16 --compile

With ``--bf16`` and ``--compile`` the same step is also timed under bfloat16 autocast and compiled. The published way is
described in `reference_amvur`. Peak memory is that of a process of its own for each contestant.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import torch

from handlit.hand.asset import HandAsset
from handlit.methods.amvur import AMVUR
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.texture import TextureDecoder
from handlit.skeleton import TipConvention
from handlit.types import HandBatch
from scripts.benchmarks.measure import (
    Figure,
    Seconds,
    medians,
    now,
    parser_of,
    prepare,
)
from scripts.benchmarks.reference_amvur import literal_step, make_literal
from scripts.benchmarks.steps import (
    Contest,
    adam,
    add_step_options,
    loss_of,
    make_batch,
    measure,
    peaks,
    plain_adam,
    training_step,
)

PHOTOMETRIC = 1e-3


def build(args: argparse.Namespace) -> AMVUR:
    """AMVUR with a texture branch, the published one unless ``args.texture`` holds other sizes, in training mode."""

    def network(asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
        backbone = Backbone(args.backbone, maps=True)
        texture = partial(TextureDecoder, **vars(args).get("texture", {}))
        return AMVURNetwork(asset, tips, backbone, hidden=args.hidden, texture=texture)

    return AMVUR(network, image_size=args.size, photometric=PHOTOMETRIC).to(args.device).train()


def reference_of(args: argparse.Namespace, batch: HandBatch) -> Callable[[], object]:
    """The published way's step."""
    literal = make_literal(build(args), args.hidden).to(args.device)
    return partial(literal_step, literal, batch, plain_adam(literal.network))


@contextmanager
def timed_parts(method: AMVUR, device: torch.device, seconds: Seconds) -> Iterator[None]:
    """Note how long each part of the forward takes."""
    parts = {
        "backbone": method.network.backbone,
        "decoder": method.network.decoder,
        "prior": method.network.prior_net,
        "camera": method.network.camera_head,
        "losses": method.supervision,
        "texture": method.network.texture,
    }
    started, handles = {}, []

    def start(name: str, *_: object) -> None:
        started[name] = now(device)

    def stop(name: str, *_: object) -> None:
        seconds.setdefault(name, []).append(now(device) - started[name])

    for name, part in parts.items():
        assert part is not None
        handles.append(part.register_forward_pre_hook(partial(start, name)))
        handles.append(part.register_forward_hook(partial(stop, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def step_by_part(
    method: AMVUR, batch: HandBatch, optimiser: torch.optim.Optimizer, device: torch.device, seconds: Seconds
) -> None:
    """A step whose parts are timed; on a GPU it waits after each, so that the parts add up to more than the step."""
    optimiser.zero_grad()
    times = [now(device)]
    with timed_parts(method, device, seconds):
        total = loss_of(method, batch, bf16=False)
    times.append(now(device))
    total.backward()
    times.append(now(device))
    optimiser.step()
    times.append(now(device))
    for name, (before, after) in zip(("whole forward", "backward", "optimiser"), pairwise(times), strict=True):
        seconds.setdefault(name, []).append(after - before)


def without_texture(
    method: AMVUR, batch: HandBatch, optimiser: torch.optim.Optimizer
) -> dict[str, Callable[[], object]]:
    """handlit's step without the photometric loss."""

    def step() -> None:
        method.photometric = 0.0
        training_step(method, batch, optimiser, False)
        method.photometric = PHOTOMETRIC

    return {"handlit, no texture": step}


CONTEST = Contest(build, training_step, reference_of, without_texture)


def parts(args: argparse.Namespace, count: int) -> list[Figure]:
    """Times of the parts of handlit's step."""
    device = prepare(args)
    method, batch, seconds = build(args), make_batch(count, args.size, device), Seconds()
    optimiser = adam(method.network)
    for number in range(args.steps + 1):
        step_by_part(method, batch, optimiser, device, seconds)
        if number == 0:  # the first one warms up
            seconds.clear()
    figures = []
    for name, median in medians(seconds).items():
        print(f"    {name:24s} {1000 * median:9.1f} ms")
        figures.append(Figure(f"handlit, batch {count}, {name}", 1000 * median, "ms"))
    return figures


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Time the steps in turns and print medians and ratios."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbone", default="hrnet_w64")
    parser.add_argument("--hidden", type=int, nargs="+", default=[1024, 256, 64], help="widths of the decoder's blocks")
    add_step_options(parser, batch=4, size=224)
    args = parser.parse_args(arguments)
    figures = peaks(CONTEST, args)
    for count in args.batch:
        figures += [*measure(CONTEST, args, count), *parts(args, count)]
    return figures


if __name__ == "__main__":
    main()
