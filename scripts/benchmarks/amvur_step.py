"""Time a training step of AMVUR by part, against a step of its backbone alone.

    python -m scripts.benchmarks.amvur_step --backbone hrnet_w64 --batch 4 --threads 2

Machines drift: the contestants take turns, and what counts is the ratio of their medians. With ``--bf16`` and
``--compile`` the same step is also timed under bfloat16 autocast and compiled, and its answers are compared with the
plain ones.
"""

import argparse
import copy
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor

from handlit.geometry.cameras import project
from handlit.hand.asset import HandAsset, load_hand
from handlit.hand.layer import HandLayer
from handlit.methods.amvur import AMVUR
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.texture import TextureDecoder
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandSample, collate

PHOTOMETRIC = 1e-3
Seconds = dict[str, list[float]]


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
            )
            for i in range(count)
        ]
    ).to(device)


class Clock:
    """Seconds since the last look, with the device's work done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.last = self.now()

    def now(self) -> float:
        """The time when all that was asked for is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self.last = self.last, self.now()
        return self.last - before


@contextmanager
def timed_parts(method: AMVUR, clock: Clock, seconds: Seconds) -> Iterator[None]:
    """Note how long each part of the forward takes."""
    parts = {
        "backbone": method.network.backbone,
        "decoder": method.network.decoder,
        "prior": method.network.prior_net,
        "camera": method.network.camera_head,
        "losses": method.supervision,
    }
    handles = []
    for name, part in parts.items():
        handles.append(part.register_forward_pre_hook(lambda *_: (clock.lap(), None)[1]))
        handles.append(part.register_forward_hook(lambda *_, name=name: seconds[name].append(clock.lap())))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def whole_step(
    method: AMVUR, batch: HandBatch, optimiser: torch.optim.Optimizer, bf16: bool, clock: Clock, seconds: Seconds
) -> None:
    """Forward, losses, backward, update; notes what is not inside the network."""
    optimiser.zero_grad()
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bf16):
        output = method.infer(batch.image)
        clock.lap()
        total = method.losses(output, batch).total
    seconds["after the supervision"].append(clock.lap())
    assert total is not None
    total.backward()
    seconds["backward"].append(clock.lap())
    optimiser.step()
    seconds["optimiser"].append(clock.lap())


def backbone_step(backbone: Backbone, image: Tensor, optimiser: torch.optim.Optimizer) -> None:
    """Forward, backward and update of the backbone alone."""
    optimiser.zero_grad()
    backbone(backbone.normalise(image)).pooled.sum().backward()
    optimiser.step()


@torch.no_grad()
def answers(method: AMVUR, batch: HandBatch, bf16: bool) -> tuple[Tensor, Tensor]:
    """Mean mesh and total loss, without dropout."""
    method.eval()
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=bf16):
        output = method.infer(batch.image)
        total = method.losses(output, batch).total
    method.train()
    assert total is not None
    return output.posterior.mean.float(), total.float()


def main() -> None:
    """Time the steps in turns and print medians, ratios and differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="hrnet_w64")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--bf16", action="store_true", help="also under bfloat16 autocast")
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    device: torch.device = args.device
    batch = make_batch(args.batch, args.size, device)
    build = partial(_network, args.backbone)
    plain = AMVUR(build, image_size=args.size, photometric=PHOTOMETRIC).to(device).train()
    clock = Clock(device)
    seconds: Seconds = defaultdict(list)
    unused: Seconds = defaultdict(list)
    optimiser = _adam(plain.network)
    backbone_optimiser = _adam(plain.network.backbone)

    def without_texture() -> None:
        plain.photometric = 0.0
        whole_step(plain, batch, optimiser, False, clock, unused)
        plain.photometric = PHOTOMETRIC

    def by_part() -> None:
        with timed_parts(plain, clock, seconds):
            whole_step(plain, batch, optimiser, False, clock, seconds)

    contestants: dict[str, Callable[[], None]] = {
        "backbone alone": lambda: backbone_step(plain.network.backbone, batch.image, backbone_optimiser),
        "whole step, no texture": without_texture,
        "whole step": by_part,
    }
    variants: dict[str, tuple[AMVUR, bool]] = {}
    if args.bf16:
        variants["bf16"] = plain, True
    if args.compile:
        compiled = copy.deepcopy(plain)
        compiled.network.compile()
        variants["compiled"] = compiled, False
        if args.bf16:
            variants["compiled, bf16"] = compiled, True
    expected, expected_loss = answers(plain, batch, False)
    for name, (method, bf16) in variants.items():
        mesh, loss = answers(method, batch, bf16)
        apart, relative = (mesh - expected).norm(dim=-1) * 1000, (loss / expected_loss - 1).abs()
        print(
            f"{name}: vertices {apart.mean():.4f} mm apart on average, {apart.max():.4f} at most; loss {relative:.1e}"
        )
        own = optimiser if method is plain else _adam(method.network)
        contestants[name] = partial(whole_step, method, batch, own, bf16, clock, unused)

    for step in range(args.steps + 1):
        for name, run in contestants.items():
            start = clock.now()
            run()
            seconds[name].append(clock.now() - start)
            print(f"round {step}: {name} {seconds[name][-1]:.2f} s", flush=True)
        if step == 0:  # the first round warms up and compiles
            seconds.clear()
    _report(args, seconds, list(contestants))


def _report(args: argparse.Namespace, seconds: Seconds, contestants: list[str]) -> None:
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    medians["texture"] = medians.pop("after the supervision")
    print(f"{args.backbone}, batch {args.batch}, {args.size} px, {args.device}, {args.threads} threads, float32")
    print("parts of the whole step")
    for name in ("backbone", "decoder", "prior", "camera", "losses", "texture", "backward", "optimiser"):
        print(f"  {name:24s} {1000 * medians[name]:9.1f} ms")
    print("steps, and their ratio to the backbone's")
    for name in contestants:
        ratios = [a / b for a, b in zip(seconds[name], seconds["backbone alone"], strict=True)]
        print(f"  {name:24s} {1000 * medians[name]:9.1f} ms   {statistics.median(ratios):5.2f}")


def _network(backbone: str, asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
    return AMVURNetwork(asset, tips, Backbone(backbone, maps=True), texture=TextureDecoder)


def _adam(part: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(part.parameters(), lr=1e-6, fused=True)


if __name__ == "__main__":
    main()
