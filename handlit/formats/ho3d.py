"""HO-3D v2 and v3 on disk: right hands that hold YCB objects, 640x480 RGB-D.

``train.txt``, ``evaluation.txt``, ``train|evaluation/SEQ/{rgb,depth,seg,meta}``, ``models/``, and the public ground
truth ``evaluation_{xyz,verts}.json``; see ``docs/reference/ho3d.md``.

References:
    Project page: https://www.tugraz.at/index.php?id=40231. v2: Hampali et al., HOnnotate, CVPR 2020,
    https://arxiv.org/abs/1907.01481; v3: https://arxiv.org/abs/2107.00887. Joint order, axes, depth and scores as in
    the official code, https://github.com/shreyashampali/ho3d (commit 0132f32).
"""

import logging
import os
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from handlit.errors import InputError
from handlit.formats.benchmark import Benchmark
from handlit.formats.frame_table import FrameTable
from handlit.formats.ho3d_annotations import (
    FLIP,
    IMAGE_SIZE,
    HO3DSplit,
    annotation_arrays,
    object_name,
    read_annotation,
    read_field,
    read_meta,
)
from handlit.formats.ho3d_objects import model_file, model_files, object_boxes
from handlit.formats.images import decode, read_bytes
from handlit.formats.index import fingerprint
from handlit.formats.scenes import ObjectPose, Scenes, existing, read_obj
from handlit.formats.worker_pool import in_processes
from handlit.program import program
from handlit.reading import read_text, shown
from handlit.skeleton import ORDERS

log = logging.getLogger(__name__)

Version = Literal["v2", "v3"]

#: A frame in a list.
NAME = re.compile(r"[\w-]{1,60}/[\w-]{1,60}")
#: Suffixes of segmentation files; the first one that is there counts.
MASK_SUFFIXES = (".png", ".jpg")
#: Metres per unit of a depth image.
DEPTH_SCALE = 0.00012498664727900177
#: Colours of the segmentation, RGB.
HAND_COLOUR, OBJECT_COLOUR = (0, 0, 255), (0, 255, 0)
#: A colour of the segmentation is meant above this value; JPEG blurs it.
MASK_THRESHOLD = 200
#: Annotations that a process reads at a time.
CHUNK = 1000


def read_list(root: Path, split: HO3DSplit) -> list[str]:
    """Names ``SEQ/FRAME`` of a split, in the order of a submission.

    Raises:
        FileNotFoundError: The folder or its list file is missing.
        InputError: The list is empty, or a line is not a name or repeats one.
    """
    path = root / f"{split}.txt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the root of HO-3D is the folder that holds train.txt and evaluation.txt "
            f"(make a synthetic one with `{program()} synth --layout ho3d_v3 --out DIR --train 100 --evaluation 20`)"
        )
    lines: dict[str, int] = {}
    for number, line in enumerate(read_text(path, "a list of frames").splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        # a name becomes a path: it must not lead out of the dataset
        if not NAME.fullmatch(name):
            raise InputError(f"{path}, line {number}: expected SEQ/FRAME, e.g. ABF10/0000, got '{shown(name)}'")
        if name in lines:
            raise InputError(f"{path}, line {number}: {name} stands on line {lines[name]} already; remove one of them")
        lines[name] = number
    if not lines:
        raise InputError(f"{path} is empty: expected one SEQ/FRAME a line")
    return list(lines)


def annotation_identity(root: Path, split: HO3DSplit, version: Version, masks_root: Path) -> str:
    """What the table of a split depends on: its list, its annotations, the models, and which images there are."""
    sequences = sorted({name.split("/")[0] for name in read_list(root, split)})
    folders = [root / split / sequence for sequence in sequences]
    # a folder's own time changes when files come or go: that is all that matters of images
    images = [folder / kind for folder in folders for kind in ("rgb", "depth")]
    masks = [masks_root / split / sequence / "seg" for sequence in sequences]
    files = [root / f"{split}.txt", *images, *masks, *model_files(root)]
    return fingerprint(root, files, [folder / "meta" for folder in folders], f"{version} {masks_root}")


def read_frames(
    root: Path, split: HO3DSplit, version: Version, masks_root: Path | None = None, workers: int | None = None
) -> FrameTable:
    """Read every annotation of a split.

    Training frames without a valid hand annotation (None in a hand field) are left out and counted in the log.

    Args:
        root: Folder with ``train.txt`` and ``evaluation.txt``.
        split: ``"train"`` (all labels) or ``"evaluation"`` (box and root, camera and object).
        version: Decides the suffix of the image files.
        masks_root: Folder whose ``train/SEQ/seg`` holds the segmentation; None for `root`.
        workers: Processes; None for one a core, 0 for this one.

    Raises:
        FileNotFoundError: The list, an annotation or an image is missing.
        InputError: The list or an annotation is damaged; the message names the file and, in a list, the line.
    """
    names = read_list(root, split)
    files = _image_files(root, split, version, masks_root or root, names)
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    parts = in_processes(partial(_read_chunk, root, split), chunks, f"HO-3D {split} annotations", workers)
    table = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    table["object_boxes"] = object_boxes(root, table)
    annotated = table.pop("annotated")
    skipped = int((~annotated).sum())
    if skipped:
        log.warning("%s: %d of %d frames have no hand annotation and are left out", root, skipped, len(names))
        if split == "evaluation":
            raise InputError(f"{root}: {skipped} evaluation frames have no root joint, a submission needs them all")
    if skipped == len(names):
        raise InputError(f"{root}: none of the {len(names)} frames of {split}.txt has a hand annotation")
    frames = FrameTable(
        keys=np.array(names),
        image_sizes=np.tile(np.array(IMAGE_SIZE, dtype=np.int32), (len(names), 1)),
        **files,
        **table,
    )
    return frames.select(annotated) if skipped else frames


def _image_files(
    root: Path, split: HO3DSplit, version: Version, masks_root: Path, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """Images, depths and masks of the frames, found by listing each folder once."""
    prefix = "" if masks_root == root else f"{masks_root.absolute()}/"
    image_suffix = VERSIONS[version].image_suffix
    present: dict[tuple[str, str], set[str]] = {}
    rows: dict[str, list[str]] = {"images": [], "depths": [], "masks": []}
    missing = []
    for name in names:
        sequence, frame = name.split("/")
        if ("rgb", sequence) not in present:
            for kind, base in (("rgb", root), ("depth", root), ("seg", masks_root)):
                present[kind, sequence] = _listing(base / split / sequence / kind)
        image = f"{frame}{image_suffix}"
        if image not in present["rgb", sequence]:
            missing.append(f"{split}/{sequence}/rgb/{image}")
        mask = next((frame + suffix for suffix in MASK_SUFFIXES if frame + suffix in present["seg", sequence]), "")
        depth = f"{frame}.png" if f"{frame}.png" in present["depth", sequence] else ""
        rows["images"].append(f"{split}/{sequence}/rgb/{image}")
        rows["depths"].append(depth and f"{split}/{sequence}/depth/{depth}")
        rows["masks"].append(mask and f"{prefix}{split}/{sequence}/seg/{mask}")
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} images that {root / split}.txt lists are missing, {root / missing[0]} first: complete the "
            f"dataset's folder or take them off the list; version {version} has {image_suffix} images"
        )
    return {kind: np.array(values) for kind, values in rows.items() if any(values)}


def _listing(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def _read_chunk(root: Path, split: HO3DSplit, names: list[str]) -> dict[str, np.ndarray]:
    """Labels of some frames; those without a hand annotation have ``annotated`` False and zeros."""
    return annotation_arrays([read_annotation(annotation_file(root, split, name), split) for name in names], split)


def annotation_file(root: Path, split: HO3DSplit, name: str) -> Path:
    """The annotation of the frame ``SEQ/FRAME``."""
    sequence, frame = name.split("/")
    return root / split / sequence / "meta" / f"{frame}.pkl"


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


class HO3DScenes(Scenes):
    """Images, cameras and objects of the evaluation split.

    Without ``evaluation.txt`` the images have no names, and nothing is found.
    """

    def image_file(self, number: int) -> Path | None:
        """``evaluation/SEQ/rgb/FRAME``."""
        return existing(self._file(number, "rgb"), [item.image_suffix for item in VERSIONS.values()])

    def intrinsics(self, number: int) -> np.ndarray | None:
        """(3, 3) ``camMat``, pixels, or None."""
        meta = self._meta(number)
        return None if meta is None else read_field(meta, "camMat", (3, 3), self._file(number, "meta"))

    def has_all_cameras(self) -> bool:
        """Whether every image has an annotation."""
        return all(self._file(number, "meta").is_file() for number in range(len(self.names)))

    def object_pose(self, number: int) -> ObjectPose | None:
        """The YCB object in the hand, or None."""
        meta = self._meta(number)
        path = self._file(number, "meta")
        name = "" if meta is None else object_name(meta, path)
        if meta is None or not name:
            return None
        rotation, _ = cv2.Rodrigues(read_field(meta, "objRot", (3,), path))
        translation = read_field(meta, "objTrans", (3,), path)
        return ObjectPose(name, np.diag(FLIP) @ rotation, FLIP * translation)

    def object_mesh(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """Vertices (V, 3), metres, and faces (F, 3) of ``models/NAME/textured_simple.obj``, or None."""
        path = model_file(self.root, name)
        return None if path is None else read_obj(path)

    def _file(self, number: int, kind: Literal["rgb", "meta"]) -> Path:
        """The annotation, or the image without its suffix."""
        sequence, _, frame = self.names[number].partition("/")
        return self.root / "evaluation" / sequence / kind / (f"{frame}.pkl" if kind == "meta" else frame)

    def _meta(self, number: int) -> dict[str, Any] | None:
        path = self._file(number, "meta")
        return read_meta(path) if path.is_file() else None


def _benchmark(version: Version, image_suffix: str, released: dict[str, int]) -> Benchmark:
    return Benchmark(
        name=f"ho3d_{version}",
        title=f"HO-3D {version}",
        page="https://www.tugraz.at/index.php?id=40231",
        marks=("train.txt", "evaluation.txt", "*/*/meta"),
        data="handlit.data.ho3d.HO3D",
        settings={"version": version},
        image_folders="*/*/rgb",
        image_suffix=image_suffix,
        tips="ho3d",
        read_masks=read_masks,
        read_depth=read_depth,
        axes="opengl",
        joint_order=ORDERS["ho3d"],
        image_size=IMAGE_SIZE,
        released=released,
        error_keys={
            "joints": "xyz",
            "joints_procrustes": "xyz_procrustes_al",
            "joints_scale_translation": "xyz_scale_trans_al",
            "vertices": "mesh",
            "vertices_procrustes": "mesh_al",
        },
        scale_joint=ORDERS["ho3d"].index("middle_1"),
        scenes=HO3DScenes,
    )


# frames of the official releases; other counts are in circulation, too
HO3D_V2 = _benchmark("v2", ".png", {"train": 66_034, "evaluation": 11_524})
HO3D_V3 = _benchmark("v3", ".jpg", {"train": 83_325, "evaluation": 20_137})
#: The benchmark of each version.
VERSIONS: dict[Version, Benchmark] = {"v2": HO3D_V2, "v3": HO3D_V3}
