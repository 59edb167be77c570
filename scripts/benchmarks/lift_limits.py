"""What `Lift` says of hands that its training did not have, and of views in which two orientations look alike.

    python -m scripts.benchmarks.lift_limits
    python -m scripts.benchmarks.lift_limits --weights RUN/lift.safetensors --postures fist pinch peace
    python -m scripts.benchmarks.lift_limits --picture alike.png

Hands are synthetic. Shifts: one finger of each hand 10 % longer than it was drawn; every joint but the wrist moved by
5 mm in a direction of its own; and, of a network that was trained without them, hands in the named postures alone.
Orientations look alike where at least a twentieth of the hypotheses is turned by more than `APART_DEG` from the point
estimate: those hands are sorted by that share, and it should be the share of hands whose truth is turned as far.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from handlit.data.joints import SyntheticJoints
from handlit.data.synthesis.population import Hands, Population, draw_hands
from handlit.formats.hand_files import write_image
from handlit.methods.lift import Lift
from handlit.metrics.calibration import radial_rank
from handlit.models.lift_weights import SHIPPED, read_lift
from handlit.models.lifter import DetectedJoints
from handlit.render.figures import contact_sheet, side_view
from handlit.render.overlays import draw_skeletons
from handlit.types import HandBatch

HYPOTHESES = 200
LEVELS = (0.5, 0.8, 0.9, 0.95)
APART_DEG = 45.0
#: Ends of the classes of the share of hypotheses that are turned.
SHARES = (0.05, 0.2, 0.4, 0.6, 1.0)
_BATCH = 200
_SEED = 23
Shift = Callable[[Hands, torch.Generator], Hands]


def longer_finger(hands: Hands, generator: torch.Generator) -> Hands:
    """One finger of each hand, wrist to tip, 10 % longer."""
    finger = torch.randint(5, (len(hands.ratios), 1), generator=generator)
    factor = torch.where(torch.arange(20) // 4 == finger, 1.1, 1.0)
    return replace(hands, ratios=hands.ratios * factor)


def moved_joints(hands: Hands, generator: torch.Generator) -> Hands:
    """Every joint but the wrist 5 mm from where it was, each in its own direction."""
    direction = torch.randn(len(hands.ratios), 21, 3, generator=generator)
    moved = 0.005 * torch.nn.functional.normalize(direction, dim=-1)
    moved[:, 0] = 0
    return replace(hands, definition=hands.definition + moved)


def unchanged(hands: Hands, generator: torch.Generator) -> Hands:
    """The hands."""
    return hands


def make_hands(population: Population, count: int, shift: Shift) -> HandBatch:
    """Fresh hands of a population, changed, as the detector sees them."""
    module = SyntheticJoints(population=population, test_samples=count, val_samples=1)
    module.setup("test")
    generator = torch.Generator().manual_seed(_SEED)
    hands = shift(draw_hands(population, population.natural_poses(), count, generator), generator)
    return module.batch_of(hands, torch.arange(count), _SEED, generator)


@torch.inference_mode()
def lifted(method: Lift, batch: HandBatch) -> dict[str, Tensor]:
    """Point estimates and hypotheses: joints (N, 21, 3) and (N, S, 21, 3), metres, rotations in the camera's axes."""
    observed, parts = method.observe(batch), []
    for start in range(0, len(batch), _BATCH):
        output = method.infer(DetectedJoints(*(value[start : start + _BATCH] for value in observed)))
        centre, drawn = output.centre(), output.hypotheses(HYPOTHESES)
        parts.append((centre.joints_root[:, 0], centre.pose[:, 0, :3], drawn.joints_root, drawn.pose[..., :3]))  # type: ignore[index]
    estimate, turn, hypotheses, turns = (torch.cat(part) for part in zip(*parts, strict=True))
    rotations = {"rotation": roma.rotvec_to_rotmat(turn), "rotations": roma.rotvec_to_rotmat(turns)}
    return {"estimate": estimate, "hypotheses": hypotheses, **rotations}


def coverage_row(name: str, batch: HandBatch, hands: dict[str, Tensor]) -> str:
    """Error of the point estimate and coverage of the central regions."""
    truth = batch.joints_cam - batch.root_cam[:, None]
    error = 1000 * (hands["estimate"] - truth).norm(dim=-1).mean()
    rank = radial_rank(hands["hypotheses"], truth)[:, 1:]
    covered = " / ".join(f"{100 * (rank <= level).float().mean():.1f}" for level in LEVELS)
    return f"{name:28s} {len(batch):6d} hands  error {error:5.1f} mm  coverage {covered} %"


def turned_shares(batch: HandBatch, hands: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(N,) share of hypotheses turned away from the point estimate, and (N,) bool whether the truth is."""
    true = roma.rotvec_to_rotmat(batch.pose[:, :3])
    away = roma.rotmat_geodesic_distance(hands["rotations"], hands["rotation"][:, None].expand_as(hands["rotations"]))
    limit = np.radians(APART_DEG)
    return (away > limit).float().mean(1), roma.rotmat_geodesic_distance(true, hands["rotation"]) > limit


def orientation_rows(share: Tensor, turned: Tensor) -> list[str]:
    """For each class of `SHARES` its hands, the mean share of turned hypotheses and the share of turned truths."""
    rows = []
    for low, high in pairwise(SHARES):
        inside = (share >= low) & (share < high)
        if inside.any():
            stated, found = 100 * share[inside].mean(), 100 * turned[inside].float().mean()
            rows.append(f"{low:.2f} to {high:.2f}  {int(inside.sum()):6d} hands  {stated:5.1f} %  {found:5.1f} %")
    return rows


def draw_alike(batch: HandBatch, hands: dict[str, Tensor], numbers: Sequence[int]) -> np.ndarray:
    """For each hand: what was seen, and hypotheses from the front and the side, by which way they are turned."""
    side, rows = 256, []
    for number in numbers:
        centre = hands["rotation"][number].expand(HYPOTHESES, 3, 3)
        away = roma.rotmat_geodesic_distance(hands["rotations"][number], centre) > np.radians(APART_DEG)
        seen = np.full((side, side, 3), 255, np.uint8)
        detected = batch.detected[number]
        found = torch.where(detected[:, 2:] > 0, detected[:, :2] * side / 224, torch.nan).numpy()
        row = [draw_skeletons(seen, found[None], np.full((20, 3), 60, np.uint8))]
        for from_side in (False, True):
            canvas = np.full((side, side, 3), 255, np.uint8)
            chosen = [*(~away).nonzero()[:6, 0].tolist(), *away.nonzero()[:6, 0].tolist()]
            for which in chosen:
                joints = hands["hypotheses"][number, which]
                points, intrinsics = side_view(joints, extent_m=0.28)
                if not from_side:
                    points = joints - joints.mean(0) + torch.tensor([0.0, 0.0, 1.0])
                flat = side * (points[:, :2] / points[:, 2:] * intrinsics[0, 0] + 0.5)
                colour = (200, 80, 30) if away[which] else (30, 90, 200)
                canvas = draw_skeletons(canvas, flat.numpy()[None], np.tile(np.array(colour, np.uint8), (20, 1)))
            row.append(canvas)
        rows.append(row)
    return contact_sheet(rows, ("detected joints", "hypotheses, front", "from the side"), cell=side)


def parse() -> argparse.Namespace:
    """Command-line options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="file of a LiftNetwork (default: the package's)")
    parser.add_argument("--count", type=int, default=2000, help="hands of each row")
    parser.add_argument("--postures", nargs="+", help="hands of these postures alone, instead of the other shifts")
    parser.add_argument("--picture", type=Path, help="draw hands whose orientations look alike")
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    options, population = parse(), Population()
    torch.manual_seed(0)
    method = Lift(read_lift(options.weights)).eval()
    if options.postures:
        only = replace(population, postures=options.postures, any_pose=0.0, pressed=0.0)
        batch = make_hands(only, options.count, unchanged)
        print(coverage_row(" ".join(options.postures), batch, lifted(method, batch)))
        return
    for name, shift in {"one finger 10 % longer": longer_finger, "joints moved by 5 mm": moved_joints}.items():
        batch = make_hands(population, options.count, shift)
        print(coverage_row(name, batch, lifted(method, batch)), flush=True)
    batch = make_hands(population, options.count, unchanged)
    hands = lifted(method, batch)
    print(coverage_row("as in training", batch, hands))
    share, turned = turned_shares(batch, hands)
    print("share of hypotheses turned away, their mean, and the share of hands that truly are:")
    print("\n".join(orientation_rows(share, turned)))
    if options.picture:
        alike = (share - 0.5).abs().argsort()[:3].tolist()
        write_image(options.picture, draw_alike(batch, hands, alike))
        print(f"{options.picture}: hands {', '.join(map(str, alike))}")


if __name__ == "__main__":
    main()
