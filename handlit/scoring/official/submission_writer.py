"""Writes submissions, streamed to the disk by any number of processes: see `submission` for the format."""

import glob
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import orjson
from torch import Tensor

from handlit.errors import InputError
from handlit.files import whole
from handlit.findings import Finding
from handlit.formats.benchmark import Benchmark
from handlit.hand.asset import NUM_VERTICES
from handlit.scoring.official.linter import lint, sample_frames
from handlit.scoring.official.record_files import RECORD, RecordReader, RecordWriter
from handlit.scoring.official.submission import MEMBER
from handlit.skeleton import NUM_JOINTS

#: Metres; repeats of one image (padded distributed samplers) further apart than this are reported.
REPEAT_TOLERANCE = 1e-4
#: Zip stores dates; a fixed one makes equal predictions equal files.
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_CHUNK = 256


class SubmissionWriter:
    """Collects predictions in any order, from any number of processes, and writes one submission when all are there.

    Each process appends fixed-size records to its own hidden file beside the target; `finalise`, called by one process
    after all have closed, puts them in dataset order, a few hundred images in memory at a time. Nothing carries the
    target's name before it is whole. The same predictions give the same bytes. Every record file carries the run's
    name: after a kill the next run starts anew over what was left, and never mixes the two. Use it as a context
    manager: an exception inside discards the records.

    Args:
        path: The ``pred.zip`` to write.
        num_samples: Number of images of the split; every index below it must come at least once.
        protocol: Benchmark whose axes and joint order the file is written in.
        decimals: Digits after the point; 5 is a hundredth of a millimetre.
        rank: Number of this process.
        world_size: Number of processes that write.
        run_id: Name of the run: the same in all its processes, another in every other run. Needed with more than one
            process; a single one draws its own.

    Attributes:
        replaced_records: Whether this process found records of an interrupted run and discarded them.

    Raises:
        InputError: The path does not end in ``.zip``.
    """

    def __init__(
        self,
        path: str | Path,
        num_samples: int,
        protocol: Benchmark,
        decimals: int = 5,
        rank: int = 0,
        world_size: int = 1,
        run_id: str | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix != ".zip":
            raise InputError(f"a submission is a zip archive; write to {self.path.with_suffix('.zip')}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} is not below the number of processes {world_size}")
        if run_id is None and world_size > 1:
            raise ValueError("several processes that write one submission need a common run_id")
        self.run_id = run_id or uuid.uuid4().hex
        self.num_samples = num_samples
        self.protocol = protocol
        self.decimals = decimals
        self.world_size = world_size
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._records = RecordWriter(self._record_path(rank), self.run_id)
        self.replaced_records = self._records.replaced

    def write(
        self, index: Tensor | np.ndarray, joints_cam: Tensor | np.ndarray, vertices_cam: Tensor | np.ndarray
    ) -> None:
        """Add a batch.

        Args:
            index: (B,) position of each image in the dataset.
            joints_cam: (B, 21, 3) absolute camera coordinates, metres, handlit's axes and joint order.
            vertices_cam: (B, 778, 3) absolute camera coordinates, metres.

        Raises:
            InputError: A prediction is not finite; the message names the image.
            ValueError: A shape or an index is wrong.
        """
        index, joints, vertices = (_to_numpy(array) for array in (index, joints_cam, vertices_cam))
        for name, array, points in (("joints_cam", joints, NUM_JOINTS), ("vertices_cam", vertices, NUM_VERTICES)):
            if array.shape != (len(index), points, 3):
                raise ValueError(f"{name} must have shape {(len(index), points, 3)}, got {array.shape}")
            bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))
            if len(bad):
                raise InputError(
                    f"the prediction for image {index[bad[0]]} holds NaN or infinity in {name}; no server accepts "
                    "that: look at the checkpoint, it has most likely diverged"
                )
        outside = index[(index < 0) | (index >= self.num_samples)]
        if len(outside):
            raise ValueError(f"image {outside[0]} is outside the dataset of {self.num_samples} images")
        records = np.empty(len(index), dtype=RECORD)
        records["index"] = index
        records["joints"] = self.protocol.joints_to_official(joints.astype(np.float32))
        records["vertices"] = self.protocol.points_to_official(vertices.astype(np.float32))
        self._records.append(records)

    def close(self) -> None:
        """End this process's part; every process calls it before one calls `finalise`."""
        self._records.close()

    def finalise(self) -> list[Finding]:
        """Check that every image is there, write the archive, rename it into place and remove the records.

        Returns:
            What the linter noticed in the predictions; none of it prevents the file from being written.

        Raises:
            InputError: An image has no prediction. The records stay beside the target.
        """
        self.close()
        reader = RecordReader([self._record_path(rank) for rank in range(self.world_size)], self.run_id)
        try:
            order, findings = self._check(reader)
            self._write_archive(reader, order)
        finally:
            reader.close()
        self.discard()
        return findings

    def _check(self, reader: RecordReader) -> tuple[np.ndarray, list[Finding]]:
        """Positions of the records in dataset order, and what the linter says."""
        indices = reader.indices()
        order, repeats = self._dataset_order(indices)
        joints = np.concatenate([reader.gather(rows)["joints"] for rows in _blocks(order)])
        sample = sample_frames(np.arange(len(order)))
        meshes = reader.gather(order[sample])["vertices"]
        findings = lint(joints, meshes, self.protocol, self.num_samples, mesh_frames=sample)
        return order, findings + self._compare_repeats(reader, order[indices[repeats]], repeats)

    def _write_archive(self, reader: RecordReader, order: np.ndarray) -> None:
        info = zipfile.ZipInfo(MEMBER, _FIXED_DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.create_system = 3  # Unix, whatever system writes: equal bytes everywhere
        info.external_attr = 0o644 << 16
        # Sign, digit, point and comma beside the decimals; the archive's long form only where it may be needed.
        is_large = RECORD.itemsize / 4 * len(order) * (self.decimals + 5) > zipfile.ZIP64_LIMIT
        with (
            whole(self.path) as temporary,
            zipfile.ZipFile(temporary, "w") as archive,
            archive.open(info, "w", force_zip64=is_large) as member,
        ):
            for text in _json_chunks(reader, order, self.decimals):
                member.write(text)

    def discard(self) -> None:
        """Remove the records of all processes, and of interrupted runs with more of them."""
        self.close()
        for path in self.path.parent.glob(f".{glob.escape(self.path.name)}.rank*.records"):
            path.unlink(missing_ok=True)

    def __enter__(self) -> "SubmissionWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def _record_path(self, rank: int) -> Path:
        return self.path.with_name(f".{self.path.name}.rank{rank}.records")

    def _dataset_order(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of each image's first record in dataset order, and of all further ones."""
        index, first = np.unique(indices, return_index=True)
        missing = np.setdiff1d(np.arange(self.num_samples), index)
        if len(missing):
            shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise InputError(
                f"{len(missing)} of {self.num_samples} images have no prediction (images {shown}); predict the whole "
                f"evaluation split, without a limit on batches. What is there is kept in {self._record_path(0).name}"
            )
        return first, np.setdiff1d(np.arange(len(indices)), first)

    def _compare_repeats(self, reader: RecordReader, first: np.ndarray, repeats: np.ndarray) -> list[Finding]:
        """Compare the records `repeats` with the first ones of the same images."""
        distance = np.zeros(len(repeats))
        for rows in _blocks(np.arange(len(repeats))):
            difference = reader.gather(repeats[rows])["vertices"] - reader.gather(first[rows])["vertices"]
            distance[rows] = np.abs(difference).max(axis=(1, 2))
        differing = repeats[distance > REPEAT_TOLERANCE]
        if len(differing) == 0:
            return []
        return [
            Finding(
                "repeats_differ",
                "warning",
                f"{len(differing)} repeated predictions differ from the first one of the same image by up to "
                f"{1000 * distance.max():.1f} mm",
                "Predict in evaluation mode (no dropout, no augmentation); the first prediction was written.",
            )
        ]


def _to_numpy(array: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(array, Tensor):
        # NumPy has no bfloat16.
        return (array.float() if array.is_floating_point() else array).detach().cpu().numpy()
    return np.asarray(array)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK))


def _json_chunks(reader: RecordReader, order: np.ndarray, decimals: int) -> Iterator[bytes]:
    """The text of ``[joints, vertices]``, a few hundred images at a time."""
    yield b"[["
    for number, name in enumerate(("joints", "vertices")):
        if number:
            yield b"],["
        for block, rows in enumerate(_blocks(order)):
            # Adding zero turns -0.0 into 0.0.
            rounded = np.round(reader.gather(rows)[name].astype(np.float64), decimals) + 0.0
            text = orjson.dumps(rounded, option=orjson.OPT_SERIALIZE_NUMPY)
            yield (b"," if block else b"") + text[1:-1]
    yield b"]]"
