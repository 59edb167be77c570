"""Turned squares: where they lie, and their pixels against a slow version that goes pixel by pixel."""

import cv2
import numpy as np
import pytest

from handlit.geometry import crops
from handlit.landmarks.regions import Region, box_regions, cut_out, joint_region, palm_region
from handlit.skeleton import JOINTS
from tests.landmarks.painted import HAND, turned_hand


def literal_cut_out(image: np.ndarray, region: Region, size: int) -> np.ndarray:
    cut = np.zeros((size, size, 3))
    height, width = image.shape[:2]
    right = np.array([np.cos(region.angle), np.sin(region.angle)])
    down = np.array([-np.sin(region.angle), np.cos(region.angle)])
    for row in range(size):
        for column in range(size):
            steps = [(value - (size - 1) / 2) * region.side / size for value in (column, row)]
            x, y = region.centre + steps[0] * right + steps[1] * down
            left, top = int(np.floor(x)), int(np.floor(y))
            for u, v in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
                weight = (1 - abs(x - u)) * (1 - abs(y - v))
                cut[row, column] += weight * image[np.clip(v, 0, height - 1), np.clip(u, 0, width - 1)]
    return cut


def smooth_image(width: int, height: int, wavelength: int = 8) -> np.ndarray:
    coarse = (height // wavelength + 2, width // wavelength + 2, 3)
    noise = np.random.default_rng(0).uniform(0, 255, coarse).astype(np.uint8)
    image: np.ndarray = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return image


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
@pytest.mark.parametrize(("centre", "side"), [((30.3, 22.1), 30.0), ((2.0, 45.0), 50.0), ((-20.0, 10.0), 15.0)])
def test_pixels_are_those_of_the_loops(centre: tuple[float, float], side: float, angle: float) -> None:
    image, region = smooth_image(60, 50), Region(np.array(centre), side, angle)
    # warpAffine knows 32 places between two pixels
    difference = np.abs(cut_out(image, region, 32) - literal_cut_out(image, region, 32))
    assert difference.max() < 4


@pytest.mark.parametrize(("centre", "side"), [((300.0, 200.0), 250.0), ((20.0, 380.0), 333.0), ((690.0, 200.0), 260.0)])
def test_a_large_image_is_averaged_at_the_same_place(centre: tuple[float, float], side: float) -> None:
    # so smooth that the mean of a pixel's square is the value in its middle
    image, region = smooth_image(600, 400, 150), Region(np.array(centre), side, 0.4)
    small, expected = cut_out(image, region, 32), literal_cut_out(image, region, 32)
    assert np.abs(small - expected).mean() < 1.5
    moved = np.abs(small[:, 1:] - expected[:, :-1]).mean()
    assert moved > 3


def test_no_pixel_of_a_large_image_is_passed_over() -> None:
    image = np.zeros((1000, 1000, 3), np.uint8)
    image[::2] = 200
    cut = cut_out(image, Region(np.array([500.0, 500.0]), 700.0, 0.0), 32)
    assert np.abs(cut.astype(int) - 100).max() < 15


@pytest.mark.parametrize("degrees", [0, 50, 180, -100])
def test_a_hand_stands_upright_in_its_squares(degrees: float) -> None:
    joints = turned_hand((70.0, 40.0), 20.0, degrees)
    wrist, knuckle = joints[0], joints[9]
    middle = (wrist + knuckle) / 2
    palm = np.concatenate([middle - 10, middle + 10])
    for region, side in ((palm_region(palm, wrist, knuckle), 52.0), (joint_region(joints), None)):
        assert side is None or region.side == pytest.approx(side)
        upright = crops.apply(region.transform(224), joints)
        np.testing.assert_allclose(upright[9] - upright[0], [0, upright[9, 1] - upright[0, 1]], atol=3)
        assert upright[9, 1] < upright[0, 1]
        assert crops.inside(upright, 224).all()
        np.testing.assert_allclose(crops.apply(region.inverse(224), upright), joints)


def test_the_square_of_joints_does_not_depend_on_how_fingers_are_bent() -> None:
    stretched, bent = HAND * 30, HAND * 30
    tips = [index for index, name in enumerate(JOINTS) if name[-2:] in ("_3", "_4") and not name.startswith("thumb")]
    bent[tips] = bent[[0]] - [0, 10]
    first, second = joint_region(stretched), joint_region(bent)
    assert (first.side, first.angle) == (second.side, second.angle)
    np.testing.assert_array_equal(first.centre, second.centre)
    # its steady joints reach over half of it, a little below its middle
    steady = crops.apply(first.transform(100), np.delete(stretched, [*tips, JOINTS.index("thumb_4")], axis=0))
    low, high = steady.min(axis=0), steady.max(axis=0)
    assert (high - low).max() == pytest.approx(50)
    np.testing.assert_allclose(low + high, [99, 99 + 2 * 0.05 * 50])


def test_the_palms_square_is_half_a_palm_towards_the_fingers() -> None:
    region = palm_region(np.array([10.0, 20.0, 30.0, 50.0]), np.array([20.0, 50.0]), np.array([20.0, 20.0]))
    np.testing.assert_allclose(region.centre, [20, 35 - 15])
    assert region.side == pytest.approx(2.6 * 30)
    assert region.angle == pytest.approx(0)


def test_squares_of_a_box_are_turned_all_round() -> None:
    regions = box_regions(np.array([10.0, 20.0, 50.0, 40.0]))
    assert len({region.side for region in regions}) > 1
    directions = {(round(np.cos(r.angle), 6), round(np.sin(r.angle), 6)) for r in regions}
    assert {(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)} <= directions
    for region in regions:
        np.testing.assert_allclose(region.centre, [30, 30])


def test_a_hand_of_one_point_has_a_square() -> None:
    region = joint_region(np.full((21, 2), 5.0))
    assert region.side > 0
    assert cut_out(np.full((10, 10, 3), 7, np.uint8), region, 8).tolist() == np.full((8, 8, 3), 7).tolist()
