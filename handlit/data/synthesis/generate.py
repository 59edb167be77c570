"""Write a whole synthetic dataset: plan the sequences, draw them in worker processes, list and label them."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from handlit.data.synthesis import freihand_writer, ho3d_writer
from handlit.data.synthesis.drawing import Painter
from handlit.data.synthesis.grasp import Subject
from handlit.data.synthesis.ho3d_writer import FLIP, SegmentationSize, Split
from handlit.data.synthesis.presets import PRESETS, PresetName, ScenePreset
from handlit.data.synthesis.scene import Scene, sample_scene
from handlit.errors import InputError
from handlit.formats.worker_pool import as_completed_in_processes
from handlit.hand.loading import load_hand
from handlit.skeleton import reorder

Layout = Literal["ho3d_v2", "ho3d_v3", "freihand"]
#: The settings that a folder was made with; an interrupted synthesis is recognised by it.
SETTINGS_FILE = "synthesis.json"
#: Goes up when the same settings give other files.
FORMAT = 2
_PREFIX: dict[Split, str] = {"train": "SYN", "evaluation": "SYE"}


@dataclass(frozen=True)
class _Task:
    """One sequence: the unit of work. Its content depends on nothing but these fields."""

    out: Path
    layout: Layout
    split: Split
    number: int
    first: int
    frames: int
    total: int
    seed: int
    preset: ScenePreset
    mano_path: str | None
    segmentation: SegmentationSize

    @property
    def name(self) -> str:
        # the last digit is the camera, as in the original sequences' names
        return f"{_PREFIX[self.split]}{self.number + 1}0"


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
    dataset of the same seed begins with the smaller one's frames. Evaluation sequences share no subject, object or
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
    out = Path(out)
    if layout not in get_args(Layout):
        raise InputError(f"layout must be one of {', '.join(get_args(Layout))}, got '{layout}'")
    if segmentation not in get_args(SegmentationSize):
        raise InputError(f"segmentation must be one of {', '.join(get_args(SegmentationSize))}, got '{segmentation}'")
    if train < 0 or evaluation < 0 or train + evaluation == 0:
        raise InputError(f"expected at least one frame, none negative; got train={train}, evaluation={evaluation}")
    if seed < 0 or workers < 0:
        raise InputError(f"seed and workers must not be negative, got seed={seed}, workers={workers}")
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise InputError(f"preset must be one of {', '.join(PRESETS)}, got '{preset}'")
        preset = PRESETS[preset]
    mano = None if mano_path is None else str(mano_path)
    _claim_folder(out, _settings(layout, train, evaluation, seed, preset, mano, segmentation))

    counts: dict[Split, int] = {"train": train, "evaluation": evaluation}
    step = preset.frames_per_sequence
    tasks = [
        _Task(out, layout, split, number, first, min(step, total - first), total, seed, preset, mano, segmentation)
        for split, total in counts.items()
        for number, first in enumerate(range(0, total, step))
    ]
    truth = _run(tasks, workers, progress)
    for split in counts:
        own = [task for task in tasks if task.split == split]
        if not own:
            continue
        if layout == "freihand":
            freihand_writer.write_labels(out, split, (labels for task in own for labels in truth[task]))
            continue
        if split == "evaluation":
            for kind in ("xyz", "verts"):
                points = (labels[kind] for task in own for labels in truth[task])
                ho3d_writer.write_truth(out / f"evaluation_{kind}.json", points)
        names = (f"{task.name}/{frame:04d}" for task in own for frame in range(task.frames))
        ho3d_writer.write_list(out / f"{split}.txt", names)


def _settings(
    layout: Layout,
    train: int,
    evaluation: int,
    seed: int,
    preset: ScenePreset,
    mano_path: str | None,
    segmentation: SegmentationSize,
) -> dict[str, object]:
    asset = load_hand(mano_path)
    return {
        "format": FORMAT,
        "layout": layout,
        "train": train,
        "evaluation": evaluation,
        "seed": seed,
        "preset": asdict(preset),
        "segmentation": segmentation,
        "hand": asset.name,
        "hand_template_md5": hashlib.md5(asset.template.tobytes()).hexdigest(),
    }


def _claim_folder(out: Path, settings: dict[str, object]) -> None:
    """Make the folder ours, or see that it is already, with the same settings."""
    record = out / SETTINGS_FILE
    text = json.dumps(settings, indent=2)
    if record.is_file():
        found = json.loads(record.read_text())
        wanted = json.loads(text)
        if found != wanted:
            differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
            raise InputError(
                f"{out} holds a synthesis with other settings ({', '.join(differing)} differ, see {record}): "
                "give the same settings to complete it, or another --out"
            )
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not empty and holds no synthesis ({SETTINGS_FILE}): give a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    ho3d_writer.write_bytes(record, (text + "\n").encode())


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
def _subject(mano_path: str | None) -> Subject:
    return Subject(load_hand(mano_path))


def _write_sequence(task: _Task) -> _Truth:
    """Draw the frames of a sequence that are not there yet; what the lists of its split hold of each frame."""
    subject = _subject(task.mano_path)
    is_evaluation = task.split == "evaluation"
    source = [task.seed, int(is_evaluation), task.number]
    # odd numbers for training, even ones for evaluation: the splits share no object
    label = 2 * task.number + 1 + int(is_evaluation)
    scene = sample_scene(subject, task.preset, label, np.random.default_rng(source))
    write = _write_freihand if task.layout == "freihand" else _write_ho3d
    return write(task, scene, subject, source)


def _write_ho3d(task: _Task, scene: Scene, subject: Subject, source: list[int]) -> _Truth:
    """The labels of evaluation frames, OpenGL axes, float32; none of training frames, which have annotation files."""
    layout: ho3d_writer.Layout = "ho3d_v2" if task.layout == "ho3d_v2" else "ho3d_v3"
    painter = Painter(scene, subject)
    ho3d_writer.write_model(task.out, scene)
    for frame in range(task.frames):
        files = ho3d_writer.frame_files(task.out, task.split, task.name, frame, layout)
        if not all(path.is_file() for path in files.values()):
            picture = painter.draw(frame, np.random.default_rng([*source, frame]))
            meta = ho3d_writer.frame_meta(scene, frame, task.split, layout)
            ho3d_writer.write_frame(files, picture, meta, task.segmentation)
    if task.split == "train":
        return []
    flip = FLIP.astype(np.float32)
    joints = scene.joints[: task.frames][:, reorder("handlit", "ho3d")] * flip
    vertices = scene.vertices[: task.frames] * flip
    return [{"xyz": xyz, "verts": verts} for xyz, verts in zip(joints, vertices, strict=True)]


def _write_freihand(task: _Task, scene: Scene, subject: Subject, source: list[int]) -> _Truth:
    # a number that no frame of the sequence has
    own = np.random.default_rng([*source, task.preset.frames_per_sequence])
    versions = freihand_writer.coloured_versions(scene, task.split, own)
    painters = [Painter(version, subject) for version in versions]
    truth: _Truth = []
    for frame in range(task.frames):
        intrinsics = freihand_writer.crop_intrinsics(scene, frame)
        files = freihand_writer.frame_files(task.out, task.split, task.first + frame, task.total)
        if not all(path.is_file() for path in files):
            rng = np.random.default_rng([*source, frame])
            freihand_writer.write_frame(files, [painter.draw(frame, rng, intrinsics) for painter in painters])
        truth.append(freihand_writer.frame_labels(scene, frame, intrinsics, subject.asset.pose_mean))
    return truth
