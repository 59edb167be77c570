"""The published crops against literal transcriptions of their definition, pixel by pixel and number by number."""

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from handlit.data.loading.augmentation import NO_CHANGE, Augmentation, Change, sample_change
from handlit.data.loading.cropping import View
from handlit.data.loading.reference_crops import amvur_reference, clipped_square, mhentropy_reference, mhentropy_square
from handlit.errors import InputError
from handlit.geometry import crops

WIDTH, HEIGHT = 640, 480
INTRINSICS = np.array([[617.3, 0.0, 312.4], [0.0, 615.1, 241.3], [0.0, 0.0, 1.0]])
NOISE = cv2.GaussianBlur(np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 1.5)
PNG = cv2.imencode(".png", NOISE[..., ::-1])[1].ravel()


def project(points: np.ndarray) -> np.ndarray:
    homogeneous = points @ INTRINSICS.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def hands() -> Iterator[tuple[np.ndarray, np.ndarray, View]]:
    """Joints in 3D and 2D and their view: all over the picture and over its edges, some with an object."""
    rng = np.random.default_rng(0)
    for number in range(24):
        middle = rng.uniform((-0.34, -0.24, 0.45), (0.34, 0.24, 0.9)) if number else np.array([0.0, 0.0, 0.6])
        joints = middle + rng.uniform(-1, 1, (21, 3)) * rng.uniform(0.01, 0.09)
        pixels = project(joints)
        box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
        corner = pixels.mean(axis=0) + rng.uniform(-90, 30, 2)
        object_box = np.concatenate([corner, corner + rng.uniform(10, 120, 2)]) if number % 3 else None
        yield joints, pixels, View((WIDTH, HEIGHT), INTRINSICS, box, object_box)


def literal_cut(image: np.ndarray, x0: int, y0: int, x1: int, y1: int, padding: int) -> np.ndarray:
    """The box out of an image that is first made larger on every side."""
    margin = 2000
    padded = cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(padding,) * 3)
    return padded[y0 + margin : y1 + margin, x0 + margin : x1 + margin]


@pytest.mark.parametrize("jitter", [None, (7.3, -4.1), (-11.2, 6.6)])
def test_amvur_is_the_published_crop(jitter: tuple[float, float] | None) -> None:
    change = NO_CHANGE if jitter is None else Change(shift_px=np.array(jitter))
    for joints, pixels, view in hands():
        crop = amvur_reference(view, 224, change)
        shift = (0.0, 0.0) if jitter is None else jitter
        reach, centre, corners = 0.0, [], []
        for axis, limit in ((0, WIDTH), (1, HEIGHT)):
            low, high = min(pixels[:, axis]), max(pixels[:, axis])
            middle = (high + low) / 2 + shift[axis]
            centre.append(middle)
            reach = max(reach, min(high, limit) + 10 - middle, middle - (max(low, 0) - 10))
        side = min(max(4 * reach, 50), 640)
        unit = side / 224
        for axis in (0, 1):
            corners.append((int(centre[axis] - 100 * unit), int(centre[axis] + 100 * unit)))
        (x0, x1), (y0, y1) = corners
        cut = literal_cut(NOISE, x0, y0, x1, y1, 0).astype(np.float64)
        expected = np.clip(cv2.resize(cut, (224, 224), interpolation=cv2.INTER_LINEAR), 0, 255)
        assert np.abs(crop.image(PNG, "x") - expected).max() <= 0.5
        labels = [
            [int(224 / (200 * unit) * (pixel[axis] - centre[axis]) + 112) + 1 for axis in (0, 1)] for pixel in pixels
        ]
        np.testing.assert_array_equal(crop.project(joints), labels)
        scaling = np.diag([1 / unit, 1 / unit, 1.0])
        moving = np.eye(3)
        moving[:2, 2] = [-(middle / unit - 112) for middle in centre]
        np.testing.assert_allclose(crop.intrinsics, moving @ scaling @ INTRINSICS, atol=1e-9)
        np.testing.assert_array_equal(crop.scene, np.eye(3))


def test_amvur_labels_are_up_to_a_pixel_too_large_and_its_camera_is_too_narrow() -> None:
    joints, _, view = next(hands())
    crop = amvur_reference(view, 224, NO_CHANGE)
    homogeneous = joints @ crop.intrinsics.T
    by_camera = homogeneous[:, :2] / homogeneous[:, 2:]
    exact = crops.apply(crop.label_transform, project(joints))
    assert ((crop.project(joints) - exact >= 0) & (crop.project(joints) - exact <= 1)).all()
    np.testing.assert_allclose((by_camera - 112) / (exact - 112), 200 / 224, rtol=1e-9)


def literal_mhentropy_square(pixels: np.ndarray, object_box: np.ndarray | None) -> tuple[list[int], np.float32]:
    """Centre and half side, single numbers in single precision, width and height exchanged as published."""
    two, factor = np.float32(2), np.float32(1.5)
    centre, longest = [], np.float32(-np.inf)
    for axis, limit in ((0, HEIGHT), (1, WIDTH)):
        values = [np.float32(pixel[axis]) for pixel in pixels]
        middle, half = int((min(values) + max(values)) / two), (max(values) - min(values)) * factor / two
        low, high = np.float32(middle) - half, np.float32(middle) + half
        if object_box is not None:
            first, last = np.float32(object_box[axis]), np.float32(object_box[axis + 2])
            middle, half = int((first + last) / two), (last - first) / two
            low, high = min(low, np.float32(middle) - half), max(high, np.float32(middle) + half)
        low, high = max(low, np.float32(0)), min(high, np.float32(limit))
        centre.append(int((low + high) / two))
        longest = max(longest, high - low)
    return centre, longest / two


def literal_similarity(change: Change) -> np.ndarray:
    """The published augmentation as an OpenCV call about (128, 128)."""
    zoom = 1 / change.scale
    similarity: Any = cv2.getRotationMatrix2D((128, 128), -np.rad2deg(change.angle), zoom)
    similarity[:, 2] -= np.asarray(change.shift) * 256 * zoom
    return similarity


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_mhentropy_is_the_published_crop(seed: int | None) -> None:
    checked = 0
    for joints, pixels, view in hands():
        (x, y), half = literal_mhentropy_square(pixels, view.object_box)
        if half < 4:
            continue  # almost or wholly beyond the exchanged edges
        change = NO_CHANGE
        if seed is not None:
            change = sample_change(Augmentation(published="mhentropy"), np.random.default_rng(seed))
        crop = mhentropy_reference(view, 256, change)
        centre, own_half = mhentropy_square(view)
        assert centre.tolist() == [x, y]
        assert own_half == half
        x0, y0, x1, y1 = (int(np.round(value)) for value in (x - half, y - half, x + half, y + half))
        expected = cv2.resize(literal_cut(NOISE, x0, y0, x1, y1, 127), (256, 256), interpolation=cv2.INTER_NEAREST)
        label = [[(u - x + half) * 256 / (2 * half), (v - y + half) * 256 / (2 * half)] for u, v in pixels]
        turned = joints
        if seed is not None:
            similarity = literal_similarity(change)
            expected = cv2.warpAffine(expected, similarity, (256, 256), flags=cv2.INTER_NEAREST)
            label = [similarity @ [u, v, 1] for u, v in label]
            cos, sin = np.cos(change.angle), np.sin(change.angle)
            turned = np.array([[cos * px - sin * py, sin * px + cos * py, pz] for px, py, pz in joints])
        np.testing.assert_array_equal(crop.image(PNG, "x"), expected)
        np.testing.assert_allclose(joints @ crop.scene.T, turned, atol=1e-12)
        np.testing.assert_allclose(crop.project(turned), label, atol=2e-3)
        np.testing.assert_allclose(crops.apply(crop.transform, pixels), label, atol=2e-3)
        checked += 1
    assert checked > 15


def test_mhentropy_masks_go_with_the_picture() -> None:
    _, _, view = next(hands())
    mask = np.zeros((120, 160), dtype=bool)
    mask[40:80, 60:110] = True
    large = mask.repeat(4, axis=0).repeat(4, axis=1)
    change = sample_change(Augmentation(published="mhentropy"), np.random.default_rng(3))
    crop = mhentropy_reference(view, 256, change)
    picture = cv2.imencode(".png", np.dstack([large.astype(np.uint8) * 200] * 3))[1].ravel()
    cropped = crop.mask(mask)
    np.testing.assert_array_equal(cropped, crop.image(picture, "x")[..., 0] == 200)
    assert 0.1 < cropped.mean() < 0.9


def test_mhentropy_clips_width_at_height() -> None:
    # the worked example: hand (500, 100, 600, 200) and object (480, 90, 560, 260) in a 640x480 picture
    low, high = np.array([480, 90], np.float32), np.array([600, 260], np.float32)
    centre, half = clipped_square(low, high, (WIDTH, HEIGHT))
    assert centre.tolist() == [480, 175]
    assert 2 * half == 170
    with pytest.raises(InputError, match="outside"):
        mhentropy_reference(View((640, 480), INTRINSICS, np.array([560.0, 700, 600, 720])), 256, NO_CHANGE)


def test_mhentropy_lets_joints_be_four_pixels_outside() -> None:
    _, _, view = next(hands())
    crop = mhentropy_reference(view, 256, NO_CHANGE)
    values = np.array([-4.01, -4.0, 0.0, 255.0, 259.0, 259.01])
    expected = [False, True, True, True, True, False]
    assert crop.inside(np.column_stack([values, np.full(6, 100.0)])).tolist() == expected
    assert crop.inside(np.column_stack([np.full(6, 100.0), values])).tolist() == expected


@pytest.mark.parametrize("make", [amvur_reference, mhentropy_reference])
def test_a_left_hand_is_the_right_hand_of_the_mirrored_picture(make: Any) -> None:
    joints, _, view = list(hands())[1]
    mirror = np.array([-1.0, 1.0, 1.0])
    x0, y0, x1, y1 = view.box
    assert view.object_box is not None
    a0, b0, a1, b1 = view.object_box
    flip = crops.mirroring(WIDTH)
    mirrored = View(
        view.image_size,
        crops.crop_intrinsics(flip, INTRINSICS) @ np.diag(mirror),
        np.array([WIDTH - 1 - x1, y0, WIDTH - 1 - x0, y1]),
        np.array([WIDTH - 1 - a1, b0, WIDTH - 1 - a0, b1]),
        mirrored=True,
    )
    right, left = make(view, 128, NO_CHANGE), make(mirrored, 128, NO_CHANGE)
    flipped = cv2.imencode(".png", NOISE[:, ::-1, ::-1])[1].ravel()
    np.testing.assert_array_equal(left.image(flipped, "x"), right.image(PNG, "x"))
    np.testing.assert_allclose((joints * mirror) @ left.scene.T, joints)
    np.testing.assert_allclose(left.project(joints), right.project(joints), atol=1e-6)
    points = np.array([[100.0, 50.0], [300.0, 200.0]])
    np.testing.assert_allclose(
        crops.apply(left.transform, crops.apply(flip, points)), crops.apply(right.transform, points)
    )


def test_the_corrected_rules_are_the_reference_without_rounding() -> None:
    for _, _, view in hands():
        centre, side = crops.square_crop(view.box, view.image_size, "amvur")
        x0, y0, x1, y1 = amvur_reference(view, 224, NO_CHANGE).corners
        np.testing.assert_allclose([x0, x1, y0, y1], np.repeat(centre, 2) + np.tile([-0.5, 0.5], 2) * side, atol=1)
        if view.object_box is None and (view.box > 0).all() and view.box[2:].max() < 400:
            centre, side = crops.square_crop(view.box, view.image_size, "mhentropy")
            reference, half = mhentropy_square(view)
            np.testing.assert_allclose(reference, centre, atol=2)
            assert 2 * half == pytest.approx(side, abs=2)
