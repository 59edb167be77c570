"""Images in, hands out, with a fake detector and a fake lift; the real ones have tests of their own."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.reconstruct import Reconstructor
from handlit.reconstruct.reconstructor import LiftedHands, camera_of, read_rgb
from tests.reconstruct.fakes import FakeDetector, FakeLift, detected_hand, picture

HAND = detected_hand()


@pytest.fixture
def reconstructor() -> Reconstructor:
    return Reconstructor(LiftedHands(FakeLift()), detector=FakeDetector(HAND))


def test_a_hand_lies_where_it_was_detected(reconstructor: Reconstructor) -> None:
    (hand,) = reconstructor(picture())
    assert hand.right
    assert hand.side == "right"
    assert (hand.vertices.shape, hand.faces.shape, hand.pose.shape, hand.betas.shape) == (
        (778, 3),
        (1538, 3),
        (48,),
        (10,),
    )
    assert {values.dtype for values in (hand.joints_root, hand.vertices, hand.camera, hand.box)} == {np.dtype("f4")}
    shown = project(torch.from_numpy(hand.joints_cam), torch.from_numpy(hand.intrinsics)).numpy()
    assert np.linalg.norm(shown - HAND.joints_2d, axis=1).mean() < 4
    weak = hand.camera[0] * hand.joints_root[:, :2] + hand.camera[1:]
    assert np.linalg.norm(weak - HAND.joints_2d, axis=1).mean() < 8
    assert hand.joints_mm == pytest.approx(1000 * hand.joints_root)
    assert hand.scale_mm[0] == 0
    assert hand.scale_mm[1:] == pytest.approx(np.full(20, 7.0))
    assert hand.spread_mm == pytest.approx(7)


def test_a_mirrored_image_gives_the_mirrored_hand(reconstructor: Reconstructor) -> None:
    (right,), (left,) = reconstructor([picture(), picture(mirror=True)])
    mirror = np.array([-1, 1, 1], np.float32)
    assert (right.right, left.right) == (True, False)
    assert left.joints_root == pytest.approx(right.joints_root * mirror, abs=1e-6)
    assert left.vertices == pytest.approx(right.vertices * mirror, abs=1e-6)
    assert left.root_cam == pytest.approx(right.root_cam * mirror, abs=1e-5)
    assert left.pose.reshape(16, 3) == pytest.approx(right.pose.reshape(16, 3) * [1, -1, -1], abs=1e-5)
    assert left.camera == pytest.approx([right.camera[0], 239 - right.camera[1], right.camera[2]], rel=1e-5)
    assert left.joint_scale == pytest.approx(right.joint_scale)
    assert left.faces.tolist() == right.faces[:, ::-1].tolist()
    assert left.intrinsics == pytest.approx(right.intrinsics)
    drawn, other = right.hypotheses(7, seed=3), left.hypotheses(7, seed=3)
    assert other.joints_root == pytest.approx(drawn.joints_root * mirror, abs=1e-6)
    assert other.joints_2d == pytest.approx(drawn.joints_2d * [-1, 1] + [239, 0], abs=1e-3)


def test_hypotheses_are_reproducible_and_leave_the_global_state_alone(reconstructor: Reconstructor) -> None:
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    (hand,) = reconstructor(picture())
    first, again, other = (hand.hypotheses(50, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()
    assert first.joints_root.tolist() == again.joints_root.tolist()
    assert first.joints_root.tolist() != other.joints_root.tolist()
    assert len(first) == 50
    assert (first.joints_mm.shape, first.vertices.shape, first.log_prob.shape) == ((50, 21, 3), (50, 778, 3), (50,))
    assert hand.hypotheses(2, temperature=0).joints_root[1] == pytest.approx(hand.joints_root)
    with pytest.raises(InputError, match="count of hypotheses"):
        hand.hypotheses(0)


def test_files_arrays_and_tensors_of_one_image_give_one_hand(reconstructor: Reconstructor, tmp_path: Path) -> None:
    image = picture()
    for name, pixels in {
        "colour.png": image[..., ::-1],
        "deep.png": image[..., ::-1].astype(np.uint16) * 257,
        "grey.png": image[..., 0],
    }.items():
        assert cv2.imwrite(str(tmp_path / name), pixels)
    inputs: list[Any] = [image, torch.from_numpy(image), torch.from_numpy(image).permute(2, 0, 1), image[..., 0]]
    inputs += [tmp_path / "colour.png", str(tmp_path / "deep.png"), tmp_path / "grey.png"]
    hands = reconstructor(inputs)
    assert [len(found) for found in hands] == [1] * len(inputs)
    assert all(found[0].vertices.tolist() == hands[0][0].vertices.tolist() for found in hands)
    assert read_rgb(tmp_path / "deep.png").tolist() == image.tolist()
    assert read_rgb(tmp_path / "grey.png").tolist() == read_rgb(image[..., 0]).tolist()


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 5, 3)), np.zeros((4, 5, 4), np.uint8), np.zeros((0, 5, 3), np.uint8), torch.zeros(3, 4, 5)]
)
def test_what_is_no_image_is_refused(reconstructor: Reconstructor, wrong: Any) -> None:
    with pytest.raises(InputError, match="an image is uint8"):
        reconstructor(wrong)


def test_boxes_and_cameras_are_taken_and_checked(reconstructor: Reconstructor) -> None:
    boxes = [[60, 50, 180, 130], [50, 40, 190, 140.0]]
    hands = reconstructor(picture(), boxes)
    assert [hand.box.tolist() for hand in hands] == boxes
    assert [len(each) for each in reconstructor([picture(), picture()], [boxes, None])] == [2, 1]
    near, far = (reconstructor(picture(), focal_px=focal)[0] for focal in (200, 400))
    assert far.root_cam[2] / near.root_cam[2] == pytest.approx(2, rel=0.1)
    assert camera_of((240, 180), fov_deg=90)[0, 0] == pytest.approx(120)
    for wrong, words in (
        ({"boxes": [[300, 300, 400, 400]]}, "outside the 240x180 image"),
        ({"boxes": [1, 2, 3]}, "boxes are x0"),
        ({"fov_deg": 180}, "fov_deg"),
        ({"fov_deg": 60, "focal_px": 100}, "give one of them"),
    ):
        with pytest.raises(InputError, match=words):
            reconstructor(picture(), **wrong)
    with pytest.raises(InputError, match="2 images need"):
        reconstructor([picture(), picture()], [None])


def test_an_image_without_hands_gives_none() -> None:
    assert Reconstructor(LiftedHands(FakeLift()), detector=FakeDetector())(picture()) == []


def test_a_box_without_a_hand_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    from dataclasses import replace

    unseen = replace(HAND, confidence=np.zeros(21))
    assert Reconstructor(LiftedHands(FakeLift()), detector=FakeDetector(unseen))(picture()) == []
    assert "no hand is seen in the box" in caplog.text


def test_a_given_method_has_its_own_hand_model() -> None:
    with pytest.raises(InputError, match="leave mano_path out"):
        Reconstructor(LiftedHands(FakeLift()), mano_path="MANO_RIGHT.pkl", detector=FakeDetector())
