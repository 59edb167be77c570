"""Time the hand layer against a literal one: joint by joint, 4x4 matrices, all vertices.

python -m scripts.benchmarks.hand_layer --hands 12800 --threads 1
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import roma
import torch
from torch import Tensor

from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.skeleton import TIP_VERTICES, reorder
from scripts.benchmarks.measure import Figure, in_turns, medians, parser_of, prepare, ratio


class LiteralHand:
    """Linear blend skinning written down as it is defined, batch first, with homogeneous matrices."""

    def __init__(self, asset: HandAsset, device: torch.device) -> None:
        def tensor(array: object) -> Tensor:
            return torch.as_tensor(array, dtype=torch.float32, device=device)

        self.template = tensor(asset.template)
        self.shape_directions = tensor(asset.shape_directions)
        self.pose_directions = tensor(asset.pose_directions)
        self.regressor = tensor(asset.joint_regressor)
        self.weights = tensor(asset.weights)
        self.parents = asset.parents
        self.tips = list(TIP_VERTICES["ho3d"])
        self.order = reorder("mano_with_tips", "handlit")

    def __call__(self, pose: Tensor, betas: Tensor, orient: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 45), (n, 10), (n, 3) to vertices (n, 778, 3) and joints (n, 21, 3)."""
        n = len(pose)
        rotations = roma.rotvec_to_rotmat(torch.cat((orient, pose), 1).view(n, 16, 3))
        shaped = self.template + torch.matmul(self.shape_directions, betas.mT).permute(2, 0, 1)
        rest_joints = torch.matmul(self.regressor, shaped)
        feature = (rotations[:, 1:] - torch.eye(3, device=pose.device)).reshape(n, 135)
        rest = shaped + torch.matmul(self.pose_directions, feature.mT).permute(2, 0, 1)

        bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], device=pose.device).expand(n, 1, 4)
        world: list[Tensor] = []
        for joint, parent in enumerate(self.parents):
            offset = rest_joints[:, joint] - (rest_joints[:, parent] if parent >= 0 else 0)
            local = torch.cat((torch.cat((rotations[:, joint], offset[..., None]), 2), bottom), 1)
            world.append(world[parent] @ local if parent >= 0 else local)
        transforms = torch.stack(world, 1)
        joints = transforms[..., :3, 3]
        moved_origin = (transforms[..., :3, :3] @ rest_joints[..., None])[..., 0]
        relative = transforms.clone()
        relative[..., :3, 3] -= moved_origin

        blend = torch.matmul(self.weights, relative.flatten(2)).view(n, -1, 4, 4)
        homogeneous = torch.cat((rest, torch.ones_like(rest[..., :1])), 2)
        vertices = (blend @ homogeneous[..., None])[..., :3, 0]
        return vertices, torch.cat((joints, vertices[:, self.tips]), 1)[:, self.order]


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Run the comparison and print medians and ratios."""
    parser = parser_of(__doc__)
    parser.add_argument("--hands", type=int, default=12800)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mano", type=Path, default=None, help="MANO file or folder; the stand-in hand without it")
    parser.add_argument("--backward", action="store_true", help="time forward and backward together")
    args = parser.parse_args(arguments)
    prepare(args)

    asset = load_hand(args.mano)
    literal, hand = LiteralHand(asset, args.device), HandLayer(asset).to(args.device)
    generator = torch.Generator().manual_seed(0)
    inputs = [
        (0.5 * torch.randn(args.hands, size, generator=generator)).to(args.device).requires_grad_(args.backward)
        for size in (45, 10, 3)
    ]

    def run(outputs: Callable[[], tuple[Tensor, ...]]) -> None:
        results = outputs()
        if args.backward:
            torch.autograd.grad(torch.stack([result.square().sum() for result in results]).sum(), inputs)

    contestants: dict[str, Callable[[], tuple[Tensor, ...]]] = {
        "literal": lambda: literal(*inputs),
        "meshes": lambda: hand(*inputs),
        "joints": lambda: (hand.joints_only(*inputs),),
    }
    few = [value[:32] for value in inputs]
    apart = max((ours - theirs).abs().max().item() for ours, theirs in zip(hand(*few), literal(*few), strict=True))
    print(f"{args.hands} hands, {args.threads} threads, {args.device}; largest difference {apart * 1000:.5f} mm")

    seconds = in_turns(
        {name: partial(run, outputs) for name, outputs in contestants.items()}, args.repeats, args.device
    )
    figures = []
    for name, median in medians(seconds).items():
        faster = ratio(seconds, "literal", name)
        print(f"{name:8s} {median:8.4f} s   {faster:6.1f} times the literal speed")
        figures.append(Figure(f"{args.hands} hands, {name}", 1000 * median, "ms"))
        if name != "literal":
            figures.append(Figure(f"{args.hands} hands, {name}, times the literal speed", faster, "x"))
    return figures


if __name__ == "__main__":
    main()
