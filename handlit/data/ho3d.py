"""HO-3D v2 and v3 as a data module; what lies on disk: `handlit.formats.ho3d`, docs/reference/ho3d.md."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from typing_extensions import override

from handlit.data.loading.datamodule import HandDataModule
from handlit.data.loading.visibility import VisibilitySource, visibility_from_depth, visibility_from_mesh
from handlit.errors import check_choice, check_number
from handlit.formats.frame_table import FrameTable
from handlit.formats.ground_truth import with_ground_truth
from handlit.formats.ho3d import VERSIONS, Version, annotation_identity, read_depth, read_frames, read_masks
from handlit.formats.ho3d_annotations import HO3DSplit
from handlit.formats.ho3d_objects import MODEL_FILE, model_file
from handlit.formats.ho3d_splits import hold_out_captures, mhentropy_rows
from handlit.formats.index import cached_arrays, cached_frames, fingerprint
from handlit.formats.truth_files import VERTS_FILE, XYZ_FILE
from handlit.geometry.crops import CropRule
from handlit.hand.loading import load_hand

log = logging.getLogger(__name__)

#: The official lists, or MHEntropy's evaluation on sequences of the training list.
SplitScheme = Literal["official", "mhentropy", "mhentropy_leak_free"]


class HO3D(HandDataModule):
    """Training, validation and evaluation splits of HO-3D.

    Validation frames are whole captures that are held out of the training, since the evaluation split's labels are
    public only for scoring. With the official split the test frames are the evaluation list with that public ground
    truth, where it is present; with MHEntropy's they are four sequences of the training list.

    The annotations are read once, into an index beside the data or in the user's cache.

    Args:
        root: Folder with ``train.txt``, ``evaluation.txt``, ``train/`` and ``evaluation/``.
        version: ``"v2"`` (png images) or ``"v3"`` (jpg images).
        crop: Rule that puts the square around the hand: a published method's or a plain centred one.
        val_fraction: Share of the training captures that is held out for validation, at least 0 and below 1.
        split: The official lists; or ``"mhentropy"``, which evaluates on four sequences of the training list, and
            ``"mhentropy_leak_free"``, which does not train on other cameras' views of them.
        seg_root: Folder whose ``train/SEQ/seg`` holds the segmentation, which ships apart; None for `root`.
        visibility: Which joints are seen: ``"depth"`` as MHEntropy defines it, from depth and segmentation;
            ``"mesh"`` joints and vertices, from the hand's mesh and the object's mask; computed once.
        **kwargs: Arguments of `HandDataModule`.
    """

    mask_reader = staticmethod(read_masks)

    def __init__(
        self,
        root: str,
        version: Version = "v3",
        crop: CropRule = "amvur",
        val_fraction: float = 0.05,
        split: SplitScheme = "official",
        seg_root: str | None = None,
        visibility: VisibilitySource = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(crop=crop, **kwargs)
        check_choice("version", version, Version)
        check_choice("split", split, SplitScheme)
        check_choice("visibility", visibility, VisibilitySource)
        check_number("val_fraction", val_fraction, least=0, below=1)
        self.root = Path(root)
        self.masks_root = self.root if seg_root is None else Path(seg_root)
        self.version: Version = version
        self.split: SplitScheme = split
        self.val_fraction = val_fraction
        self.visibility: VisibilitySource = visibility
        self.benchmark = VERSIONS[version]
        # only the official evaluation frames make a submission
        self.protocol = self.benchmark.name if split == "official" else None
        self._tables: dict[HO3DSplit, FrameTable] = {}
        self._test_table: FrameTable | None = None

    @override
    def prepare_data(self) -> None:
        """Build the index that the run needs, in one process for all."""
        # the trainer's own words compare as "fit" and "test", but do not print as them
        stage = "fit" if self.trainer is None else self.trainer.state.fn
        if self.split != "official" or stage in ("fit", "validate"):
            self.table("train")
        elif stage == "test":
            self.test_table()
        else:
            self.table("evaluation")

    def table(self, name: HO3DSplit) -> FrameTable:
        """The labels of a list file's frames, from the index, which is built if it is missing or out of date."""
        if name not in self._tables:
            identity = annotation_identity(self.root, name, self.version, self.masks_root)
            frames = cached_frames(
                name, self.root, identity, lambda: read_frames(self.root, name, self.version, self.masks_root)
            )
            # the evaluation list says too little of its hands to know what is visible of them
            self._tables[name] = self._with_visibility(name, frames, identity) if name == "train" else frames
            self._warn_of_models(frames)
        return self._tables[name]

    def test_table(self) -> FrameTable:
        """The evaluation list with its public ground truth, and what is seen of these hands."""
        if self._test_table is None:
            frames = with_ground_truth(self.table("evaluation"), self.root, self.benchmark)
            annotations = annotation_identity(self.root, "evaluation", self.version, self.masks_root)
            identity = fingerprint(self.root, [self.root / XYZ_FILE, self.root / VERTS_FILE], settings=annotations)
            self._test_table = self._with_visibility("test", frames, identity)
        return self._test_table

    def _warn_of_models(self, frames: FrameTable) -> None:
        """Say it where MHEntropy's crops are not the released code's for want of the objects' models."""
        if frames.object_names is None or not self.crop.startswith("mhentropy"):
            return
        names = np.unique(frames.object_names).tolist()
        missing = [name for name in names if name and model_file(self.root, name) is None]
        if missing:
            log.warning(
                "%s: the models of %d objects are missing, models/%s/%s first: crop=%s takes the corners of their 3D "
                "boxes, and its squares differ by some pixels from those of MHEntropy's code",
                self.root,
                len(missing),
                missing[0],
                MODEL_FILE,
                self.crop,
            )

    def _with_visibility(self, name: str, frames: FrameTable, identity: str) -> FrameTable:
        def from_depth() -> dict[str, np.ndarray]:
            return {"visible": visibility_from_depth(self.root, frames, read_depth, read_masks)}

        def from_mesh() -> dict[str, np.ndarray]:
            joints, vertices = visibility_from_mesh(self.root, frames, self.hand, read_masks)
            return {"visible": joints, "vertices_visible": vertices}

        if self.visibility == "none":
            return frames
        if self.visibility == "depth":
            return replace(frames, **cached_arrays(f"{name}-seen-in-depth", self.root, identity, from_depth))
        # another hand model has other vertices
        model = hashlib.blake2b(load_hand(self.mano_path).template.tobytes(), digest_size=4).hexdigest()
        return replace(frames, **cached_arrays(f"{name}-seen-of-mesh-{model}", self.root, identity, from_mesh))

    @override
    def setup(self, stage: str) -> None:
        """Open the index and choose the frames of the stage."""
        if self.split != "official":
            self._setup_mhentropy()
            return
        if stage in ("fit", "validate") and "train" not in self.datasets:
            frames = self.table("train")
            self._set_training(frames, np.arange(len(frames)))
        if stage == "predict" and "predict" not in self.datasets:
            self.datasets["predict"] = self.make_dataset(self.root, self.table("evaluation"))
        if stage == "test" and "test" not in self.datasets:
            self.datasets["test"] = self.make_dataset(self.root, self.test_table())

    def _setup_mhentropy(self) -> None:
        if "train" in self.datasets:
            return
        frames = self.table("train")
        training, evaluation = mhentropy_rows(frames.keys, self.split == "mhentropy_leak_free")
        self._set_training(frames, training)
        for name in ("test", "predict"):
            self.datasets[name] = self.make_dataset(self.root, frames, evaluation)

    def _set_training(self, frames: FrameTable, rows: np.ndarray) -> None:
        held_out = hold_out_captures(frames.keys[rows], self.val_fraction)
        self.datasets["train"] = self.make_dataset(self.root, frames, rows[~held_out], train=True)
        self.datasets["val"] = self.make_dataset(self.root, frames, rows[held_out])
