"""Scores predictions as the official server would: the function behind the `score` command."""

import os
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from handlit.errors import InputError
from handlit.files import check_writable, named_path, sha256
from handlit.findings import Finding
from handlit.formats.ground_truth import GroundTruth, read_ground_truth
from handlit.formats.scenes import Scenes, faces_fit
from handlit.hand.loading import load_hand
from handlit.scoring.console import print_findings, print_scores
from handlit.scoring.official.evaluation import evaluate
from handlit.scoring.official.linter import lint, lint_file
from handlit.scoring.official.predicted_scale import read_joint_scale, scale_file
from handlit.scoring.official.result_card import read_card
from handlit.scoring.official.submission import Submission, read_submission
from handlit.scoring.official.visibility import joint_visibility
from handlit.scoring.pages.gallery import choose_frames, draw_gallery
from handlit.scoring.pages.report import render_report
from handlit.scoring.results import folder_name, write_results
from handlit.scoring.scores import ZERO_LABEL, ScoredPrediction, Scores

#: A prediction with this label becomes the reference of the ratios without being named as such.
MEAN_HAND_LABEL = "mean_hand"
#: Frames up to which visibility is found without being asked for; it takes about 2 ms a frame.
QUICK_VISIBILITY = 2000


def score(
    predictions: Sequence[str | Path],
    ground_truth: str | Path,
    protocol: str = "auto",
    out: str | Path | None = None,
    reference: str | None = None,
    console: Console | None = None,
    by_visibility: bool | None = None,
    mano_path: str | Path | None = None,
) -> Scores:
    """Score predictions, print them side by side and write the results.

    All-zero predictions are scored beside them as an anchor. With ``out``, writes ``scores.txt`` (the first
    prediction, in the official format; each further one in a folder of its label), ``scores.json`` and
    ``report.html``, after everything has been computed.

    Args:
        predictions: ``pred.zip`` or ``pred.json`` files or their folders, each as PATH or NAME=PATH. Without a name a
            prediction is called after the folder of the file (``pred.*``) or after the file.
        ground_truth: What `read_ground_truth` reads. A dataset root adds images and visibility to the report.
        protocol: The benchmark, or "auto".
        out: Folder for the results; None writes nothing.
        reference: Label of the prediction that errors are divided by; by default the one called ``mean_hand``,
            if there is one.
        console: Where to print; by default the standard output.
        by_visibility: Show the errors of visible and of hidden joints apart; None does so where the files are at hand
            and the frames are few enough to take a moment.
        mano_path: MANO file or folder of the true meshes; None for the stand-in hand of synthetic data.

    Returns:
        The scores.

    Raises:
        InputError: A file is missing, malformed or does not fit the ground truth, or a label is wrong.
        OSError: `out` cannot be written; found before anything is computed.
    """
    console = console or Console()
    if out is not None:
        check_writable(Path(out))
    paths = _named(predictions)
    reference = _reference(reference, paths)
    faces = load_hand(mano_path).faces
    truth = read_ground_truth(ground_truth, protocol)
    scenes = truth.open_scenes()

    scored, frames = _score_files(paths, truth)
    visible = None
    if by_visibility or (by_visibility is None and _is_quick(truth, scenes, faces)):
        # not rich's `track`: where an image fails its thread goes on
        with Progress(console=console, transient=True) as bar:
            visible = joint_visibility(truth, scenes, faces, partial(bar.track, description="visibility"))
    scores = Scores(truth, [*scored, _zero_prediction(truth)], reference, visible)
    print_scores(scores, console)
    if out is not None:
        report = render_report(scores, draw_gallery(scores, scenes, frames, faces))
        for path in write_results(scores, report, Path(out)):
            console.print(f"wrote {escape(str(path))}", soft_wrap=True, highlight=False)
    return scores


def lint_files(
    predictions: Sequence[str | Path],
    ground_truth: str | Path,
    protocol: str = "auto",
    console: Console | None = None,
) -> bool:
    """Look for the usual mistakes in submissions, print what is found and score nothing.

    Args:
        predictions: As for `score`.
        ground_truth: Decides the benchmark and the number of images.
        protocol: The benchmark, or "auto".
        console: Where to print; by default the standard output.

    Returns:
        Whether no submission has an error; warnings are ignored.

    Raises:
        InputError: A file cannot be read.
    """
    console = console or Console()
    paths = _named(predictions)
    truth = read_ground_truth(ground_truth, protocol)
    passed = True
    for label, path in paths.items():
        findings = lint_file(path, truth.benchmark, len(truth))
        print_findings(label, findings, console)
        errors = sum(finding.severity == "error" for finding in findings)
        verdict = f"{errors} errors, {len(findings) - errors} warnings" if findings else "nothing found"
        console.print(f"{escape(label)}: {verdict}", highlight=False)
        passed &= errors == 0
    return passed


def _named(predictions: Sequence[str | Path]) -> dict[str, Path]:
    """Paths of the predictions by their labels."""
    if not predictions:
        raise InputError("no prediction given; name at least one pred.zip or pred.json")
    paths: dict[str, Path] = {}
    for prediction in predictions:
        text = str(prediction)
        label, path = named_path(text)
        if not label:
            resolved = path.resolve()
            is_generic = resolved.stem == "pred" and not path.is_dir()
            label = resolved.parent.name if is_generic else resolved.name if path.is_dir() else resolved.stem
        if text.startswith("=") and not os.path.exists(text):
            label = ""
        if not label or label == ZERO_LABEL:
            raise InputError(f"'{text}': '{label}' cannot be a name; write NAME=PATH")
        if folder_name(label) in map(folder_name, paths):
            raise InputError(f"two predictions are called '{label}'; give them different names with NAME=PATH")
        paths[label] = path
    return paths


def _reference(label: str | None, paths: Collection[str]) -> str | None:
    """The label of the prediction that errors are divided by; None for none."""
    if label is None and MEAN_HAND_LABEL in paths:
        return MEAN_HAND_LABEL
    if label is not None and label not in paths:
        raise InputError(f"the reference '{label}' is none of the predictions: {', '.join(paths)}")
    return label


def _score_files(paths: dict[str, Path], truth: GroundTruth) -> tuple[list[ScoredPrediction], dict[int, str]]:
    """The scored predictions, and the frames whose meshes they keep: those that the first one finds hard and usual."""
    scored: list[ScoredPrediction] = []
    frames: dict[int, str] = {}
    for label, path in paths.items():
        submission, findings = _read(path, truth)
        evaluation = evaluate(submission.joints, submission.vertices, truth.joints, truth.vertices, truth.benchmark)
        frames = frames or choose_frames(evaluation, truth.names)
        digest = sha256(submission.source)
        scored.append(
            ScoredPrediction(
                label,
                submission.source,
                digest,
                evaluation,
                findings,
                submission.joints,
                read_joint_scale(scale_file(submission.source), len(truth), truth.benchmark, digest),
                read_card(submission.source, digest),
                shown_vertices={number: submission.vertices[number].copy() for number in frames},
            )
        )
    return scored, frames


def _zero_prediction(truth: GroundTruth) -> ScoredPrediction:
    # not zeros_like, which writes the zeros: these take no memory
    joints, vertices = np.zeros(truth.joints.shape), np.zeros(truth.vertices.shape)
    evaluation = evaluate(joints, vertices, truth.joints, truth.vertices, truth.benchmark)
    return ScoredPrediction(ZERO_LABEL, None, None, evaluation, [], joints)


def _read(path: Path, truth: GroundTruth) -> tuple[Submission, list[Finding]]:
    submission = read_submission(path, len(truth))
    findings = lint(submission.joints, submission.vertices, truth.benchmark, len(truth))
    for finding in findings:
        if finding.name == "wrong_count":
            raise InputError(f"{submission.source}: {finding.message} (ground truth {truth.source}). {finding.fix}")
    return submission, findings


def _is_quick(truth: GroundTruth, scenes: Scenes, faces: np.ndarray) -> bool:
    """Whether visibility can be found in a moment."""
    is_short = len(truth) <= QUICK_VISIBILITY
    return is_short and faces_fit(truth.vertices[0], faces) and scenes.has_all_cameras()
