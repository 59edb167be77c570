"""Hands are drawn where they were seen, in images of every size."""

from dataclasses import replace

import numpy as np
import pytest

from handlit.demo.drawing import CELL, TITLES, frame_with_views, hand_row
from handlit.reconstruct import ReconstructedHand, Reconstructor
from handlit.reconstruct.reconstructor import LiftedHands
from tests.reconstruct.fakes import FakeDetector, FakeLift, detected_hand

FLAT = 128


def reconstructed(size: float, centre: tuple[float, float], image: np.ndarray) -> ReconstructedHand:
    detector = FakeDetector(detected_hand(centre, size))
    # a pixel of 0 in the corner says that the image is not mirrored
    marked = image.copy()
    marked[0, 0] = 0
    return Reconstructor(LiftedHands(FakeLift()), detector=detector)(marked)[0]


def flat(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), FLAT, np.uint8)


@pytest.mark.parametrize("size", [20, 90, 1500])
def test_a_row_shows_the_hand_at_one_size_whatever_the_image_s(size: int) -> None:
    image = flat(2 * size, 3 * size)
    hand = reconstructed(size, (1.5 * size, size), image)
    row = hand_row(image, hand)
    assert len(row) == len(TITLES)
    assert {cell.shape for cell in row} == {(CELL, CELL, 3)}
    for cell in (row[0], row[1]):
        rows, columns = np.nonzero(np.abs(cell.astype(int) - FLAT).max(axis=2) > 10)
        assert abs(rows.mean() - CELL / 2) < 0.15 * CELL
        assert 0.5 * CELL < max(np.ptp(rows), np.ptp(columns)) < 0.95 * CELL


def test_a_large_image_is_averaged_not_sampled() -> None:
    image = flat(1600, 2400)
    image[::2] = 0
    cell = hand_row(image, reconstructed(1000, (1200, 800), image))[0]
    corner = cell[:20, :20].astype(int)
    assert np.abs(corner - FLAT / 2).max() < 8


def test_a_frame_keeps_its_place_and_gets_two_views_of_each_hand() -> None:
    image = flat(180, 240)
    hand = reconstructed(90, (120, 90), image)
    assert frame_with_views(image, []).shape == (180, 330, 3)
    assert (frame_with_views(image, [])[:, :240] == FLAT).all()
    one = frame_with_views(image, [replace(hand, track=1)])
    two = frame_with_views(image, [replace(hand, track=number) for number in (1, 2, 3)])
    for drawn, cells in ((one, 1), (two, 2)):
        changed = np.abs(drawn[:, :240].astype(int) - FLAT).max(axis=2) > 10
        assert 0.05 < changed.mean() < 0.5
        assert np.ptp(drawn[164, 250:320], axis=0).min() > 100
        panel = drawn[:158, 240:].max(axis=2) < 200
        for half in np.array_split(panel, 2):
            assert all(part.any() for part in np.array_split(half, cells, axis=1))
