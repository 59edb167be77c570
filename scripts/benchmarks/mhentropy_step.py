"""Time a training step of MHEntropy against its backbone alone and the published way of doing the step.

    python -m scripts.benchmarks.mhentropy_step --backbone resnet50 --batch 8 --threads 2
    python -m scripts.benchmarks.mhentropy_step --device cuda --batch 64 --bf16 --compile

The published way is written down here as its code does it: 10 hypotheses an image for the loss, with the condition
projected for every row, full-width masked couplings, an inverse pass for log q and whole meshes; then, in the same
iteration, the backbone once more and 200 hypotheses with meshes for the measures that it logs; tensors in the default
memory layout and float32; an Adam that updates one tensor after the other. The hand layer is handlit's in both. Both
clip the gradient's norm at 1.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from handlit.distributions.posed_hands import PosedHands
from handlit.distributions.realnvp import ConditionalRealNVP
from handlit.geometry.bone_relative import bone_relative
from handlit.methods.mhentropy import MHEntropy
from handlit.metrics.diversity import mhentropy_measures
from handlit.models.backbones import Backbone
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.types import HandBatch
from scripts.benchmarks.hypotheses import LiteralFlow
from scripts.benchmarks.measure import Figure, parser_of
from scripts.benchmarks.steps import (
    Contest,
    add_step_options,
    loss_of,
    measure,
    peaks,
    plain_adam,
)


class LiteralDraws:
    """The published flow of a batch of features, with the interface that the loss asks for."""

    def __init__(self, flow: LiteralFlow, feature: Tensor) -> None:
        self.flow, self.feature = flow, feature

    def rsample_with_log_prob(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Draws (S, B, 45) and their log-densities (S, B)."""
        rows = (shape[0], len(self.feature))
        condition = self.feature.repeat(shape[0], 1)
        drawn = self.flow.sample(torch.randn(len(condition), 45, device=condition.device), condition)
        return drawn.unflatten(0, rows), self.flow.log_prob(drawn, condition).unflatten(0, rows)


class WholeMeshes(PosedHands):
    """Hands whose joints are never had without their meshes."""

    def joints(self, parameters: tuple[Tensor, ...]) -> Tensor:
        """Joints (..., B, 21, 3); the vertices are built and projected too."""
        fingers, orient, betas = parameters
        vertices, joints = self.hand(
            fingers, betas.expand(*fingers.shape[:-1], -1), orient.expand(*fingers.shape[:-1], -1)
        )
        self.vertices_2d = self.view[:, None, :1] * vertices[..., :2] + self.view[:, None, 1:]
        return joints


def literal_output(method: MHEntropy, flow: LiteralFlow, batch: HandBatch) -> WholeMeshes:
    """The published forward of images."""
    network = method.network
    feature = network.feature(network.backbone(network.normalise(batch.image).contiguous()).pooled)
    orient, betas, log_magnification, offset = network.det_head(feature).split((3, 10, 1, 2), dim=1)
    view = torch.cat([log_magnification.exp(), offset], dim=1)
    draws = LiteralDraws(flow, feature)
    return WholeMeshes(draws, method.hand, orient, betas, view, method.image_size)  # type: ignore[arg-type]


def literal_step(
    method: MHEntropy, flow: LiteralFlow, batch: HandBatch, optimiser: torch.optim.Optimizer, draws: int
) -> dict[str, Tensor]:
    """Loss, backward, update, and the measures of the metric pass."""
    total = method.losses(literal_output(method, flow, batch), batch).total
    assert total is not None
    optimiser.zero_grad(set_to_none=False)
    total.backward()
    torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0, foreach=False)
    optimiser.step()
    with torch.no_grad():
        output = literal_output(method, flow, batch)
        drawn, _ = output.flow.rsample_with_log_prob((draws,))
        joints = output.joints(output.parameters(drawn))
        points = 128 * output.project(joints) + 127.5
        true, length = bone_relative(batch.joints_cam)
        pose, _ = bone_relative(joints.transpose(0, 1))
        return mhentropy_measures(pose, points.transpose(0, 1), true, batch.joints_2d, 1000 * length, batch.visible)


def clipped_step(method: MHEntropy, batch: HandBatch, optimiser: torch.optim.Optimizer, bf16: bool) -> None:
    """handlit's step with the published clipping."""
    optimiser.zero_grad()
    loss_of(method, batch, bf16).backward()
    torch.nn.utils.clip_grad_norm_(method.network.parameters(), 1.0)
    optimiser.step()


def build(args: argparse.Namespace) -> MHEntropy:
    """MHEntropy in training mode."""
    network = MHEntropyNetwork(Backbone(args.backbone))
    return MHEntropy(network, image_size=args.size).to(args.device).train()


def reference_of(args: argparse.Namespace, batch: HandBatch) -> Callable[[], object]:
    """The published way's step."""
    method = build(args)
    method.network.backbone.to(memory_format=torch.contiguous_format)
    assert isinstance(method.network.flow, ConditionalRealNVP)
    flow = LiteralFlow(method.network.flow).to(args.device)
    optimiser = plain_adam(torch.nn.ModuleList([method.network, flow]))
    return partial(literal_step, method, flow, batch, optimiser, args.draws)


def nothing_more(*_: object) -> dict[str, Callable[[], object]]:
    """There are no other steps."""
    return {}


CONTEST = Contest(build, clipped_step, reference_of, nothing_more)


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Time the steps in turns and print medians and ratios."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--draws", type=int, default=200, help="of the published way's metric pass")
    add_step_options(parser, batch=8, size=256)
    args = parser.parse_args(arguments)
    figures = peaks(CONTEST, args)
    for count in args.batch:
        figures += measure(CONTEST, args, count)
    return figures


if __name__ == "__main__":
    main()
