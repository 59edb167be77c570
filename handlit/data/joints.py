"""Hands that are never rendered: 2D joints as a detector would find them, with exact labels, for methods that lift."""

from typing import Any

import roma
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate
from typing_extensions import override

from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.sampling import SeededIndex
from handlit.data.synthesis.detector_noise import DetectorNoise, detect
from handlit.data.synthesis.population import Hands, Population, draw_hands
from handlit.errors import InputError, check_choice, check_number
from handlit.geometry.cameras import project
from handlit.geometry.crops import PLAIN_MARGIN
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.program import program
from handlit.skeleton import JOINTS, TipConvention
from handlit.types import OPTIONAL_LABELS, HandBatch

_MIDDLE = JOINTS.index("middle_1")
#: Seeds of the hands that do not change from epoch to epoch.
_FIXED = {"val": 7, "test": 11}
_LABELS = {"root_cam", "joints_cam", "joints_2d", "confidence", "detected", "pose", "betas", "ratios"}


class _Numbers(Dataset[Tensor]):
    """Index and seed of each sample; hands are made of them a batch at a time."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int | SeededIndex) -> Tensor:
        index, seed = (item.index, item.seed) if isinstance(item, SeededIndex) else (item, self.seed)
        return torch.tensor([index, seed])


class SyntheticJoints(HandDataModule):
    """Endless synthetic hands as 2D joints, and fixed ones for validation and test.

    Images are black: there is nothing to see but joints. Training hands are new in every epoch and depend on the run's
    seed, the epoch and their batch's place in it.

    Args:
        batch_size: Hands per process and step.
        num_workers: Loader processes; none is fastest, as they have nothing to do.
        epoch_samples: Training hands that make an epoch.
        val_samples: Hands of the validation set.
        test_samples: Hands of the test set.
        population: What varies from hand to hand.
        noise: How the detector errs.
        tips: Vertices that are the finger tips' joints.
        **kwargs: Arguments of `HandDataModule`.

    Raises:
        InputError: A number is out of range.
    """

    box_source = "around the detected joints"

    def __init__(
        self,
        batch_size: int = 512,
        num_workers: int = 0,
        epoch_samples: int = 512_000,
        val_samples: int = 2000,
        test_samples: int = 4000,
        population: Population | None = None,
        noise: DetectorNoise | None = None,
        tips: TipConvention = "ho3d",
        **kwargs: Any,
    ) -> None:
        super().__init__(crop="plain", batch_size=batch_size, num_workers=num_workers, **kwargs)
        for name, value in {"epoch": epoch_samples, "val": val_samples, "test": test_samples}.items():
            check_number(f"{name}_samples", value, least=1, whole=True)
        check_choice("tips", tips, TipConvention)
        self.counts = {"train": epoch_samples, "val": val_samples, "test": test_samples}
        self.population = population or Population()
        self.noise = noise or DetectorNoise()
        self.tips = tips
        self._fixed: dict[int, HandBatch] = {}

    @override
    def setup(self, stage: str) -> None:
        """Draw the natural poses that hands start from, and the hands of the fixed splits.

        Raises:
            InputError: The stage is prediction, which is of images.
        """
        if stage == "predict":
            raise InputError(f"there is nothing to predict: synthetic joints have no images ({program()} test does)")
        if self.datasets:
            return
        self._angles = JointAngles()
        self._natural = self.population.natural_poses()
        for split, count in self.counts.items():
            self.datasets[split] = _Numbers(count, _FIXED.get(split, 0))  # type: ignore[assignment]

    @override
    def _loader_options(self) -> dict[str, Any]:
        return super()._loader_options() | {"collate_fn": default_collate}

    @override
    def on_after_batch_transfer(self, batch: Tensor, dataloader_idx: int) -> HandBatch:  # type: ignore[override]
        """Make the hands whose numbers (B, 2) the loader gave, on the CPU, and move them to its device."""
        index, seed = batch.cpu().unbind(1)
        number = int(seed[0])
        if number not in _FIXED.values():
            return self._make(len(batch), index, number).to(batch.device)
        if number not in self._fixed:
            count = self.counts[{seed: split for split, seed in _FIXED.items()}[number]]
            self._fixed[number] = self._make(count, torch.arange(count), number)
        return _rows(self._fixed[number], index).to(batch.device)

    def _make(self, count: int, index: Tensor, seed: int) -> HandBatch:
        generator = torch.Generator().manual_seed(seed)
        return self.batch_of(draw_hands(self.population, self._natural, count, generator), index, seed, generator)

    def batch_of(self, hands: Hands, index: Tensor, seed: int, generator: torch.Generator) -> HandBatch:
        """Let the detector look at hands.

        Args:
            hands: N of them.
            index: (N,) their numbers.
            seed: What they are of; part of their keys.
            generator: On the CPU, of the detector's noise.

        Returns:
            Batch with the hands' labels, in crops around what was found.
        """
        count = len(index)
        joints_cam, intrinsics = place(hands, self.hand, self._angles)
        joints_2d = project(joints_cam, intrinsics)
        detected = detect(joints_2d, joints_cam, self.noise, generator)
        joints_cam, intrinsics = assume_camera(joints_cam, intrinsics, hands.assumed)
        transform, intrinsics = crop_around(detected, intrinsics, self.image_size)
        detected[..., :2] = torch.where(detected[..., 2:] > 0, _apply(transform, detected[..., :2]), 0.0)
        values = {
            "root_cam": joints_cam[:, 0],
            "joints_cam": joints_cam,
            "joints_2d": _apply(transform, joints_2d),
            "confidence": torch.ones(count, 21),
            "detected": detected,
            "pose": _pose(hands, self._angles),
            "betas": hands.betas,
            "ratios": hands.ratios,
        }
        size = (self.image_size, self.image_size)
        for name, (shape, dtype) in OPTIONAL_LABELS.items():
            values.setdefault(name, torch.zeros((), dtype=dtype).expand(count, *(shape or size)))
        return HandBatch(
            key=[f"joints/{seed}/{i}" for i in index.tolist()],
            index=index,
            image=torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(count, 3, *size),
            intrinsics=intrinsics,
            crop_transform=transform,
            valid={name: torch.full((count,), name in _LABELS) for name in OPTIONAL_LABELS},
            **values,
        )


def place(hands: Hands, hand: HandLayer, angles: JointAngles) -> tuple[Tensor, Tensor]:
    """Joints (N, 21, 3) in the camera frame, metres, and intrinsics (N, 3, 3) of an image 640 pixels wide."""
    fingers = roma.rotmat_to_rotvec(angles.matrices(hands.free)).flatten(1)
    orient = roma.rotmat_to_rotvec(hands.rotation)
    joints = hand.joints_only(fingers, hands.betas, orient, ratios=hands.ratios)
    ray = torch.cat([hands.centre / hands.focal[:, None], torch.ones(len(joints), 1)], 1)
    joints = joints - joints[:, _MIDDLE, None] + (ray * hands.depth[:, None])[:, None]
    intrinsics = torch.eye(3).repeat(len(joints), 1, 1)
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = 640 * hands.focal
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = 319.5, 239.5
    return joints + hands.definition, intrinsics


def assume_camera(joints_cam: Tensor, intrinsics: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """What a camera with another focal length would take the hands for: as large in the image, but nearer or farther.

    Args:
        joints_cam: (N, 21, 3) camera frame, metres.
        intrinsics: (N, 3, 3) pixels.
        factor: (N,) on the focal length.

    Returns:
        Joints (N, 21, 3), whose shape is the same and whose wrist projects to the same pixel, and intrinsics.
    """
    root = joints_cam[:, :1]
    moved = torch.cat([root[..., :2], root[..., 2:] * factor[:, None, None]], -1)
    intrinsics = intrinsics.clone()
    intrinsics[:, (0, 1), (0, 1)] *= factor[:, None]
    return joints_cam - root + moved, intrinsics


def crop_around(detected: Tensor, intrinsics: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Plain crops around the joints that were found: transforms (N, 2, 3) and intrinsics (N, 3, 3) of the crops."""
    found = detected[..., 2:] > 0
    low = torch.where(found, detected[..., :2], torch.inf).amin(1)
    high = torch.where(found, detected[..., :2], -torch.inf).amax(1)
    zoom = size / (PLAIN_MARGIN * (high - low).amax(1).clamp(min=1.0))
    centre = (low + high) / 2
    transform = torch.zeros(len(detected), 2, 3)
    transform[:, 0, 0] = transform[:, 1, 1] = zoom
    transform[:, :, 2] = (size - 1) / 2 - zoom[:, None] * centre
    bottom = torch.tensor([0.0, 0.0, 1.0]).expand(len(detected), 1, 3)
    return transform, torch.cat([transform, bottom], 1) @ intrinsics


def _apply(transform: Tensor, points: Tensor) -> Tensor:
    """Pixels (N, 21, 2) through affine maps (N, 2, 3)."""
    return points @ transform[:, :, :2].mT + transform[:, None, :, 2]


def _pose(hands: Hands, angles: JointAngles) -> Tensor:
    """(N, 48) axis-angle."""
    fingers = roma.rotmat_to_rotvec(angles.matrices(hands.free)).flatten(1)
    return torch.cat([roma.rotmat_to_rotvec(hands.rotation), fingers], 1)


def _rows(batch: HandBatch, index: Tensor) -> HandBatch:
    """Some samples of a batch."""
    values: dict[str, Any] = {}
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            # what is black or unknown is one number in memory, and stays so
            values[name] = value[:1].expand(len(index), *value.shape[1:]) if value.stride(0) == 0 else value[index]
        elif isinstance(value, dict):
            values[name] = {label: flag[index] for label, flag in value.items()}
        else:
            values[name] = [value[i] for i in index.tolist()]
    return HandBatch(**values)
