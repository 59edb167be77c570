"""FreiHAND, release 2, as a data module; what lies on disk: `handlit.formats.freihand`, docs/reference/freihand.md."""

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.visibility import visibility_from_mesh
from handlit.errors import InputError, check_choice, check_number
from handlit.formats.frame_table import FrameTable
from handlit.formats.freihand import (
    FREIHAND,
    VERSIONS,
    ColourVersion,
    FreiHANDSplit,
    list_file,
    read_evaluation,
    read_mask,
    read_scales,
    read_training,
)
from handlit.formats.ground_truth import with_ground_truth
from handlit.formats.index import cached_arrays, cached_frames, fingerprint
from handlit.geometry.crops import CropRule
from handlit.hand.loading import load_hand

#: Validation takes the last samples of each block of this length: neighbours in the list may be neighbours in time.
VALIDATION_BLOCK = 1000


def held_out(samples: np.ndarray, count: int, fraction: float) -> np.ndarray:
    """Choose samples for validation: the last ones of every block of 1,000 in the dataset's order.

    Args:
        samples: (N,) sample of each image; versions of a sample have the same number.
        count: Samples of the dataset.
        fraction: Share of the samples, at least 0 and below 1.

    Returns:
        (N,) bool, True for validation.
    """
    block = min(VALIDATION_BLOCK, count)
    return samples % block >= block - min(int(np.ceil(fraction * block)), block - 1)


class FreiHAND(HandDataModule):
    """Training, validation and evaluation splits of FreiHAND, release 2.

    The images are crops of hands already. With the crop rule ``whole`` training and evaluation both take them as they
    are. Every other rule needs a box: around the joints in training; in evaluation, where joints are not given, the
    whole image, so that hands are then smaller in the crop than in training.

    The evaluation split gives each hand's camera and scale, and its root only in the ground truth that was released
    later. Without that file a submission's roots are fitted to the predicted 2D joints.

    Args:
        root: Folder with ``training_K.json``, ``training/`` and ``evaluation/``.
        versions: Colour versions to train on: ``gs``, ``hom``, ``sample``, ``auto``; None for all four.
        crop: Rule that cuts a square out of the image.
        val_fraction: Share of the training samples, with all their versions, that is held out for validation.
        visibility: ``"mesh"`` labels which joints and vertices the hand itself does not hide, by its mesh; computed
            once. The dataset does not know the objects that hide others.
        **kwargs: Arguments of `HandDataModule`. Only training samples have masks.
    """

    protocol = FREIHAND.name
    box_source = "the whole image"
    tips = FREIHAND.tips
    mask_reader = staticmethod(read_mask)

    def __init__(
        self,
        root: str,
        versions: list[ColourVersion] | None = None,
        crop: CropRule = "whole",
        val_fraction: float = 0.05,
        visibility: Literal["none", "mesh"] = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(crop=crop, **kwargs)
        chosen = list(VERSIONS) if versions is None else versions
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(VERSIONS):
            raise InputError(f"versions must be some of {', '.join(VERSIONS)}, each once, got {versions}")
        check_choice("visibility", visibility, ("none", "mesh"))
        check_number("val_fraction", val_fraction, least=0, below=1)
        self.root = Path(root)
        self.versions: list[ColourVersion] = [version for version in VERSIONS if version in chosen]
        self.val_fraction = val_fraction
        self.visibility = visibility
        self._tables: dict[FreiHANDSplit, FrameTable] = {}
        self._bone_lengths: Tensor | None = None

    @override
    def prepare_data(self) -> None:
        """Build the index that the run needs, in one process for all."""
        fit = self.trainer is None or self.trainer.state.fn in ("fit", "validate")
        self.table("training" if fit else "evaluation")

    def table(self, name: FreiHANDSplit) -> FrameTable:
        """The labels of a split, from the index, which is built if it is missing or out of date."""
        if name not in self._tables:
            self._tables[name] = self._training() if name == "training" else self._evaluation()
        return self._tables[name]

    def _training(self) -> FrameTable:
        files = [list_file(self.root, "training", kind) for kind in ("K", "xyz", "mano")]
        # a folder's own time changes when images come or go
        identity = self._identity([*files, self.root / "training" / "rgb", self.root / "training" / "mask"])
        name = "-".join(["training", *self.versions])
        build = partial(read_training, self.root, self.versions, self._pose_mean)
        frames = cached_frames(name, self.root, identity, build)
        if self.visibility == "none":
            return frames

        def from_mesh() -> dict[str, np.ndarray]:
            # a sample's versions show the same hand
            one = frames.select(np.arange(len(frames) // len(self.versions)))
            joints, vertices = visibility_from_mesh(self.root, one, self.hand)
            repeats = (len(self.versions), 1)
            return {"visible": np.tile(joints, repeats), "vertices_visible": np.tile(vertices, repeats)}

        return replace(frames, **cached_arrays(f"{name}-seen-of-mesh", self.root, identity, from_mesh))

    def _evaluation(self) -> FrameTable:
        files = [list_file(self.root, "evaluation", kind) for kind in ("K", "xyz", "mano")]
        identity = self._identity([*files, self.root / "evaluation" / "rgb"])
        build = partial(read_evaluation, self.root, self._pose_mean)
        return cached_frames("evaluation", self.root, identity, build)

    @property
    def _pose_mean(self) -> np.ndarray:
        return load_hand(self.mano_path).pose_mean

    def _identity(self, files: list[Path]) -> str:
        # the table's poses hold the mean pose of the hand model, its visibility the model's mesh
        asset = load_hand(self.mano_path)
        model = hashlib.sha256(asset.pose_mean.tobytes() + asset.template.tobytes()).hexdigest()
        return fingerprint(self.root, files, settings=f"{self.versions} {model}")

    @override
    def setup(self, stage: str) -> None:
        """Open the index and choose the images of the stage."""
        if stage in ("fit", "validate") and "train" not in self.datasets:
            frames = self.table("training")
            count = len(frames) // len(self.versions)
            chosen = held_out(np.arange(len(frames)) % count, count, self.val_fraction)
            self.datasets["train"] = self.make_dataset(self.root, frames, np.flatnonzero(~chosen), train=True)
            self.datasets["val"] = self.make_dataset(self.root, frames, np.flatnonzero(chosen))
        if stage == "predict" and "predict" not in self.datasets:
            self.datasets["predict"] = self.make_dataset(self.root, self.table("evaluation"))
        if stage == "test" and "test" not in self.datasets:
            frames = with_ground_truth(self.table("evaluation"), self.root, FREIHAND)
            self.datasets["test"] = self.make_dataset(self.root, frames)

    def bone_lengths(self, index: Tensor) -> Tensor:
        """Lengths that the evaluation split gives: of the middle finger's proximal bone.

        Args:
            index: (B,) positions in the evaluation split.

        Returns:
            (B,) metres.
        """
        if self._bone_lengths is None:
            lengths = read_scales(self.root, "evaluation", len(self.table("evaluation")))
            self._bone_lengths = torch.from_numpy(lengths).float()
        return self._bone_lengths[index.cpu()].to(index.device)
