"""Write a whole synthetic dataset: plan the sequences, draw them in worker processes, list and label them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from handlit.data.synthesis import freihand_writer, ho3d_writer
from handlit.data.synthesis.drawing import Painter, paint_backdrop
from handlit.data.synthesis.freihand_writer import coloured_versions
from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.ho3d_writer import SegmentationSize
from handlit.data.synthesis.presets import PRESETS, PresetName, ScenePreset
from handlit.data.synthesis.renderer import SceneRenderer
from handlit.data.synthesis.sequence import IMAGE_HEIGHT, IMAGE_WIDTH, Sequence, sample_sequence
from handlit.errors import InputError, check_choice, check_number
from handlit.files import TEMPORARY, is_being_written, write_text
from handlit.formats.ho3d_annotations import FLIP, HO3DSplit
from handlit.formats.worker_pool import MAX_WORKERS, as_completed_in_processes
from handlit.hand.asset import HandAsset
from handlit.hand.loading import load_hand
from handlit.skeleton import reorder

Layout = Literal["ho3d_v2", "ho3d_v3", "freihand"]
#: The settings that a folder was made with; an interrupted synthesis is recognised by it.
SETTINGS_FILE = "synthesis.json"
#: Of a split; many times what any dataset has.
MAX_FRAMES = 10_000_000
#: Goes up when the same settings give other files.
FORMAT = 3
_PREFIX: dict[HO3DSplit, str] = {"train": "SYN", "evaluation": "SYE"}


def template_md5(asset: HandAsset) -> str:
    """What tells hands apart in `SETTINGS_FILE`."""
    return hashlib.md5(asset.template.tobytes(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class _Settings:
    """What decides the files of a dataset."""

    layout: Layout
    train: int
    evaluation: int
    seed: int
    preset: ScenePreset
    mano_path: str | None
    segmentation: SegmentationSize

    def __post_init__(self) -> None:
        check_choice("layout", self.layout, Layout)
        check_choice("segmentation", self.segmentation, SegmentationSize)
        check_number("train", self.train, least=0, most=MAX_FRAMES, whole=True)
        check_number("evaluation", self.evaluation, least=0, most=MAX_FRAMES, whole=True)
        check_number("train and evaluation together", self.train + self.evaluation, least=1, whole=True)
        check_number("seed", self.seed, least=0, whole=True)

    def record(self) -> dict[str, object]:
        """As `SETTINGS_FILE` holds them: the hand by what it is, not by where it lies."""
        asset = load_hand(self.mano_path)
        record: dict[str, object] = {"format": FORMAT, **asdict(self)}
        del record["mano_path"]
        return record | {"hand": asset.name, "hand_template_md5": template_md5(asset)}


@dataclass(frozen=True)
class _Task:
    """One sequence: the unit of work. Its content depends on nothing but these fields."""

    out: Path
    settings: _Settings
    split: HO3DSplit
    number: int
    first: int
    frames: int

    @property
    def name(self) -> str:
        # the last digit is the camera, as in the original sequences' names
        return f"{_PREFIX[self.split]}{self.number + 1}0"

    @property
    def source(self) -> list[int]:
        """Of everything random in the sequence."""
        return [self.settings.seed, int(self.split == "evaluation"), self.number]


def synthesise(
    out: str | Path,
    layout: Layout = "ho3d_v3",
    train: int = 2000,
    evaluation: int = 200,
    seed: int = 0,
    preset: PresetName | ScenePreset = "full",
    workers: int = 2,
    mano_path: str | Path | None = None,
    progress: bool = True,
    segmentation: SegmentationSize = "640x480",
) -> None:
    """Write a synthetic dataset in the on-disk layout of HO-3D or FreiHAND, official ground truth included.

    Every sequence has a random source of its own: the files do not depend on the number of workers, and a larger
    dataset of the same seed begins with the smaller one's frames. Evaluation sequences share no person, object or
    background with training sequences. Files appear under their names only when they are whole, the lists and the
    ground truth last; run again with the same settings to complete what was interrupted.

    Args:
        out: Folder to write; created if it is missing.
        layout: ``"ho3d_v3"`` (jpg images, contact fields), ``"ho3d_v2"`` (png images) or ``"freihand"`` (square crops,
            four colourings of every training sample).
        train: Training frames, with all labels.
        evaluation: Evaluation frames; their labels are in ``evaluation_xyz.json`` and ``evaluation_verts.json``, for
            FreiHAND in ``evaluation_mano.json``, too.
        seed: Of everything random.
        preset: Name of a difficulty (see `PRESETS`) or own settings.
        workers: Processes; 0 draws in this one.
        mano_path: The user's MANO file or its folder; None for the built-in stand-in hand.
        progress: Show a progress bar.
        segmentation: Width and height of HO-3D's segmentation images; both were published. FreiHAND's masks are as
            large as its images.

    Raises:
        InputError: A number is out of range, or the folder holds something else than this synthesis.
    """
    if isinstance(preset, str):
        check_choice("preset", preset, PRESETS)
        preset = PRESETS[preset]
    check_number("workers", workers, least=0, most=MAX_WORKERS, whole=True)
    mano = None if mano_path is None else str(mano_path)
    settings = _Settings(layout, train, evaluation, seed, preset, mano, segmentation)
    out = Path(out)
    _claim_folder(out, settings.record())
    tasks = {split: _plan(out, settings, split) for split in _PREFIX}
    truth = _run([task for of_split in tasks.values() for task in of_split], workers, progress)
    for split, of_split in tasks.items():
        if of_split:
            _write_lists(out, settings, split, of_split, [labels for task in of_split for labels in truth[task]])


def _plan(out: Path, settings: _Settings, split: HO3DSplit) -> list[_Task]:
    """The sequences of a split."""
    total, step = _frames(settings, split), settings.preset.frames_per_sequence
    starts = range(0, total, step)
    return [_Task(out, settings, split, i, first, min(step, total - first)) for i, first in enumerate(starts)]


def _frames(settings: _Settings, split: HO3DSplit) -> int:
    return settings.train if split == "train" else settings.evaluation


def _write_lists(out: Path, settings: _Settings, split: HO3DSplit, tasks: list[_Task], truth: "_Truth") -> None:
    """The files that are about a whole split."""
    if settings.layout == "freihand":
        freihand_writer.write_labels(out, split, truth)
        return
    if split == "evaluation":
        for kind in ("xyz", "verts"):
            ho3d_writer.write_truth(out / f"evaluation_{kind}.json", (labels[kind] for labels in truth))
    names = (f"{task.name}/{frame:04d}" for task in tasks for frame in range(task.frames))
    ho3d_writer.write_list(out / f"{split}.txt", names)


def _claim_folder(out: Path, settings: dict[str, object]) -> None:
    """Make the folder ours, or see that it is already, with the same settings."""
    record = out / SETTINGS_FILE
    text = json.dumps(settings, indent=2)
    if record.is_file():
        requested = json.loads(text)
        try:
            recorded = json.loads(record.read_bytes())
        except ValueError as error:
            raise InputError(f"{record} is damaged ({error}): delete it and what lies beside it") from error
        if not isinstance(recorded, dict):
            raise InputError(f"{record} holds no settings of a synthesis: give a new or empty folder")
        if recorded != requested:
            keys = recorded.keys() | requested.keys()
            differing = sorted(key for key in keys if recorded.get(key) != requested.get(key))
            raise InputError(
                f"{out} holds a synthesis with other settings ({', '.join(differing)} differ, see {record}): "
                "give the same settings to complete it, or another --out"
            )
        # what a killed process was writing
        for leftover in out.rglob(TEMPORARY):
            if not is_being_written(leftover):
                leftover.unlink(missing_ok=True)
        return
    # killed while it wrote the record: nothing else is there
    if out.exists() and (not out.is_dir() or not all(path.match(TEMPORARY) for path in out.iterdir())):
        raise InputError(f"{out} is not empty and holds no synthesis ({SETTINGS_FILE}): give a new or empty folder")
    write_text(record, text + "\n")


#: What a split's lists hold, frame by frame: ``xyz``, ``verts`` and, for FreiHAND, more.
_Truth = list[freihand_writer.Labels]


def _run(tasks: list[_Task], workers: int, progress: bool) -> dict[_Task, _Truth]:
    """Draw all sequences; of each, what the lists of its split hold."""
    truth: dict[_Task, _Truth] = {}
    bar = Progress(TextColumn("frames"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), disable=not progress)
    with bar:
        row = bar.add_task("", total=sum(task.frames for task in tasks))
        for task, result in as_completed_in_processes(_write_sequence, tasks, workers):
            truth[task] = result
            bar.advance(row, task.frames)
    return truth


@lru_cache(maxsize=1)
def _renderer(mano_path: str | None) -> tuple[HandModel, SceneRenderer]:
    model = HandModel(load_hand(mano_path))
    return model, SceneRenderer(model)


def _write_sequence(task: _Task) -> _Truth:
    """Draw the frames of a sequence that are not there yet; what the lists of its split hold of each frame."""
    model, renderer = _renderer(task.settings.mano_path)
    # odd numbers for training, even ones for evaluation: the splits share no object
    label = 2 * task.number + 1 + int(task.split == "evaluation")
    sequence = sample_sequence(model, renderer, task.settings.preset, label, np.random.default_rng(task.source))
    # a number that no frame of the sequence has
    rng = np.random.default_rng([*task.source, task.settings.preset.frames_per_sequence])
    if task.settings.layout == "freihand":
        return _write_freihand(task, sequence, model, coloured_versions(renderer, sequence, task.split, rng))
    return _write_ho3d(task, sequence, renderer, rng)


def _write_ho3d(task: _Task, sequence: Sequence, renderer: SceneRenderer, rng: np.random.Generator) -> _Truth:
    """The labels of evaluation frames, OpenGL axes, float32; none of training frames, which have annotation files."""
    layout: ho3d_writer.Layout = "ho3d_v2" if task.settings.layout == "ho3d_v2" else "ho3d_v3"
    backdrop = paint_backdrop(sequence.scene.background, IMAGE_WIDTH, IMAGE_HEIGHT, rng)
    painter = Painter(renderer, sequence, sequence.scene, backdrop)
    ho3d_writer.write_model(task.out, sequence, painter.print)
    metas = ho3d_writer.annotations(sequence, task.split, layout)
    for frame in range(task.frames):
        files = ho3d_writer.frame_files(task.out, task.split, task.name, frame, layout)
        if not all(path.is_file() for path in files.values()):
            image = painter.draw(frame, np.random.default_rng([*task.source, frame]))
            ho3d_writer.write_frame(files, image, metas[frame], task.settings.segmentation)
    if task.split == "train":
        return []
    flip = FLIP.astype(np.float32)
    joints = sequence.joints[: task.frames][:, reorder("handlit", "ho3d")] * flip
    vertices = sequence.vertices[: task.frames] * flip
    return [{"xyz": xyz, "verts": verts} for xyz, verts in zip(joints, vertices, strict=True)]


def _write_freihand(task: _Task, sequence: Sequence, model: HandModel, painters: list[Painter]) -> _Truth:
    truth: _Truth = []
    total = _frames(task.settings, task.split)
    for frame in range(task.frames):
        intrinsics = freihand_writer.crop_intrinsics(sequence, frame)
        files = freihand_writer.frame_files(task.out, task.split, task.first + frame, total)
        if not all(path.is_file() for path in files):
            rng = np.random.default_rng([*task.source, frame])
            freihand_writer.write_frame(files, [painter.draw(frame, rng, intrinsics) for painter in painters])
        truth.append(freihand_writer.frame_labels(sequence, frame, intrinsics, model.asset.pose_mean))
    return truth
