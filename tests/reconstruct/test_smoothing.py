"""A smoothed stream lies nearer to the truth than the single frames, at rest and in motion."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from handlit.data.synthesis.motion import rotation_matrices
from handlit.errors import InputError
from handlit.reconstruct import ReconstructedHand, Reconstructor
from handlit.reconstruct.reconstructor import LiftedHands
from handlit.reconstruct.smoothing import StreamSmoother
from tests.reconstruct.fakes import FakeDetector, FakeLift, detected_hand, picture

FPS = 30
#: Noise that is new in every frame, metres.
JITTER = 0.002


@lru_cache
def still() -> ReconstructedHand:
    reconstructor = Reconstructor(LiftedHands(FakeLift()), detector=FakeDetector(replace(detected_hand(), track=4)))
    return reconstructor(picture())[0]


def moving(hertz: float, frames: int = 90) -> list[ReconstructedHand]:
    """Fingers that open and close, and a palm that turns on through every angle, without noise."""
    layer, hand = FakeLift().hand, still()
    time = torch.arange(frames) / FPS
    pose = torch.from_numpy(hand.pose).repeat(frames, 1)
    bend = 0.3 * (1 - torch.cos(2 * torch.pi * hertz * time))
    pose[:, 3:] += bend[:, None] * torch.tensor([0.0, 0, 1]).repeat(15)
    angle = (2 * np.pi * hertz * time / 2 + np.pi) % (2 * np.pi)
    # beyond half a turn vectors point the other way: the numbers jump, the rotation does not
    pose[:, :3] = torch.where(angle > np.pi, angle - 2 * np.pi, angle)[:, None] * torch.tensor([0.0, 0.6, 0.8])
    vertices, joints = layer(pose[:, 3:], torch.from_numpy(hand.betas).repeat(frames, 1), pose[:, :3])
    vertices, joints = (points - joints[:, :1] for points in (vertices, joints))
    return [
        replace(hand, pose=each, joints_root=joint, vertices=vertex)
        for each, joint, vertex in zip(pose.numpy(), joints.numpy(), vertices.numpy(), strict=True)
    ]


def noisy(hands: list[ReconstructedHand]) -> list[ReconstructedHand]:
    rng = np.random.default_rng(0)
    scale = np.full((21, 3), 0.006, np.float32)
    scale[0] = 0
    result = []
    for hand in hands:
        shift = rng.normal(0, JITTER, (799, 3)).astype(np.float32)
        shift[0] = 0
        depth = np.float32(np.exp(rng.normal(0, 0.02)))
        result.append(
            replace(
                hand,
                joints_root=hand.joints_root + shift[:21],
                vertices=hand.vertices + shift[21:],
                pose=hand.pose + rng.normal(0, 0.05, 48).astype(np.float32),
                betas=hand.betas + rng.normal(0, 0.3, 10).astype(np.float32),
                root_cam=hand.root_cam * depth,
                camera=hand.camera / [depth, 1, 1],
                joint_scale=scale,
                vertex_scale=np.full((778, 3), 0.006, np.float32),
            )
        )
    return result


def smooth(hands: list[ReconstructedHand]) -> list[ReconstructedHand]:
    smoother = StreamSmoother()
    return [smoother([hand], 1 / FPS)[0] for hand in hands]


def errors(hands: list[ReconstructedHand], truth: list[ReconstructedHand], name: str) -> float:
    """Root mean square error after half a second; of poses that of rotation matrices."""
    mine, true = (_stacked(each, name)[15:] for each in (hands, truth))
    return float(np.sqrt(((mine - true) ** 2).mean()))


def jitter(hands: list[ReconstructedHand]) -> float:
    """Mean size of the joints' second differences, metres."""
    return float(np.linalg.norm(np.diff(_stacked(hands, "joints_root")[15:, 1:], n=2, axis=0), axis=-1).mean())


def _stacked(hands: list[ReconstructedHand], name: str) -> np.ndarray:
    values = np.stack([getattr(hand, name) for hand in hands])
    return rotation_matrices(values.reshape(len(hands), 16, 3)) if name == "pose" else values


@pytest.mark.parametrize(("hertz", "most"), [(0.0, 0.75), (0.25, 0.75), (0.5, 0.85), (1.0, 0.98), (3.0, 1.02)])
def test_a_smoothed_hand_is_nearer_to_the_truth_and_fast_ones_do_not_lag(hertz: float, most: float) -> None:
    truth = moving(hertz)
    seen = noisy(truth)
    smoothed = smooth(seen)
    for name in ("joints_root", "vertices", "pose", "betas", "root_cam"):
        assert errors(smoothed, truth, name) < most * errors(seen, truth, name)
    if hertz < 0.5:
        assert jitter(smoothed) < 0.45 * jitter(seen)


def test_the_wrist_stays_on_its_line_of_sight_and_what_was_detected_as_it_is() -> None:
    seen = noisy(moving(0.5, 20))
    for before, after in zip(seen, smooth(seen), strict=True):
        assert after.root_cam / after.root_cam[2] == pytest.approx(before.root_cam / before.root_cam[2], rel=1e-5)
        assert after.camera[0] * after.root_cam[2] == pytest.approx(before.camera[0] * before.root_cam[2], rel=1e-5)
        for name in ("joints_2d", "box", "joint_scale", "vertex_scale", "presence", "track", "right"):
            assert getattr(after, name) is getattr(before, name)
        assert after.joints_root[0].tolist() == [0, 0, 0]
        assert np.linalg.norm(after.pose.reshape(16, 3), axis=1).max() <= np.pi + 1e-5


def test_tracks_are_smoothed_apart_and_end() -> None:
    """Of two tracks, and of a hand that turns out to be the other one, none is drawn to the other's shape."""
    hand = still()
    other = replace(hand, track=5, joints_root=hand.joints_root * 2)
    smoother = StreamSmoother()
    for _ in range(5):
        first, second = smoother([hand, other], 1 / FPS)
    assert first.joints_root == pytest.approx(hand.joints_root, abs=1e-6)
    assert second.joints_root == pytest.approx(other.joints_root, abs=1e-6)
    (left,) = smoother([replace(other, track=4, right=False)], 1 / FPS)
    assert left.joints_root == pytest.approx(other.joints_root, abs=1e-6)
    smoother([], 0.6)
    (later,) = smoother([replace(hand, track=5)], 1 / FPS)
    assert later.joints_root == pytest.approx(hand.joints_root, abs=1e-6)


def test_a_method_without_pose_and_shape_is_smoothed_too() -> None:
    hands = [replace(hand, pose=None, betas=None) for hand in noisy(moving(0.0))]
    smoothed = smooth(hands)
    assert jitter(smoothed) < 0.45 * jitter(hands)
    assert smoothed[-1].pose is None
    assert smoothed[-1].betas is None


def test_time_must_pass() -> None:
    with pytest.raises(InputError, match="seconds since the last frame"):
        StreamSmoother()([still()], 0.0)
