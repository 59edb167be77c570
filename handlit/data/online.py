"""Synthetic hands rendered while training, on the training device: endless, and nothing on disk."""

from functools import cached_property
from typing import Any

import numpy as np
from torch.utils.data import Dataset, default_collate

from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.sampling import SeededIndex
from handlit.data.synthesis.appearance import SkinRegions, skin_regions
from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.online_renderer import NUM_OBJECTS, OnlineRenderer
from handlit.data.synthesis.online_scene import OnlineScene, sample_online_scene
from handlit.data.synthesis.presets import PRESETS, PresetName, ScenePreset
from handlit.errors import InputError, check_choice, check_number
from handlit.geometry.crops import PLAIN_MARGIN
from handlit.hand.articulation import sample_poses
from handlit.hand.loading import load_hand
from handlit.program import program
from handlit.skeleton import TipConvention
from handlit.types import HandBatch

#: Natural poses that images start from; they lie at one of these or on the way to another.
NUM_POSES = 4096
#: First number of the random sources of images that are no training samples.
VALIDATION_SOURCE = 7


class OnlineScenes(Dataset[OnlineScene]):
    """Random scenes; a `SeededIndex` carries its scene's seed, a bare index gives the fixed scene of that number.

    Args:
        count: Samples.
        poses: (P, 45) natural finger poses.
        regions: Where the hand's skin differs.
        preset: Views, spread of pose and shape, distances.
        occlusion: Probability that the object is before the hand.
    """

    def __init__(
        self, count: int, poses: np.ndarray, regions: SkinRegions, preset: ScenePreset, occlusion: float
    ) -> None:
        self.count = count
        self.poses = poses
        self.regions = regions
        self.preset = preset
        self.occlusion = occlusion

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int | SeededIndex) -> OnlineScene:
        if isinstance(item, SeededIndex):
            index, key, source = item.index, f"online/{item.seed}", [item.seed]
        else:
            index, key, source = item, f"online/validation/{item}", [VALIDATION_SOURCE, item]
        rng = np.random.default_rng(source)
        return sample_online_scene(key, index, self.poses, self.regions, NUM_OBJECTS, self.preset, self.occlusion, rng)


class OnlineHands(HandDataModule):
    """Endless synthetic training data with exact labels, and a fixed set of images for validation.

    The loader's workers draw the numbers that an image is made from; images are rendered a batch at a time on the
    training device. Training images are new in every epoch and depend on the run's seed, the epoch and their place
    in it, whatever the workers and processes; validation images depend on their number alone. Every label is known:
    pose, shape, mesh, joints, masks and visibility. There is nothing to test on or to predict: that is what a
    dataset's evaluation split is for.

    Args:
        batch_size: Samples per process and step.
        num_workers: Loader processes.
        epoch_samples: Training images that make an epoch.
        val_samples: Images of the validation set.
        preset: Views, spread of poses and shapes, and distances, as for `synth`; objects are not held.
        occlusion: Share of the images whose object lies before the hand; in the others it lies behind.
        margin: Side of the images relative to the longer side of the hand's box; a random zoom is on top. About
            that of the crop rule the training continues with: 1.5 for plain and MHEntropy's crops, 1.8 for AMVUR's.
        tips: Vertices that are the finger tips' joints: those of the dataset the training continues with.
        **kwargs: Arguments of `HandDataModule`.

    Raises:
        InputError: A number is out of range.
    """

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 4,
        epoch_samples: int = 100_000,
        val_samples: int = 1000,
        preset: PresetName = "full",
        occlusion: float = 0.5,
        margin: float = PLAIN_MARGIN,
        tips: TipConvention = "ho3d",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            crop="plain",
            batch_size=batch_size,
            num_workers=num_workers,
            augmentation=None,
            masks=False,
            on_error="raise",
            max_errors=0,
            **kwargs,
        )
        check_number("epoch_samples", epoch_samples, least=1, whole=True)
        check_number("val_samples", val_samples, least=1, whole=True)
        check_choice("preset", preset, PRESETS)
        check_choice("tips", tips, TipConvention)
        check_number("occlusion", occlusion, least=0, most=1)
        check_number("margin, relative to the hand's box,", margin, least=1, most=10)
        self.epoch_samples = epoch_samples
        self.val_samples = val_samples
        self.preset = PRESETS[preset]
        self.occlusion = occlusion
        self.margin = margin
        self.tips = tips

    @cached_property
    def renderer(self) -> OnlineRenderer:
        """Makes images and labels from scenes."""
        return OnlineRenderer(HandModel(load_hand(self.mano_path)), self.hand, self.image_size, self.margin)

    def setup(self, stage: str) -> None:
        """Draw the poses that images start from.

        Raises:
            InputError: The stage needs an evaluation split.
        """
        if stage in ("test", "predict"):
            raise InputError(
                f"there is nothing to {stage} on: OnlineHands makes training and validation images only. Give the "
                f"--data config of a dataset, or write one: {program()} synth"
            )
        if self.datasets:
            return
        regions = skin_regions(load_hand(self.mano_path))
        poses = sample_poses(NUM_POSES, seed=0)
        for split, count in (("train", self.epoch_samples), ("val", self.val_samples)):
            self.datasets[split] = OnlineScenes(count, poses, regions, self.preset, self.occlusion)  # type: ignore[assignment]

    def _loader_options(self) -> dict[str, Any]:
        return super()._loader_options() | {"collate_fn": default_collate}

    def on_after_batch_transfer(  # type: ignore[override]
        self, batch: OnlineScene, dataloader_idx: int
    ) -> HandBatch:
        """Render the scenes that the loader has drawn, on the batch's device."""
        return self.renderer.to(batch.scene.pose.device)(batch)
