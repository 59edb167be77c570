"""Time 200 hypotheses of 64 images, joints and metrics included, against the published way of drawing them.

    python -m scripts.benchmarks.hypotheses --threads 1

The published way is written down here as the MHEntropy code does it: the condition is projected again for every row,
the couplings' layers have their full width and are masked, log q takes a second, inverse pass, and vertices, their
projections and a face list for every hand are always computed. Both have the same weights, which is checked. Peak
memory is that of a process of its own for each contestant (resident set), or of the CUDA allocator.
"""

import statistics
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handlit.distributions.flow import ConditionedMLP
from handlit.distributions.posed_hands import PosedHands
from handlit.distributions.realnvp import AffineCoupling, ConditionalRealNVP
from handlit.geometry.bone_relative import bone_relative
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.metrics.diversity import mhentropy_measures
from scripts.benchmarks.measure import Figure, alone, in_turns, parser_of, peak_memory_mb, prepare

_DIMENSIONS, _CONDITION = 45, 512


class LiteralNet(nn.Module):
    """A network of one coupling at full width, which projects the condition of every row."""

    def __init__(self, source: ConditionedMLP, reads: slice, writes: slice) -> None:
        super().__init__()
        first, self.inner = source.layers
        assert isinstance(first, nn.Linear)
        self.read = nn.Linear(_DIMENSIONS, first.out_features)
        self.write = nn.Linear(first.out_features, _DIMENSIONS)
        self.conditions = source.conditions
        with torch.no_grad():
            # what the mask hides may be any number
            self.read.weight[:, reads] = first.weight
            self.read.bias.copy_(first.bias)
            self.write.weight[writes] = source.out.weight
            self.write.bias[writes] = source.out.bias

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(R, 45) and (R, 512) to (R, 45)."""
        h = self.read(x) + self.conditions[0](condition)
        h = self.inner(F.leaky_relu(h, 0.01)) + self.conditions[1](condition)
        return self.write(F.leaky_relu(h, 0.01))


class LiteralFlow(nn.Module):
    """The published RealNVP with the weights of ours."""

    mask: Tensor

    def __init__(self, flow: ConditionalRealNVP) -> None:
        super().__init__()
        self.log_scale, self.shift = nn.ModuleList(), nn.ModuleList()
        masks = []
        for coupling in flow.couplings:
            assert isinstance(coupling, AffineCoupling)
            first, second = slice(0, coupling.split), slice(coupling.split, _DIMENSIONS)
            reads, writes = (first, second) if coupling.freeze_first else (second, first)
            self.log_scale.append(LiteralNet(coupling.log_scale, reads, writes))
            self.shift.append(LiteralNet(coupling.shift, reads, writes))
            mask = torch.zeros(_DIMENSIONS)
            mask[reads] = 1
            masks.append(mask)
        self.register_buffer("mask", torch.stack(masks))

    def sample(self, noise: Tensor, condition: Tensor) -> Tensor:
        """From the base (R, 45) to poses (R, 45)."""
        x = noise
        for number, mask in enumerate(self.mask):
            kept = mask * x
            log_scale = self.log_scale[number](kept, condition).tanh() * (1 - mask)
            shift = self.shift[number](kept, condition) * (1 - mask)
            x = kept + (1 - mask) * (x * log_scale.exp() + shift)
        return x

    def log_prob(self, x: Tensor, condition: Tensor) -> Tensor:
        """Log-densities (R,) of poses (R, 45), by the inverse."""
        total = x.new_zeros(len(x))
        for number in reversed(range(len(self.mask))):
            mask = self.mask[number]
            kept = mask * x
            log_scale = self.log_scale[number](kept, condition).tanh() * (1 - mask)
            shift = self.shift[number](kept, condition) * (1 - mask)
            x = kept + (1 - mask) * (x - shift) * (-log_scale).exp()
            total = total - log_scale.sum(-1)
        base = torch.distributions.MultivariateNormal(
            torch.zeros(_DIMENSIONS, device=x.device), torch.eye(_DIMENSIONS, device=x.device)
        )
        return base.log_prob(x) + total


class Contest:
    """Both ways to hypotheses, from the same image features.

    Args:
        images: B.
        draws: S.
        device: Where.
    """

    def __init__(self, images: int, draws: int, device: torch.device) -> None:
        torch.manual_seed(0)
        self.images, self.draws, self.device = images, draws, device
        self.flow = ConditionalRealNVP(_DIMENSIONS, _CONDITION).to(device)
        self.literal_flow = LiteralFlow(self.flow).to(device)
        self.hand = HandLayer(load_hand(None), pose_space="pca", flat_hand_mean=False).to(device)
        self.feature = torch.randn(images, _CONDITION, device=device)
        self.orient = 0.5 * torch.randn(images, 3, device=device)
        self.betas = 0.02 * torch.randn(images, 10, device=device)
        self.view = torch.tensor([0.2, 0.0, 0.0], device=device).expand(images, 3)
        true = self.hand.joints_only(torch.zeros(images, 45, device=device), self.betas, self.orient)
        self.true_pose, self.length = bone_relative(true)
        self.true_2d = 128 * self.true_pose[..., :2] * 0.2 + 127.5
        self.visible = (torch.arange(21, device=device) % 3 > 0).expand(images, 21)

    def _measure(self, joints: Tensor, points_2d: Tensor) -> dict[str, Tensor]:
        """The published measures of (B, S, 21, 3) joints and (B, S, 21, 2) pixels."""
        pose, _ = bone_relative(joints)
        return mhentropy_measures(pose, points_2d, self.true_pose, self.true_2d, 1000 * self.length, self.visible)

    def ours(self) -> dict[str, Callable[[], object]]:
        """Parts of our way, each on what the one before it left."""
        kept: dict[str, Tensor] = {}

        def flow() -> None:
            distribution = self.flow(self.feature)
            self.hands = PosedHands(distribution, self.hand, self.orient, self.betas, self.view, 256)
            kept["drawn"], kept["log_q"] = distribution.rsample_with_log_prob((self.draws,))

        def hand() -> None:
            joints = self.hands.joints(self.hands.parameters(kept["drawn"]))
            points_2d = 128 * self.hands.project(joints) + 127.5
            kept["joints"], kept["points_2d"] = joints.transpose(0, 1), points_2d.transpose(0, 1)

        def measures() -> dict[str, Tensor]:
            return self._measure(kept["joints"], kept["points_2d"])

        return {"flow with log q": flow, "hand layer": hand, "metrics": measures}

    def literal(self) -> dict[str, Callable[[], object]]:
        """Parts of the published way."""
        kept: dict[str, Tensor] = {}
        rows = self.draws * self.images

        def flow() -> None:
            condition = self.feature.repeat(self.draws, 1)
            kept["drawn"] = self.literal_flow.sample(torch.randn(rows, _DIMENSIONS, device=self.device), condition)
            kept["log_q"] = self.literal_flow.log_prob(kept["drawn"], condition)

        def hand() -> None:
            betas, orient = self.betas.repeat(self.draws, 1), self.orient.repeat(self.draws, 1)
            vertices, joints = self.hand(kept["drawn"], betas, orient)
            relative, length = bone_relative(joints)
            view = self.view.repeat(self.draws, 1)[:, None]
            points_2d = 128 * (view[..., :1] * relative[..., :2] + view[..., 1:]) + 127.5
            normalised = (vertices - joints[:, 9:10]) / length[:, None, None]
            kept["vertices_2d"] = view[..., :1] * normalised[..., :2] + view[..., 1:]
            # the published code tiles the faces for a renderer that it never calls
            kept["faces"] = self.hand.faces.cpu()[None].repeat(rows, 1, 1).to(self.device)
            shape = (self.draws, self.images)
            kept["joints"] = joints.unflatten(0, shape).transpose(0, 1)
            kept["points_2d"] = points_2d.unflatten(0, shape).transpose(0, 1)

        def measures() -> dict[str, Tensor]:
            return self._measure(kept["joints"], kept["points_2d"])

        return {"flow with log q": flow, "hand layer": hand, "metrics": measures}

    def check(self) -> float:
        """Largest difference of samples and log-densities between the two flows, from the same noise."""
        noise = torch.randn(4, self.images, _DIMENSIONS, device=self.device)
        distribution = self.flow(self.feature)
        ours, _ = distribution.push(noise)
        condition = self.feature.repeat(4, 1)
        theirs = self.literal_flow.sample(noise.flatten(0, 1), condition)
        densities = self.literal_flow.log_prob(theirs, condition).unflatten(0, noise.shape[:2])
        apart = (distribution.log_prob(ours) - densities).abs().max()
        return max((ours.flatten(0, 1) - theirs).abs().max().item(), apart.item() / 1000)


def _peak(name: str, images: int, draws: int, threads: int, device: torch.device) -> tuple[float, float]:
    """Megabytes at the highest, and of these before the first draw."""
    torch.set_num_threads(threads)
    contest = Contest(images, draws, device)
    with torch.no_grad():
        before = peak_memory_mb(device)
        for part in getattr(contest, name)().values():
            part()
    return peak_memory_mb(device), before


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Run the comparison and print medians, ratios and peak memory."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(arguments)
    device = prepare(args)
    figures = []
    for name in ("literal", "ours"):
        peak, before = alone(_peak, name, args.images, args.draws, args.threads, device)
        print(f"{name:8s} peak {peak:7.0f} MB, of which {before:.0f} MB before the first draw")
        figures.append(Figure(f"{name}, peak memory", peak, "MB"))

    contest = Contest(args.images, args.draws, device)
    ways = {"literal": contest.literal(), "ours": contest.ours()}
    with torch.no_grad():
        print(
            f"{args.images} images, {args.draws} hypotheses, {args.threads} threads, {device}; "
            f"largest difference {contest.check():.1e}"
        )
        contestants = {f"{name}: {part}": work for name, parts in ways.items() for part, work in parts.items()}
        seconds = in_turns(contestants, args.repeats, device)
    for name, parts in ways.items():
        rounds = zip(*(seconds[f"{name}: {part}"] for part in parts), strict=True)
        seconds[f"{name}: together"] = [sum(parts_of_round) for parts_of_round in rounds]
    print(f"{'':16s} {'literal':>10s} {'ours':>10s}   ratio")
    for part in (*ways["ours"], "together"):
        literal, ours = (statistics.median(seconds[f"{name}: {part}"]) for name in ("literal", "ours"))
        print(f"{part:16s} {literal:8.3f} s {ours:8.3f} s {literal / ours:7.1f}")
        figures += [
            Figure(f"literal: {part}", literal, "s"),
            Figure(f"ours: {part}", ours, "s"),
            Figure(f"{part}, times the literal speed", literal / ours, "x"),
        ]
    return figures


if __name__ == "__main__":
    main()
