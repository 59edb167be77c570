"""Samples a second of one core from 640x480 JPEG files, crop and labels included.

    python -m scripts.benchmarks.loading                   # synthesises 300 frames in HO-3D v3's layout first
    python -m scripts.benchmarks.loading --root HO3D_v3    # on a dataset that is there, its first frames

Next to handlit's loader: the bare floor (decode, one warp, stack) and loaders that work as those of AMVUR (CVPR 2023)
and MHEntropy (ICCV 2023) are described to. All read the same files in one process with one thread, in turn; medians of
processor time, so that other work on the machine counts as little as possible.
"""

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import default_collate

from handlit.data.ho3d import HO3D
from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.dataset import HandDataset, collate_read
from handlit.data.loading.sampling import SeededIndex
from handlit.data.packed import PackedData
from handlit.data.packing.write import pack
from handlit.data.synthesis import synthesise
from handlit.formats.frame_table import FrameTable
from handlit.formats.ho3d import DEPTH_SCALE, read_frames
from handlit.geometry import crops
from scripts.benchmarks.measure import Figure

BATCH = 32
SIZE = 224
#: What handlit's training configurations change.
AUGMENTATION = Augmentation(rotation_deg=30, scale=0.2, translation=0.1, colour=0.2)
OCCLUSION = Augmentation(rotation_deg=30, scale=0.2, translation=0.1, colour=0.2, occlusion=0.5)

#: Makes the batch of some rows of the table.
Loader = Callable[[list[int]], Any]


def floor(root: Path, frames: FrameTable) -> Loader:
    """Decode a JPEG, warp it once, stack bytes: what no loader that decodes whole pictures goes below."""
    maps = [
        crops.crop_transform(*crops.square_crop(box, (640, 480), "amvur"), SIZE) for box in np.asarray(frames.boxes)
    ]
    paths = [root / str(image) for image in frames.images]

    def load(rows: list[int]) -> torch.Tensor:
        pictures = [cv2.warpAffine(_read(paths[row]), maps[row], (SIZE, SIZE)) for row in rows]
        return torch.from_numpy(np.stack(pictures))

    return load


def handlit(root: Path, frames: FrameTable, rule: crops.CropRule, augmentation: Augmentation | None = None) -> Loader:
    """handlit's own samples with every label of the table."""
    dataset = HandDataset(root, frames, rule, SIZE, augmentation)

    def load(rows: list[int]) -> Any:
        return collate_read([dataset[row if augmentation is None else SeededIndex(row, row)] for row in rows])

    return load


def packed(root: Path, out: Path) -> Loader:
    """The same samples as handlit's without augmentation, from the packed form that is written here."""
    pack(HO3D(str(root), val_fraction=0.0), out, ("fit",))
    module = PackedData(str(out), image_size=SIZE)
    module.setup("fit")
    dataset = module.datasets["train"]
    return lambda rows: collate_read([dataset[row] for row in rows])


def in_the_way_of_amvur(root: Path, frames: FrameTable) -> Loader:
    """A crop in double precision, joint by joint in Python, normalised floating-point tensors."""
    joints_cam, intrinsics = np.asarray(frames.joints_cam), np.asarray(frames.intrinsics)

    def sample(row: int) -> dict[str, Any]:
        image = cv2.cvtColor(_read(root / str(frames.images[row])), cv2.COLOR_BGR2RGB)
        joints, camera = joints_cam[row], intrinsics[row]
        pixels = np.stack([camera @ (joint / joint[2]) for joint in joints])[:, :2]
        low, high = pixels.min(0), pixels.max(0)
        centre = (low + high) / 2 + 5 * np.random.default_rng(row).normal(size=2)
        low, high = np.maximum(low, 0) - 10, np.minimum(high, (640, 480)) + 10
        scale = np.clip(4 * np.maximum(high - centre, centre - low).max(), 50, 640) / SIZE
        start, stop = (centre - 100 * scale).astype(int), (centre + 100 * scale).astype(int)
        cut = np.zeros((stop[1] - start[1], stop[0] - start[0], 3))
        inside, outside = np.maximum(start, 0), np.minimum(stop, (640, 480))
        cut[inside[1] - start[1] : outside[1] - start[1], inside[0] - start[0] : outside[0] - start[0]] = image[
            inside[1] : outside[1], inside[0] : outside[0]
        ]
        picture = cv2.resize(cut, (SIZE, SIZE))
        for channel in range(3):
            picture[:, :, channel] = np.clip(picture[:, :, channel] * 1.0, 0, 255)
        tensor = torch.from_numpy(np.transpose(picture.astype(np.float32), (2, 0, 1)) / 255.0).float()
        for channel, mean, spread in zip(tensor, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True):
            channel.sub_(mean).div_(spread)
        labels = np.ones((21, 3))
        for number in range(21):
            # the published transform builds and inverts its matrix for every point
            matrix = np.array(
                [[1 / scale, 0, -centre[0] / scale + 112], [0, 1 / scale, -centre[1] / scale + 112], [0, 0, 1]]
            )
            matrix[:2] *= SIZE / 200
            labels[number, :2] = 2 * ((matrix @ [*pixels[number], 1])[:2].astype(int) + 1) / SIZE - 1
        crop_camera = np.array(
            [[1 / scale, 0, 112 - centre[0] / scale], [0, 1 / scale, 112 - centre[1] / scale], [0, 0, 1]]
        )
        values = {
            "ori_img": tensor.clone(),
            "Ks_crop": torch.from_numpy(crop_camera @ camera),
            "joints_2d": torch.from_numpy(labels).float(),
            "joints_3d": torch.from_numpy(joints - joints[0]).float(),
            "pose": torch.from_numpy(np.asarray(_column(frames.pose)[row])).float(),
            "betas": torch.from_numpy(np.asarray(_column(frames.betas)[row])).float(),
            "mjm_mask": torch.ones(21, 1),
            "mvm_mask": torch.ones(195, 1),
        }
        return {"image": tensor, **values}

    return lambda rows: default_collate([sample(row) for row in rows])


def in_the_way_of_mhentropy(root: Path, frames: FrameTable) -> Loader:
    """Picture, segmentation, depth and annotation of each frame, and a loop over windows for visibility."""
    joints_cam, intrinsics = np.asarray(frames.joints_cam), np.asarray(frames.intrinsics)

    def sample(row: int) -> dict[str, Any]:
        path = root / str(frames.images[row])
        folder, name = path.parents[1], path.stem
        image = cv2.cvtColor(_read(path), cv2.COLOR_BGR2RGB)
        coded = _read(folder / "depth" / f"{name}.png").astype(np.int64)
        depth = (coded[:, :, 2] + 256 * coded[:, :, 1]) * DEPTH_SCALE
        parts = _read(folder / "seg" / f"{name}.png")
        parts = cv2.resize(parts, (640, 480), interpolation=cv2.INTER_NEAREST)
        with (folder / "meta" / f"{name}.pkl").open("rb") as file:
            pickle.load(file, encoding="latin1")
        hand = parts[:, :, 0] > 200
        joints = 1000 * joints_cam[row]
        pixels = (joints / joints[:, 2:]) @ intrinsics[row].T
        visible = _visible(pixels, joints[:, 2], hand, depth)
        centre, half = crops.square_crop(frames.boxes[row], (640, 480), "mhentropy", _column(frames.object_boxes)[row])
        centre, half = np.trunc(centre), half / 2
        start, stop = np.round(centre - half).astype(int), np.round(centre + half).astype(int)
        rng = np.random.default_rng(row)
        similarity = cv2.getRotationMatrix2D((128, 128), rng.uniform(0, 360), rng.uniform(0.8, 1))
        similarity[:, 2] += np.clip(rng.normal(0, 10, 2), -40, 40)
        maps = {}
        for kind, source, grey in (("image", image, 127), ("parts", parts, 127), ("depth", depth, 0)):
            padded = cv2.copyMakeBorder(source, 640, 640, 640, 640, cv2.BORDER_CONSTANT, value=(grey,) * 3)
            cut = padded[start[1] + 640 : stop[1] + 640, start[0] + 640 : stop[0] + 640]
            maps[kind] = cv2.resize(cut, (256, 256), interpolation=cv2.INTER_NEAREST)
        for channel in range(3):
            gained = maps["image"][:, :, channel] * rng.uniform(0.6, 1.4)
            maps["image"][:, :, channel] = np.clip(gained, 0, 255).astype(np.uint8)
        maps = {
            kind: cv2.warpAffine(value, similarity, (256, 256), flags=cv2.INTER_NEAREST) for kind, value in maps.items()
        }
        cropped = np.column_stack([(pixels[:, :2] - centre + half) * 256 / (2 * half), np.ones(21)]) @ similarity.T
        for number, (u, v) in enumerate(cropped):
            near = [(int(u) + x, int(v) + y) for x in range(-4, 5) for y in range(-4, 5)]
            if not any(0 <= x < 256 and 0 <= y < 256 for x, y in near):
                visible[number] = 0
        tensor = torch.from_numpy(maps["image"].transpose(2, 0, 1).copy()).float().div(255).sub(0.5).div(0.5)
        return {
            "image": tensor,
            "crop_uv": torch.from_numpy(cropped).float() / 128 - 1,
            "vis": torch.from_numpy(visible).float(),
            "pose3d": torch.from_numpy(joints - joints[9]).float(),
            "hand_mask": torch.from_numpy(maps["parts"][:, :, 0] > 200),
            "object_mask": torch.from_numpy(maps["parts"][:, :, 1] > 200),
            "depth": torch.from_numpy(maps["depth"]).float(),
        }

    return lambda rows: default_collate([sample(row) for row in rows])


def _visible(pixels: np.ndarray, depth_mm: np.ndarray, hand: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """A joint is seen if a hand pixel of its 9x9 window is not 40 mm before it; pixel by pixel."""
    visible = np.zeros(21)
    for number in range(21):
        u0, v0 = int(pixels[number, 0]), int(pixels[number, 1])
        for u in range(u0 - 4, u0 + 5):
            for v in range(v0 - 4, v0 + 5):
                if 0 <= u < 640 and 0 <= v < 480 and hand[v, u] and depth_mm[number] - 1000 * depth[v, u] < 40:
                    visible[number] = 1
    return visible


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path} cannot be read")
    return image


def _column(values: np.ndarray | None) -> np.ndarray:
    if values is None:
        raise SystemExit("the table lacks a label: a training split of HO-3D is needed")
    return values


@contextmanager
def dataset_root(root: Path | None, count: int, workers: int) -> Iterator[Path]:
    """The folder of the dataset; a synthetic one for as long as it is used, if none is given."""
    if root is not None:
        yield root
        return
    with tempfile.TemporaryDirectory() as folder:
        synthesise(Path(folder) / "data", "ho3d_v3", count, 0, workers=workers)
        yield Path(folder) / "data"


def measure(loaders: dict[str, Loader], batches: list[list[int]], repeats: int) -> dict[str, float]:
    """Milliseconds of processor time a sample: medians over batches, for each of which the loaders take turns."""
    times: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(repeats):
        for rows in batches:
            for name, load in loaders.items():
                start = time.process_time()
                load(rows)
                times[name].append(1000 * (time.process_time() - start) / len(rows))
    return {name: statistics.median(values) for name, values in times.items()}


def main(args: Sequence[str] | None = None) -> list[Figure]:
    """Time all loaders on one dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="HO-3D v3 or a synthetic dataset in its layout")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="processes that synthesise")
    options = parser.parse_args(args)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with dataset_root(options.root, options.frames, options.workers) as root:
        frames = read_frames(root, "train", "v3")
        frames = frames.select(np.arange(min(options.frames, len(frames))))
        batches = [list(range(start, min(start + BATCH, len(frames)))) for start in range(0, len(frames), BATCH)]
        loaders: dict[str, Loader] = {
            "floor: decode, warp, stack": floor(root, frames),
            "handlit, amvur crop": handlit(root, frames, "amvur"),
            "handlit, augmented": handlit(root, frames, "amvur", AUGMENTATION),
            "handlit, augmented, patches": handlit(root, frames, "amvur", OCCLUSION),
            "in the way of AMVUR": in_the_way_of_amvur(root, frames),
            "in the way of MHEntropy": in_the_way_of_mhentropy(root, frames),
        }
        if options.root is None:
            # packing a whole dataset that is there would take minutes
            loaders["handlit, amvur crop, packed"] = packed(root, root.parent / "packed")
        measured = measure(loaders, batches, options.repeats)
        kilobytes = statistics.mean((root / str(name)).stat().st_size for name in frames.images) / 1000
    base = next(iter(measured.values()))
    print(f"{len(frames)} frames of {kilobytes:.0f} kB, batches of {BATCH}, one thread, {options.repeats} repeats")
    for name, milliseconds in measured.items():
        rate = 1000 / milliseconds
        print(f"{name:<28} {milliseconds:6.2f} ms a sample  {rate:6.0f} samples/s  {base / milliseconds:5.2f} of floor")
    return [Figure(f"{name}, one core", 1000 / cost_ms, "samples/s") for name, cost_ms in measured.items()]


if __name__ == "__main__":
    main()
