"""What `Lift` makes of photographs of real hands whose digit is known: finger states, touching tips, reprojection.

    python -m scripts.benchmarks.real_hands FOLDER                       # FOLDER/DIGIT/personNNN_*.jpg
    python -m scripts.benchmarks.real_hands FOLDER --weights runs/lift/lift.safetensors

The photographs are those of the Sign Language Digits Dataset (https://github.com/ardamavi/Sign-Language-Digits-Dataset,
Apache-2.0) or named like them: right hands that show a digit of Turkish Sign Language, palm to the camera. The digit
says which fingers are stretched and, from 6 to 9, which tip touches the thumb's: true whatever a detector thinks, and
the only truth in these figures. Nothing is fitted to them. What is measured: `handlit.metrics.finger_measures`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from handlit.errors import InputError
from handlit.formats.images import read_image
from handlit.geometry.crops import assumed_intrinsics
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.landmarks import HandDetector
from handlit.metrics.finger_measures import (
    STRETCHED_BELOW_DEG,
    central,
    finger_bend_deg,
    meets_touch,
    tip_distances_mm,
)
from handlit.models.lift_weights import SHIPPED, read_lift
from handlit.models.lifter import Lifter

#: Of each digit, whether index, middle, ring and little finger are stretched; None where the thumb's tip touches one.
STRETCHED: tuple[tuple[bool | None, ...], ...] = (
    (False, False, False, False), (True, False, False, False), (True, True, False, False), (True, True, False, False),
    (True, True, True, True), (True, True, True, True), (True, True, True, None), (True, True, None, True),
    (True, None, True, True), (None, True, True, True),
)  # fmt: skip
HYPOTHESES = 200


class Detections(NamedTuple):
    """What the detector found.

    Attributes:
        digit: (N,) of each photograph.
        right: (N,) bool, whether the hand was taken for a right one.
        joints_2d: (N, 21, 2) pixels, of a left hand mirrored.
        confidence: (N, 21).
        intrinsics: (N, 3, 3) assumed.
        missed: Photographs without a hand.
    """

    digit: np.ndarray
    right: np.ndarray
    joints_2d: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    missed: np.ndarray


def states_right(joints: Tensor, digit: int) -> np.ndarray:
    """Whether each unambiguous finger of hands (N, 21, 3) that show a digit is stretched or bent as it should be."""
    known = [finger for finger in range(4) if STRETCHED[digit][finger] is not None]
    wanted = torch.tensor([bool(STRETCHED[digit][finger]) for finger in known])
    return ((finger_bend_deg(joints)[:, known] < STRETCHED_BELOW_DEG) == wanted).numpy()


def tip_distance_mm(joints: Tensor, digit: int) -> Tensor:
    """Distance (..., 1) of the two tips that touch in digits 6 to 9, millimetres, of joints (..., 21, 3)."""
    finger = STRETCHED[digit].index(None)
    return tip_distances_mm(joints)[..., finger : finger + 1]


def detect_all(folder: Path, limit: int | None = None) -> Detections:
    """Detect the hand of every photograph, at most `limit` of a digit.

    Raises:
        InputError: There are no photographs.
    """
    detector, rows, missed = HandDetector(), [], []
    for digit in range(10):
        for path in sorted((folder / str(digit)).glob("*.jpg"))[:limit]:
            image = read_image(path)
            hands = detector(image)
            if not hands:
                missed.append(str(path))
                continue
            points = hands[0].joints_2d.copy()
            width, height = image.shape[1], image.shape[0]
            if not hands[0].right:
                points[:, 0] = width - 1 - points[:, 0]
            camera = assumed_intrinsics((width, height), 60.0)
            rows.append((digit, hands[0].right, points, hands[0].confidence, camera))
    if not rows:
        raise InputError(f"{folder} holds no photographs DIGIT/*.jpg with hands")
    digits, right, points_2d, confidence, intrinsics = (np.stack(column) for column in zip(*rows, strict=True))
    return Detections(digits, right, points_2d, confidence, intrinsics, np.array(missed))


def lift_all(lifter: Lifter, found: Detections) -> tuple[Tensor, Tensor, np.ndarray]:
    """Point estimates (N, 21, 3), hypotheses (N, S, 21, 3), metres, and reprojection (N,) in shares of the box."""
    arrays = (found.joints_2d, found.confidence, found.intrinsics)
    columns = [torch.from_numpy(array).float().split(32) for array in arrays]
    points, drawn, apart = [], [], []
    torch.manual_seed(0)
    for joints_2d, confidence, intrinsics in zip(*columns, strict=True):
        prediction = lifter.lift(joints_2d, confidence, intrinsics)
        with torch.no_grad():
            drawn.append(prediction.distribution.hypotheses(HYPOTHESES).joints_root)
        points.append(prediction.joints_root)
        box: Tensor = (joints_2d.amax(1) - joints_2d.amin(1)).amax(1)
        apart.append((prediction.joints_2d - joints_2d).norm(dim=-1).mean(1) / box)
    return torch.cat(points), torch.cat(drawn), torch.cat(apart).numpy()


def report(found: Detections, points: Tensor, drawn: Tensor, apart: np.ndarray) -> str:
    """The table of figures."""
    lines = ["| digit | photographs | finger states right | tips that touch, median | 90 % interval: meets, width |"]
    lines += ["|---|---|---|---|---|"]
    total = []
    for digit in np.unique(found.digit).tolist():
        mine = torch.from_numpy(found.digit == digit)
        right = states_right(points[mine], digit)
        total.append(right.ravel())
        cells = [str(digit), str(int(mine.sum())), f"{100 * right.mean():.1f} %", "", ""]
        if digit >= 6:
            distances = tip_distance_mm(drawn[mine], digit)
            low, high = central(distances)
            cells[3] = f"{np.median(tip_distance_mm(points[mine], digit)):.1f} mm"
            cells[4] = f"{100 * meets_touch(distances).float().mean():.1f} %, {(high - low).median():.0f} mm"
        lines.append("| " + " | ".join(cells) + " |")
    states, seen = np.concatenate(total), len(found.digit)
    sums = (
        f"{seen} of {seen + len(found.missed)} photographs with a hand, {100 * found.right.mean():.2f} % taken for the "
        f"right one; finger states right {100 * states.mean():.2f} % of {len(states)}; distance of projected and "
        f"detected joints, median {100 * np.median(apart):.2f} % of the box"
    )
    return "\n".join([*lines, "", sums])


def main(arguments: Sequence[str] | None = None) -> None:
    """Detect, lift and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--limit", type=int, help="photographs of each digit")
    options = parser.parse_args(arguments)
    lifter = Lifter(read_lift(options.weights), HandLayer(load_hand(), pose_space="matrix"))
    found = detect_all(options.folder, options.limit)
    print(report(found, *lift_all(lifter, found)))


if __name__ == "__main__":
    main()
