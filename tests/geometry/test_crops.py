"""Crop rules against worked examples; maps against projections."""

import cv2
import numpy as np
import pytest
import torch

from handlit.errors import InputError
from handlit.geometry import crops

INTRINSICS = np.array([[614.0, 0.0, 320.5], [0.0, 617.0, 239.0], [0.0, 0.0, 1.0]])


def project(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    homogeneous = points @ intrinsics.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def test_plain_rule_is_the_longer_side_and_half() -> None:
    centre, side = crops.square_crop(np.array([100.0, 50, 200, 90]), (640, 480), "plain")
    assert centre.tolist() == [150, 70]
    assert side == 150


def test_amvur_rule_worked_example() -> None:
    # reach = 60 + 10 along x, so size = 280 and the crop's side is 280 * 200 / 224
    centre, side = crops.square_crop(np.array([240.0, 200, 360, 280]), (640, 480), "amvur")
    assert centre.tolist() == [300, 240]
    assert side == pytest.approx(250.0)


def test_amvur_rule_is_bounded() -> None:
    assert crops.square_crop(np.array([300.0, 200, 301, 201]), (640, 480), "amvur")[1] == pytest.approx(50 * 200 / 224)
    assert crops.square_crop(np.array([0.0, 0, 640, 480]), (640, 480), "amvur")[1] == pytest.approx(640 * 200 / 224)


def test_mhentropy_rule_unites_hand_and_object() -> None:
    # the documented example: boxes already grown; hand (500,100,600,200), object (480,90,560,260)
    grown = np.array([500.0, 100, 600, 200])
    centre, extent = (grown[:2] + grown[2:]) / 2, (grown[2:] - grown[:2]) / 1.5 / 2
    box = np.concatenate([centre - extent, centre + extent])
    centre, side = crops.square_crop(box, (640, 480), "mhentropy", np.array([480.0, 90, 560, 260]))
    assert centre.tolist() == [540, 175]
    assert side == pytest.approx(170)


@pytest.mark.parametrize("box", [[0, 0, 0, 10], [5, 5, 1, 9], [0, 0, np.nan, 3]])
def test_bad_boxes_are_refused(box: list[float]) -> None:
    with pytest.raises(ValueError, match="hand box"):
        crops.square_crop(np.array(box), (640, 480), "plain")


@pytest.mark.parametrize(
    ("box", "cause"),
    [
        ([0.31, 0.25, 0.66, 0.75], "shares of its width and height"),
        ([-0.1, 0.25, 0.66, 1.2], "shares of its width and height"),
        ([-300, -300, -100, -100], "top-left corner"),
        ([100, -90, 200, -10], "top-left corner"),
        ([200, 500, 300, 600], "turned \\(EXIF\\)"),
        ([700, 0, 800, 100], "another size"),
        ([900, 900, 1000, 1000], "another size"),
        ([-1e9, -1e9, 1e18, 1e18], "another size"),
    ],
)
def test_box_that_misses_the_image_is_refused(box: list[float], cause: str) -> None:
    assert crops.misses_image(np.array(box), np.array((640, 480)))
    with pytest.raises(InputError, match=f"hand box .* lies outside the 640x480 image: .*{cause}"):
        crops.check_in_image(np.array(box), (640, 480))


def test_mhentropy_rule_refuses_a_box_outside_the_image() -> None:
    with pytest.raises(InputError, match="outside"):
        crops.square_crop(np.array([700.0, 0, 800, 100]), (640, 480), "mhentropy")


def test_share_of_a_box_in_the_image() -> None:
    boxes = np.array([[600.0, 100, 680, 200], [-30, -10, 30, 10], [700, 0, 800, 100], [np.nan] * 4, [700, 0, 700, 100]])
    sizes = np.array((640, 480))
    assert crops.share_in_image(boxes[:3], sizes).tolist() == [0.5, 0.25, 0]
    # whether it is a box at all is asked elsewhere
    assert crops.misses_image(boxes, sizes).tolist() == [False, False, True, False, False]


def test_an_unknown_object_box_counts_as_none() -> None:
    box = np.array([100.0, 100, 200, 180])
    without = crops.square_crop(box, (640, 480), "mhentropy")
    unknown = crops.square_crop(box, (640, 480), "mhentropy", np.full(4, np.nan))
    np.testing.assert_array_equal(np.append(*without), np.append(*unknown))


def test_rules_against_their_definition_in_arrays() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        low = rng.uniform(-50, (600, 440))
        high = low + rng.uniform(60, 300, 2)
        box, middle, size = np.concatenate([low, high]), (low + high) / 2, np.array([640, 480])
        reach = np.maximum(np.minimum(high, size) + 10 - middle, middle - (np.maximum(low, 0) - 10)).max()
        centre, side = crops.square_crop(box, (640, 480), "amvur")
        np.testing.assert_allclose([*centre, side], [*middle, np.clip(4 * reach, 50, 640) * 200 / 224])
        other = np.concatenate([middle - 20, middle + rng.uniform(10, 400, 2)])
        first, last = np.minimum(middle - 0.75 * (high - low), other[:2]), middle + 0.75 * (high - low)
        first, last = np.maximum(first, 0), np.minimum(np.maximum(last, other[2:]), size)
        centre, side = crops.square_crop(box, (640, 480), "mhentropy", other)
        np.testing.assert_allclose([*centre, side], [*(first + last) / 2, (last - first).max()])


def test_mirroring_is_its_own_inverse_and_flips_columns() -> None:
    flip = crops.mirroring(5)
    image = np.arange(15, dtype=np.uint8).reshape(3, 5)
    np.testing.assert_array_equal(cv2.warpAffine(image, flip, (5, 3)), image[:, ::-1])
    np.testing.assert_allclose(crops.compose(flip, flip), np.eye(2, 3))


def test_crop_maps_the_square_edge_to_edge() -> None:
    transform = crops.crop_transform(np.array([100.0, 60.0]), 50.0, 128)
    corners = np.array([[75.0, 35.0], [125.0, 85.0]])
    np.testing.assert_allclose(crops.apply(transform, corners), [[-0.5, -0.5], [127.5, 127.5]])


def test_crop_intrinsics_project_straight_into_the_crop() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(9, 3)) * 0.1 + (0, 0, 0.7)
    transform = crops.crop_transform(np.array([310.0, 250.0]), 180.0, 96)
    direct = project(points, crops.crop_intrinsics(transform, INTRINSICS))
    np.testing.assert_allclose(direct, crops.apply(transform, project(points, INTRINSICS)), atol=1e-9)


def test_image_rotation_follows_the_rotated_scene() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(size=(9, 3)) * 0.1 + (0, 0, 0.7)
    turned = points @ crops.rotation_about_z(0.7).T
    moved = crops.apply(crops.image_rotation(INTRINSICS, 0.7), project(points, INTRINSICS))
    np.testing.assert_allclose(project(turned, INTRINSICS), moved, atol=1e-9)


def test_compose_applies_the_first_map_first() -> None:
    first, second = np.array([[2.0, 0, 1], [0, 2, 0]]), np.array([[0.0, -1, 0], [1, 0, 5]])
    points = np.array([[1.0, 2.0]])
    np.testing.assert_allclose(
        crops.apply(crops.compose(second, first), points), crops.apply(second, crops.apply(first, points))
    )


def test_transform_is_what_warp_affine_takes() -> None:
    image = np.zeros((64, 64), np.uint8)
    image[20, 30] = 255
    transform = crops.crop_transform(np.array([30.0, 20.0]), 33.0, 33)
    warped = cv2.warpAffine(image, transform, (33, 33), flags=cv2.INTER_LINEAR)
    assert divmod(int(warped.argmax()), warped.shape[1]) == (16, 16)
    assert warped[16, 16] == 255


def test_inside_is_from_the_first_pixels_edge_to_before_the_last_ones() -> None:
    points = np.array([[-0.5, 0], [-0.51, 0], [9.49, 4.49], [9.5, 0], [0, 4.5], [np.nan, 0]])
    expected = [True, False, True, False, False, False]
    assert crops.inside(points, np.array([10, 5])).tolist() == expected
    assert crops.inside(torch.from_numpy(points), torch.tensor([10, 5])).tolist() == expected
    assert crops.inside(points, 10).tolist() == [True, False, True, False, True, False]


def test_an_assumed_camera_sees_its_field_of_view_across_the_longer_side() -> None:
    intrinsics = crops.assumed_intrinsics((641, 481), 90)
    edges = project(np.array([[-1.0, 0, 1], [1, 0, 1]]), intrinsics)
    assert edges == pytest.approx(np.array([[-0.5, 240], [640.5, 240]]))
