"""Palms against a slow version that goes anchor by anchor, and on painted images."""

import math

import numpy as np
import pytest

from handlit.landmarks.palms import PalmDetector, anchors, decode, intersection_over_union, letterbox, suppress
from tests.landmarks.painted import KNUCKLE, paint, palm_engine, turned_hand


def literal_anchors() -> list[tuple[float, float]]:
    centres = []
    for cells, repeats in ((24, 2), (12, 6)):
        for row in range(cells):
            for column in range(cells):
                centres += [((column + 0.5) / cells, (row + 0.5) / cells)] * repeats
    return centres


def literal_palms(numbers: np.ndarray, logits: np.ndarray, minimum: float, overlap: float) -> list[list[float]]:
    """Score, then 18 coordinates, of each palm, by loops alone."""
    found = []
    for (x, y), (first, *rest), logit in zip(literal_anchors(), numbers.tolist(), logits[:, 0].tolist(), strict=True):
        values = [first, *rest]
        score = 1 / (1 + math.exp(-logit))
        if score < minimum or not all(map(math.isfinite, values)):
            continue
        u, v, width, height = x + values[0] / 192, y + values[1] / 192, values[2] / 192, values[3] / 192
        corners = [u - width / 2, v - height / 2, u + width / 2, v + height / 2]
        points = [value / 192 + (x, y)[place % 2] for place, value in enumerate(values[4:])]
        found.append([score, *corners, *points])
    found.sort(key=lambda palm: -palm[0])
    palms = []
    while found:
        best = found[0]
        group = [palm for palm in found if palm is best or literal_overlap(best[1:5], palm[1:5]) >= overlap]
        found = [palm for palm in found if not any(palm is member for member in group)]
        total = sum(palm[0] for palm in group)
        palms.append([best[0], *(sum(palm[0] * palm[i] for palm in group) / total for i in range(1, 19))])
    return palms


def literal_overlap(first: list[float], second: list[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = (first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1])
    return width * height / (area - width * height)


def test_anchors_are_the_centres_of_the_cells_row_by_row() -> None:
    np.testing.assert_allclose(anchors(), literal_anchors(), atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_decoding_and_suppression_are_those_of_the_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.normal(0, 15, (2016, 18)).astype(np.float32)
    numbers[:, 2:4] = rng.uniform(5, 60, (2016, 2))
    logits = rng.normal(-3, 2, (2016, 1)).astype(np.float32)
    numbers[rng.integers(0, 2016, 30), rng.integers(0, 18, 30)] = np.nan
    expected = literal_palms(numbers, logits, 0.5, 0.3)
    palms = suppress(*decode(numbers, logits, 0.5), 0.3)
    assert len(palms) == len(expected) > 5
    found = [[score, *points.ravel()] for score, points in palms]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_scores_that_are_no_numbers_are_no_palms() -> None:
    scores, points = decode(np.zeros((2016, 18)), np.full((2016, 1), np.nan), 0.5)
    assert scores.shape == (0,)
    assert points.shape == (0, 9, 2)
    assert suppress(scores, points, 0.3) == []


def test_empty_boxes_overlap_nothing() -> None:
    np.testing.assert_array_equal(intersection_over_union(np.zeros(4), np.zeros((2, 4))), [0, 0])


@pytest.mark.parametrize("size", [(640, 480), (100, 300), (50, 40), (1, 1), (90, 900), (193, 192)])
@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5])
def test_letterbox_says_where_its_pixels_come_from(size: tuple[int, int], margin: float) -> None:
    width, height = size
    v, u = np.mgrid[:height, :width]
    image = np.stack([u / max(1, width - 1) * 250, v / max(1, height - 1) * 250, np.full_like(u, 255)], -1)
    boxed, transform = letterbox(image.astype(np.uint8), margin)
    assert boxed.shape == (192, 192, 3)
    points = np.stack(np.meshgrid(np.arange(192), np.arange(192)), -1) @ transform[:, :2].T + transform[:, 2]
    x, y = points[..., 0], points[..., 1]
    inside = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    for values, channel, side in ((x, 0, width), (y, 1, height)):
        expected = values / max(1, side - 1) * 250
        assert np.abs(boxed[..., channel] - expected)[inside].max(initial=0) <= 3
    reach = margin * max(size) + 2 * max(size) / 192
    beyond = (x < -reach - 1) | (x > width + reach) | (y < -reach - 1) | (y > height + reach)
    assert (boxed[beyond] == 0).all()
    # the border is repeated as far as the margin reaches
    near = (np.maximum(-x, x - width + 1) < margin * max(size) - 3 * max(size) / 192) & (
        np.maximum(-y, y - height + 1) < margin * max(size) - 3 * max(size) / 192
    )
    assert (boxed[near][:, 2] > 250).all()


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_palms_are_found_where_they_are_painted(margin: float) -> None:
    hands = [turned_hand((90, 150), 40, 20), turned_hand((220, 90), 50, -110)]
    palms = PalmDetector(palm_engine)(paint(hands), margin=margin)
    assert len(palms) == 2
    for joints in hands:
        palm = min(palms, key=lambda palm: float(np.linalg.norm(palm.wrist - joints[0])))
        np.testing.assert_allclose(palm.wrist, joints[0], atol=1.5)
        np.testing.assert_allclose(palm.knuckle, joints[KNUCKLE], atol=1.5)
        np.testing.assert_allclose(palm.box[:2] + palm.box[2:], joints[0] + joints[KNUCKLE], atol=3)
        assert palm.score == pytest.approx(1 / (1 + math.exp(-4)))


def test_palms_of_an_area_lie_where_they_are_in_the_image() -> None:
    hands = [turned_hand((90, 150), 30, 20), turned_hand((240, 90), 30, -110)]
    (palm,) = PalmDetector(palm_engine)(paint(hands), (170, 20, 320, 200), 0.1)
    np.testing.assert_allclose(palm.wrist, hands[1][0], atol=1)
    np.testing.assert_allclose(palm.knuckle, hands[1][KNUCKLE], atol=1)


def test_an_image_without_palms() -> None:
    assert PalmDetector(palm_engine)(np.zeros((40, 60, 3), np.uint8)) == []
