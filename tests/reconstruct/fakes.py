"""A lift and a detector of a few lines, which hold what the real ones promise, for tests without their files."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from handlit.geometry.cameras import fit_root, project
from handlit.geometry.orthographic_pose import fit_orthographic_rotation
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.landmarks import DetectedHand
from handlit.types import HandPrediction, Hypotheses

#: Standard deviation that the fake states for x, y and z, metres.
SCALE = (0.002, 0.003, 0.006)


@dataclass(frozen=True)
class FakeHands:
    """Hands that differ from a mean by a Gaussian shift of all points but the wrist."""

    joints: Tensor
    vertices: Tensor
    pose: Tensor
    betas: Tensor
    joints_2d: Tensor

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        shift = temperature * torch.randn(len(self.joints), count, 1, 3) * torch.tensor(SCALE)
        joints = self.joints[:, None] + shift
        joints[:, :, 0] = 0
        return Hypotheses(
            joints,
            self.joints_2d[:, None].expand(-1, count, -1, -1),
            self.vertices[:, None] + shift if vertices else None,
            log_prob=-shift[:, :, 0].square().sum(-1),
            pose=self.pose[:, None].expand(-1, count, -1),
            betas=self.betas[:, None].expand(-1, count, -1),
        )


class FakeLift(nn.Module):
    """A flat hand with a bent index finger, turned so that its parallel projection resembles the given joints."""

    def __init__(self) -> None:
        super().__init__()
        self.hand = HandLayer(load_hand())
        fingers = torch.zeros(1, 45)
        fingers[:, 2:9:3] = 0.4
        self.fingers = fingers

    def lift(self, joints_2d: Tensor, confidence: Tensor, intrinsics: Tensor) -> HandPrediction:
        assert not torch.is_grad_enabled()
        size, betas = len(joints_2d), torch.full((len(joints_2d), 10), 0.5)
        fingers = self.fingers.expand(size, -1)
        rest = self.hand(fingers, betas).joints
        turn = fit_orthographic_rotation(rest, joints_2d, confidence > 0)
        orient = _rotation_vector(turn)
        vertices, joints = self.hand(fingers, betas, orient)
        vertices, joints = vertices - joints[:, :1], joints - joints[:, :1]
        root = fit_root(joints, joints_2d, intrinsics)
        projected = project(joints + root[:, None], intrinsics)
        scale = torch.tensor(SCALE).expand(size, 778, 3)
        focal = intrinsics[:, 0, 0]
        pose = torch.cat([orient, fingers], 1)
        return HandPrediction(
            vertices_root=vertices,
            joints_root=joints,
            joints_2d=projected,
            vertex_scale=scale,
            joint_scale=scale[:, :21] * (torch.arange(21) > 0)[:, None],
            camera=torch.cat([(focal / root[:, 2])[:, None], projected[:, 0]], 1),
            distribution=FakeHands(joints, vertices, pose, betas, projected),
            pose=pose,
            betas=betas,
            root_cam=root,
        )


def _rotation_vector(matrix: Tensor) -> Tensor:
    import roma

    vectors: Tensor = roma.rotmat_to_rotvec(matrix)
    return vectors


class FakeDetector:
    """Finds given hands in every image; in a mirrored image their mirror images, as a detector does.

    Args:
        hands: What is found.
        width: Of an image that is not mirrored; such an image has a pixel of value 0 in its top-left corner, and a
            mirrored one has not.
    """

    def __init__(self, *hands: DetectedHand) -> None:
        self.hands = hands
        self.calls = 0

    def __call__(self, image: np.ndarray, boxes: np.ndarray | None = None) -> list[DetectedHand]:
        self.calls += 1
        hands = list(self.hands)
        if boxes is not None:
            hands = [replace(hands[0], box=box) for box in boxes]
        return [mirrored(hand, image.shape[1]) for hand in hands] if image[0, 0].any() else hands


def detected_hand(centre: tuple[float, float] = (120, 90), size: float = 80, turn: float = 0.3) -> DetectedHand:
    """A right hand as a detector sees it: the fake's own hand, turned in the image and tilted, with noise."""
    lift = FakeLift()
    orient = torch.tensor([[1.2, turn, 0.4]])
    joints = lift.hand(lift.fingers, torch.zeros(1, 10), orient).joints[0, :, :2].numpy().astype(np.float64)
    joints = joints - (joints.min(0) + joints.max(0)) / 2
    joints_2d = joints * size / np.ptp(joints, axis=0).max() + centre
    joints_2d += np.random.default_rng(0).normal(0, 0.01 * size, joints_2d.shape)
    box = np.concatenate([joints_2d.min(0), joints_2d.max(0)])
    return DetectedHand(box, True, 0.97, joints_2d, np.full(21, 0.9), 0.95, None)


def mirrored(hand: DetectedHand, width: int) -> DetectedHand:
    """The hand in the mirrored image."""
    joints_2d = hand.joints_2d * [-1, 1] + [width - 1, 0]
    box = np.concatenate([joints_2d.min(0), joints_2d.max(0)])
    return replace(hand, right=not hand.right, handedness=1 - hand.handedness, joints_2d=joints_2d, box=box)


def picture(width: int = 240, height: int = 180, mirror: bool = False) -> np.ndarray:
    """An image with a black top-left pixel, or its mirror image."""
    image = np.random.default_rng(1).integers(60, 200, (height, width, 3), dtype=np.uint8)
    image[0, 0] = 0
    return np.ascontiguousarray(image[:, ::-1]) if mirror else image
