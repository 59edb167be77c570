"""Time answers and hypotheses for images, from uint8 pixels to joints: both methods, by batch and by hypotheses.

    python -m scripts.benchmarks.inference --threads 2
    python -m scripts.benchmarks.inference --device cuda --bf16

A hypothesis is joints in 3D and 2D with its log-density; no meshes. Weights are random: they do not change the cost.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from handlit.methods.amvur import AMVUR
from handlit.methods.deterministic import Deterministic
from handlit.methods.method import HandMethod
from handlit.methods.mhentropy import MHEntropy
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.mhentropy import MHEntropyNetwork
from scripts.benchmarks.measure import Figure, alone, in_turns, medians, parser_of, peak_memory_mb, prepare


def build(name: str, args: argparse.Namespace) -> HandMethod[Any]:
    """A method for evaluation."""
    method: HandMethod[Any]
    if name in ("AMVUR", "Deterministic"):
        kind = AMVUR if name == "AMVUR" else Deterministic
        method = kind(lambda asset, tips: AMVURNetwork(asset, tips, Backbone(args.amvur)), image_size=args.size or 224)
    else:
        method = MHEntropy(MHEntropyNetwork(Backbone(args.mhentropy)), image_size=args.size or 256)
    return method.to(args.device).eval()


@torch.inference_mode()
def draw(method: HandMethod[Any], images: Tensor, hypotheses: int, bf16: bool) -> Tensor:
    """Joints (B, S, 21, 3) of hypotheses."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        output = method.infer(images)
        distribution = output if isinstance(method, MHEntropy) else method.predict(output).distribution
        return distribution.hypotheses(hypotheses).joints_root


@torch.inference_mode()
def answer(method: HandMethod[Any], images: Tensor, bf16: bool) -> Tensor:
    """Joints (B, 21, 3) of the point estimate, with its scales."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        return method(images).joints_root


def images_of(method: HandMethod[Any], count: int, device: torch.device) -> Tensor:
    """Random pixels."""
    return torch.randint(0, 256, (count, 3, method.image_size, method.image_size), dtype=torch.uint8, device=device)


def peak(name: str, args: argparse.Namespace) -> float:
    """Megabytes of the largest batch with 200 hypotheses, or with the most that are timed."""
    device = prepare(args)
    method = build(name, args)
    draw(method, images_of(method, max(args.batches), device), min(200, max(args.hypotheses)), args.bf16)
    return peak_memory_mb(device)


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Time and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--amvur", default="hrnet_w64", help="AMVUR's backbone")
    parser.add_argument("--mhentropy", default="resnet50", help="MHEntropy's backbone")
    parser.add_argument("--size", type=int, default=0, help="pixels; each method's own by default")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--hypotheses", type=int, nargs="+", default=[1, 10, 100, 200, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    args = parser.parse_args(arguments)
    names = ("AMVUR", "MHEntropy")
    figures = [
        Figure(f"{name}, batch {max(args.batches)}, peak memory", alone(peak, name, args), "MB") for name in names
    ]
    device = prepare(args)
    for name in names:
        method = build(name, args)
        contestants: dict[str, Callable[[], object]] = {}
        for count in args.batches:
            images = images_of(method, count, device)
            contestants[f"{name}, batch {count}, point estimate"] = partial(answer, method, images, args.bf16)
            # every number of hypotheses for the smallest batch, the usual two for the others
            wanted = args.hypotheses if count == min(args.batches) else {1, 200} & set(args.hypotheses)
            for hypotheses in sorted(wanted):
                work = partial(draw, method, images, hypotheses, args.bf16)
                contestants[f"{name}, batch {count}, hypotheses {hypotheses}"] = work
        for label, seconds in medians(in_turns(contestants, args.repeats, device)).items():
            print(f"{label:40s} {1000 * seconds:10.1f} ms", flush=True)
            figures.append(Figure(label, 1000 * seconds, "ms"))
    return figures


if __name__ == "__main__":
    main()
