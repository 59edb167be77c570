"""Hands as people have them and hold them, as parameters: poses, shapes, proportions, orientations and cameras.

References:
    The spread of bone lengths: Buryanov and Kotiuk, "Proportions of Hand Segments", International Journal of Morphology
    2010, https://doi.org/10.4067/S0717-95022010000300015 (standard deviations of 6 to 9 % of a phalanx's length,
    of which the shape coefficients explain the size of the hand).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from handlit.errors import check_number
from handlit.hand.articulation import sample_angles
from handlit.hand.joint_angles import FREE_ANGLES, NUM_FREE, JointAngles
from handlit.hand.proportions import NUM_BONES

#: Natural poses that hands start from; they lie at one of these or on the way to another.
NUM_POSES = 20_000


@dataclass
class Population:
    """What varies from hand to hand, and by how much.

    Attributes:
        any_pose: Share of hands whose every joint is anywhere in its range.
        pressed: Share of hands of which something presses one or more fingers.
        other_fingers: Share of fingers that are held as in another natural pose than the hand's.
        shape: Standard deviation of the shape coefficients.
        finger_length: Standard deviation of the log length of a whole finger, beyond the shape's.
        bone_length: The same of a single bone.
        definition_mm: Largest standard deviation of where a joint is said to lie, per coordinate; a source of labels
            has one between 0 and this.
        distance_m: Nearest and farthest wrist.
        fov_deg: Smallest and largest field of view across the image's longer side.
        assumed_camera: Share of hands whose camera is not known, but assumed.
        assumed_focal: Standard deviation of the log focal length that is then assumed.
        postures: Names of the postures that natural poses are mixed of; all when None.
    """

    any_pose: float = 0.05
    pressed: float = 0.1
    other_fingers: float = 0.15
    shape: float = 1.0
    finger_length: float = 0.04
    bone_length: float = 0.03
    definition_mm: float = 3.0
    distance_m: tuple[float, float] = (0.25, 1.2)
    fov_deg: tuple[float, float] = (40.0, 80.0)
    assumed_camera: float = 0.4
    assumed_focal: float = 0.2
    postures: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("any_pose", "pressed", "other_fingers", "assumed_camera"):
            check_number(name, getattr(self, name), least=0, most=1)
        for name in ("shape", "finger_length", "bone_length", "definition_mm", "assumed_focal"):
            check_number(name, getattr(self, name), least=0)
        for name, (low, high) in {"distance_m": self.distance_m, "fov_deg": self.fov_deg}.items():
            check_number(name, low, above=0, most=high)
        check_number("fov_deg", self.fov_deg[1], below=180)

    def natural_poses(self, seed: int = 0) -> Tensor:
        """(P, 27) free joint angles of natural poses, the same for the same seed."""
        angles = torch.from_numpy(sample_angles(NUM_POSES, seed, postures=self.postures)).float()
        joint, axis = FREE_ANGLES.T
        units = JointAngles()
        return (angles[:, joint, axis] - units.middle) / units.unit


@dataclass
class Hands:
    """Hands of a population, before they are posed.

    Attributes:
        free: (N, 27) joint angles, see `hand.joint_angles`.
        betas: (N, 10).
        ratios: (N, 20) of bone lengths.
        definition: (N, 21, 3) metres, where a joint is said to lie beside the model's, camera axes; the wrist's is 0.
        rotation: (N, 3, 3) global rotation in the camera frame, uniform.
        focal: (N,) focal length, in longer sides of the image.
        centre: (N, 2) where the hand's middle projects to, in longer sides of the image from its centre.
        depth: (N,) of the hand's middle, metres.
        assumed: (N,) factor from the true to the assumed focal length; 1 where it is known.
    """

    free: Tensor
    betas: Tensor
    ratios: Tensor
    definition: Tensor
    rotation: Tensor
    focal: Tensor
    centre: Tensor
    depth: Tensor
    assumed: Tensor


def draw_hands(population: Population, natural: Tensor, count: int, generator: torch.Generator) -> Hands:
    """Draw hands.

    Args:
        population: What varies.
        natural: (P, 27), `Population.natural_poses`.
        count: N.
        generator: On the CPU.

    Returns:
        Hands, each independent of the others.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    def spread(low: float, high: float) -> Tensor:
        return (math.log(low) + (math.log(high) - math.log(low)) * uniform()).exp()

    finger = population.finger_length * normal(5, 1).expand(-1, -1, 4).flatten(1)
    definition = population.definition_mm / 1000 * uniform(1, 1) * normal(21, 3)
    definition[:, 0] = 0
    angle = torch.deg2rad(population.fov_deg[0] + (population.fov_deg[1] - population.fov_deg[0]) * uniform())
    unknown = uniform() < population.assumed_camera
    return Hands(
        free=_free_angles(population, natural, count, generator),
        betas=population.shape * normal(10),
        ratios=(finger + population.bone_length * normal(NUM_BONES)).exp(),
        definition=definition,
        rotation=roma.unitquat_to_rotmat(torch.nn.functional.normalize(normal(4), dim=1)),
        focal=0.5 / (angle / 2).tan(),
        # an image of 4:3 or 16:9 in which the hand's middle is anywhere
        centre=(uniform(2) - 0.5) * torch.tensor([0.9, 0.65]),
        depth=spread(*population.distance_m),
        assumed=torch.where(unknown, (population.assumed_focal * normal()).exp(), 1.0),
    )


def _free_angles(population: Population, natural: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(N, 27) joint angles: natural poses, what lies between two and fingers of others, any pose, pressed fingers."""
    first, second = torch.randint(len(natural), (2, count), generator=generator)
    kind = torch.rand(count, generator=generator)[:, None]
    towards = torch.rand(count, 1, generator=generator) ** 3
    noise = torch.randn(count, NUM_FREE, generator=generator)
    pose = natural[first] + towards * (natural[second] - natural[first])
    finger = torch.from_numpy(FREE_ANGLES[:, 0] // 3)
    elsewhere = torch.randint(len(natural), (count, 5), generator=generator)[:, finger]
    other = torch.rand(count, 5, generator=generator) < population.other_fingers
    pose = torch.where(other[:, finger], natural[elsewhere, torch.arange(NUM_FREE)], pose) + 0.1 * noise
    anywhere = 4 * torch.rand(count, NUM_FREE, generator=generator) - 2
    hit = torch.rand(count, 5, generator=generator) < 0.4
    pushed = pose + torch.where(hit[:, finger], 0.6 * torch.randn(count, NUM_FREE, generator=generator), 0.0)
    pose = torch.where(kind < population.any_pose + population.pressed, pushed, pose)
    return torch.where(kind < population.any_pose, anywhere, pose.clamp(-2.6, 2.6))
