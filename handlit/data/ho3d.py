"""HO-3D v2 and v3: right hands holding YCB objects, 640x480 RGB-D (Hampali et al., CVPR 2020 and 2022).

Read from the original tree (``train.txt``, ``evaluation.txt``, ``train|evaluation/SEQ/{rgb,depth,seg,meta}``); see
``docs/ho3d.md``.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.datamodule import HandDataModule, SubmissionProtocol
from handlit.data.loading.dataset import ErrorPolicy
from handlit.data.loading.visibility import visibility_from_depth, visibility_from_mesh
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.ground_truth import read_ground_truth
from handlit.formats.ho3d import ListName, Version, annotation_identity, read_frames
from handlit.formats.images import decode, read_bytes
from handlit.formats.index import cached_arrays, cached_frames, fingerprint
from handlit.geometry.crops import CropRule
from handlit.hand.loading import load_hand

Split = Literal["official", "mhentropy", "mhentropy_leak_free"]
Visibility = Literal["none", "depth", "mesh"]

#: Sequences of the training list that MHEntropy (ICCV 2023) evaluates on.
MHENTROPY_SEQUENCES = ("ABF14", "MC5", "SB14", "ShSu13")
#: Metres per unit of a depth image.
DEPTH_SCALE = 0.00012498664727900177
#: A colour of the segmentation is meant from this value on; JPEG blurs it.
MASK_THRESHOLD = 200


def read_depth(path: Path) -> np.ndarray:
    """Decode a depth image: ``R + 256 G`` units of `DEPTH_SCALE`.

    Returns:
        (H, W) float64 metres, 0 where nothing was measured.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged or no depth image.
    """
    image = decode(read_bytes(path), path)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"depth image {path}: expected 3 channels of 8 bits, got {image.shape} of {image.dtype}")
    # OpenCV's channels are blue, green, red; in 8 bits the sum would overflow
    return (image[..., 2].astype(np.int32) + 256 * image[..., 1].astype(np.int32)) * DEPTH_SCALE


def read_masks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decode a segmentation file: the hand is blue, the object green.

    Returns:
        Masks of hand and object, (h, w) bool each, at the file's resolution: 160x120 or 640x480.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: The file is damaged or no segmentation.
    """
    image = decode(read_bytes(path), path)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InputError(f"segmentation {path}: expected 3 channels of 8 bits, got {image.shape} of {image.dtype}")
    return image[..., 0] > MASK_THRESHOLD, image[..., 1] > MASK_THRESHOLD


def captures(keys: np.ndarray) -> np.ndarray:
    """What was filmed in each frame: the sequence without the digit of its camera.

    ABF10 to ABF14 are five cameras' views of one capture. A name with a single digit is a capture of its own.

    Args:
        keys: (N,) names ``SEQ/FRAME``.

    Returns:
        (N,) names of captures, e.g. ``"ABF1"``.
    """
    sequences, rows = np.unique(sequences_of(keys), return_inverse=True)
    return np.array([re.sub(r"(?<=\d)\d$", "", str(name)) for name in sequences])[rows]


def sequences_of(keys: np.ndarray) -> np.ndarray:
    """(N,) sequences of frames with names ``SEQ/FRAME``."""
    return np.array([key.split("/")[0] for key in keys.tolist()])


def hold_out_captures(keys: np.ndarray, fraction: float) -> np.ndarray:
    """Choose whole captures for validation, spread evenly over the sorted list of captures.

    Neighbouring frames of a sequence, and the views of other cameras, are nearly the same scene: holding out frames
    instead would measure memory.

    Args:
        keys: (N,) names ``SEQ/FRAME``.
        fraction: Share of the captures, 0 for none.

    Returns:
        (N,) bool, True for validation frames.
    """
    filmed = captures(keys)
    names = np.unique(filmed)
    count = int(np.ceil(fraction * len(names))) if fraction > 0 else 0
    if count == 0 or len(names) < 2:
        return np.zeros(len(keys), dtype=bool)
    chosen = names[np.linspace(0, len(names) - 1, min(count, len(names) - 1) + 2)[1:-1].round().astype(int)]
    return np.isin(filmed, chosen)


def mhentropy_rows(keys: np.ndarray, leak_free: bool) -> tuple[np.ndarray, np.ndarray]:
    """MHEntropy's own split of the training list.

    Three of its four evaluation sequences are further cameras of captures that it trains on.

    Args:
        keys: (N,) names ``SEQ/FRAME`` of the training list.
        leak_free: Leave the other cameras of the evaluated captures out of the training.

    Returns:
        Positions of the training frames and of the evaluation frames.

    Raises:
        InputError: The list lacks one of the evaluation sequences.
    """
    sequences = sequences_of(keys)
    lacking = sorted(set(MHENTROPY_SEQUENCES) - set(sequences.tolist()))
    if lacking:
        raise InputError(
            f"MHEntropy's split evaluates on {', '.join(MHENTROPY_SEQUENCES)} of HO-3D v3's training list, which has "
            f"no frame of {', '.join(lacking)}: is this HO-3D v3?"
        )
    evaluated = np.isin(sequences, MHENTROPY_SEQUENCES)
    filmed = captures(keys)
    left_out = np.isin(filmed, filmed[evaluated]) if leak_free else evaluated
    return np.flatnonzero(~left_out), np.flatnonzero(evaluated)


class HO3D(HandDataModule):
    """Training, validation and evaluation splits of HO-3D.

    Validation frames are whole captures that are held out of the training, since the evaluation split's labels are
    public only for scoring. With the official split the test frames are the evaluation list with that public ground
    truth, where it is present; with MHEntropy's they are four sequences of the training list.

    The annotations are read once, into an index beside the data or in the user's cache.

    Args:
        root: Folder with ``train.txt``, ``evaluation.txt``, ``train/`` and ``evaluation/``.
        version: ``"v2"`` (png images) or ``"v3"`` (jpg images).
        image_size: Side of the square crops, pixels.
        crop: Rule that puts the square around the hand: a published method's or a plain centred one.
        batch_size: Samples per process and step.
        num_workers: Loader processes.
        val_fraction: Share of the training captures that is held out for validation.
        augmentation: Random changes of the training samples.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
        split: The official lists; or ``"mhentropy"``, which evaluates on four sequences of the training list, and
            ``"mhentropy_leak_free"``, which does not train on other cameras' views of them.
        seg_root: Folder whose ``train/SEQ/seg`` holds the segmentation, which ships apart; None for `root`.
        masks: Give the samples masks of hand and object.
        on_error: What to do about a training sample whose files are missing or damaged: ``"raise"``, or ``"skip"`` it
            with a warning.
        max_errors: With ``"skip"``, how many samples of a process may be left out.
        visibility: Which joints are seen: ``"depth"`` as MHEntropy defines it, from depth and segmentation;
            ``"mesh"`` joints and vertices, from the hand's mesh and the object's mask; computed once.
    """

    mask_reader = staticmethod(read_masks)

    def __init__(
        self,
        root: str,
        version: Version = "v3",
        image_size: int = 224,
        crop: CropRule = "amvur",
        batch_size: int = 16,
        num_workers: int = 8,
        val_fraction: float = 0.05,
        augmentation: Augmentation | None = None,
        mano_path: str | None = None,
        split: Split = "official",
        seg_root: str | None = None,
        masks: bool = False,
        on_error: ErrorPolicy = "raise",
        max_errors: int = 100,
        visibility: Visibility = "none",
    ) -> None:
        super().__init__(
            image_size, crop, batch_size, num_workers, augmentation, mano_path, masks, on_error, max_errors
        )
        for name, value, choices in (
            ("version", version, Version),
            ("split", split, Split),
            ("visibility", visibility, Visibility),
        ):
            if value not in get_args(choices):
                raise InputError(f"{name} must be one of {', '.join(get_args(choices))}, got '{value}'")
        self.root = Path(root)
        self.masks_root = self.root if seg_root is None else Path(seg_root)
        self.version: Version = version
        self.split: Split = split
        self.val_fraction = val_fraction
        self.visibility: Visibility = visibility
        # only the official evaluation frames make a submission
        official: SubmissionProtocol = "ho3d_v2" if version == "v2" else "ho3d_v3"
        self.protocol: SubmissionProtocol | None = official if split == "official" else None
        self._tables: dict[ListName, FrameTable] = {}
        self._test_table: FrameTable | None = None

    def prepare_data(self) -> None:
        """Build the index that the run needs, in one process for all."""
        stage = "fit" if self.trainer is None else str(self.trainer.state.fn)
        if self.split != "official" or stage in ("fit", "validate"):
            self.table("train")
        elif stage == "test":
            self.test_table()
        else:
            self.table("evaluation")

    def table(self, name: ListName) -> FrameTable:
        """The labels of a list file's frames, from the index, which is built if it is missing or out of date."""
        if name not in self._tables:
            identity = annotation_identity(self.root, name, self.version, self.masks_root)
            frames = cached_frames(
                name, self.root, identity, lambda: read_frames(self.root, name, self.version, self.masks_root)
            )
            # the evaluation list says too little of its hands to tell what is seen of them
            self._tables[name] = self._with_visibility(name, frames, identity) if name == "train" else frames
        return self._tables[name]

    def test_table(self) -> FrameTable:
        """The evaluation list with its public ground truth, and what is seen of these hands."""
        if self._test_table is None:
            frames = with_ground_truth(self.table("evaluation"), self.root, self.version)
            annotations = annotation_identity(self.root, "evaluation", self.version, self.masks_root)
            truth = [self.root / f"evaluation_{kind}.json" for kind in ("xyz", "verts")]
            self._test_table = self._with_visibility(
                "test", frames, fingerprint(self.root, truth, settings=annotations)
            )
        return self._test_table

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


def with_ground_truth(frames: FrameTable, root: Path, version: Version) -> FrameTable:
    """The evaluation frames with their public ground truth, ``evaluation_xyz.json`` and ``evaluation_verts.json``.

    Raises:
        InputError: The files are missing, damaged or do not fit the frames.
    """
    truth = read_ground_truth(root, "ho3d_v2" if version == "v2" else "ho3d_v3")
    if truth.names != frames.keys.tolist():
        raise InputError(f"{root}: the ground-truth JSONs hold {len(truth)} frames, the annotations {len(frames)}")
    joints_cam = truth.protocol.joints_from_official(truth.joints)
    vertices_cam = truth.protocol.points_to_official(truth.vertices)
    return replace(frames, joints_cam=joints_cam, vertices_cam=vertices_cam)
