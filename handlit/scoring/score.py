"""Scores predictions as the official server would: the function behind the `score` command."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import handlit
from handlit.scoring.board import ZERO_LABEL, Row, ScoreBoard, ScoredPrediction, format_value
from handlit.scoring.error_statistics import CURVE_THRESHOLDS
from handlit.scoring.ground_truth import GroundTruth, read_ground_truth
from handlit.scoring.linter import lint
from handlit.scoring.protocols import ProtocolName, evaluate
from handlit.scoring.report import render_report
from handlit.scoring.submission import read_submission
from handlit.skeleton import ORDERS
from handlit.types import InputError

#: A prediction with this label becomes the reference of the ratios without being named as such.
MEAN_HAND_LABEL = "mean_hand"


def score(
    predictions: Sequence[str | Path],
    ground_truth: str | Path,
    protocol: ProtocolName | Literal["auto"] = "auto",
    out: str | Path | None = None,
    reference: str | None = None,
    console: Console | None = None,
) -> ScoreBoard:
    """Score predictions, print them side by side and write the results.

    All-zero predictions are scored beside them as an anchor. With ``out``, writes ``scores.txt`` (the first
    prediction, in the official format; each further one in a folder of its label), ``scores.json`` and
    ``report.html``, after everything has been computed.

    Args:
        predictions: ``pred.zip`` or ``pred.json`` files or their folders, each as PATH or NAME=PATH. Without a name a
            prediction is called after the folder of the file (``pred.*``) or after the file.
        ground_truth: What `read_ground_truth` reads.
        protocol: The benchmark, or "auto".
        out: Folder for the results; None writes nothing.
        reference: Label of the prediction that errors are divided by; by default the one called ``mean_hand``,
            if there is one.
        console: Where to print; by default the standard output.

    Returns:
        The board.

    Raises:
        InputError: A file is missing, malformed or does not fit the ground truth, or a label is wrong.
    """
    console = console or Console()
    labelled = _label(predictions)
    if reference is None and MEAN_HAND_LABEL in labelled:
        reference = MEAN_HAND_LABEL
    if reference is not None and reference not in labelled:
        raise InputError(f"the reference '{reference}' is none of the predictions: {', '.join(labelled)}")

    truth = read_ground_truth(ground_truth, protocol)
    scored = [_score_file(label, path, truth) for label, path in labelled.items()]
    zeros = np.zeros_like(truth.joints), np.zeros_like(truth.vertices)
    anchor = evaluate(*zeros, truth.joints, truth.vertices, truth.protocol)
    board = ScoreBoard(truth, [*scored, ScoredPrediction(ZERO_LABEL, None, None, anchor, [])], reference)

    _print(board, console)
    if out is not None:
        for path in _write(board, Path(out)):
            console.print(f"wrote {escape(str(path))}", soft_wrap=True, highlight=False)
    return board


def _label(predictions: Sequence[str | Path]) -> dict[str, Path]:
    if not predictions:
        raise InputError("no prediction given; name at least one pred.zip or pred.json")
    labelled: dict[str, Path] = {}
    for prediction in predictions:
        text = str(prediction)
        name, separator, rest = text.partition("=")
        # A path may hold "=" itself: what exists is a path.
        if separator and not Path(text).exists():
            label, path = name, Path(rest)
        else:
            path = Path(text)
            resolved = path.resolve()
            is_generic = resolved.stem == "pred" and not path.is_dir()
            label = resolved.parent.name if is_generic else resolved.name if path.is_dir() else resolved.stem
        if not label or label == ZERO_LABEL:
            raise InputError(f"'{text}': '{label}' cannot be a name; write NAME=PATH")
        if _folder_name(label) in map(_folder_name, labelled):
            raise InputError(f"two predictions are called '{label}'; tell them apart with NAME=PATH")
        labelled[label] = path
    return labelled


def _score_file(label: str, path: Path, truth: GroundTruth) -> ScoredPrediction:
    submission = read_submission(path)
    findings = lint(submission.joints, submission.vertices, truth.protocol, len(truth))
    for finding in findings:
        if finding.name == "wrong_count":
            raise InputError(f"{submission.source}: {finding.message} (ground truth {truth.source}). {finding.fix}")
    evaluation = evaluate(submission.joints, submission.vertices, truth.joints, truth.vertices, truth.protocol)
    with submission.source.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return ScoredPrediction(label, submission.source, digest.hexdigest(), evaluation, findings)


def _print(board: ScoreBoard, console: Console) -> None:
    protocol = board.ground_truth.protocol
    console.print(
        _table(board, f"{protocol.title}, {len(board.ground_truth):,} images: official numbers", board.official_rows())
    )
    console.print(_table(board, "as papers print them", board.paper_rows()))
    for prediction in board.predictions:
        for finding in prediction.findings:
            style = "red" if finding.severity == "error" else "yellow"
            console.print(
                f"[{style}]{escape(prediction.label)}: {finding.name}[/]: {escape(finding.message)}. "
                f"{escape(finding.fix)}"
            )


def _table(board: ScoreBoard, title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("unit")
    for prediction in board.predictions:
        table.add_column(escape(prediction.label), justify="right")
        if board.reference and prediction.source and prediction.label != board.reference:
            table.add_column(f"/ {escape(board.reference)}", justify="right", style="dim")
    for row in rows:
        cells = [row.name, row.unit]
        ratios = board.ratio(row)
        for number, prediction in enumerate(board.predictions):
            cells.append(format_value(row, row.values[number]))
            if board.reference and prediction.source and prediction.label != board.reference:
                cells.append(f"{ratios[number]:.2f}" if ratios and np.isfinite(ratios[number]) else "")
        table.add_row(*cells)
    return table


def _write(board: ScoreBoard, out: Path) -> list[Path]:
    """Write the results, each file whole or not at all; returns the paths."""
    files: dict[Path, bytes] = {}
    for number, prediction in enumerate(p for p in board.predictions if p.source):
        folder = out if number == 0 else out / _folder_name(prediction.label)
        lines = [f"{key}: {value:f}\n" for key, value in prediction.evaluation.official.items()]
        files[folder / "scores.txt"] = "".join(lines).encode()
    files[out / "scores.json"] = orjson.dumps(_as_json(board), option=orjson.OPT_INDENT_2)
    files[out / "report.html"] = render_report(board).encode()
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.partial")
        temporary.write_bytes(content)
        os.replace(temporary, path)
    return list(files)


def _folder_name(label: str) -> str:
    return re.sub(r"[^\w+-]+", "_", label)


def _as_json(board: ScoreBoard) -> dict[str, Any]:
    """Everything on the board, with names and units in the keys; a number that does not exist is null."""
    truth = board.ground_truth
    order = ORDERS[truth.protocol.joint_order]
    predictions = []
    for position, prediction in enumerate(board.predictions):
        errors = prediction.evaluation.errors
        joint_kinds = [kind for kind in errors if kind.startswith("joints")]
        predictions.append(
            {
                "label": prediction.label,
                "source": str(prediction.source) if prediction.source else None,
                "sha256": prediction.sha256,
                "official": prediction.evaluation.official,
                "papers": prediction.evaluation.papers,
                "joint_error_mm": {
                    kind: dict(zip(order, (1000 * errors[kind].per_point()).tolist(), strict=True))
                    for kind in joint_kinds
                },
                "sequence_error_mm": {
                    kind: {name: values[position] for name, _, values in board.sequence_rows(kind)} for kind in errors
                },
                "share_within_threshold": {kind: statistics.curve().tolist() for kind, statistics in errors.items()},
                "findings": [vars(finding) for finding in prediction.findings],
            }
        )
    return {
        "handlit": handlit.__version__,
        "protocol": truth.protocol.name,
        "ground_truth": str(truth.source),
        "num_images": len(truth),
        "reference": board.reference,
        "thresholds_mm": (1000 * CURVE_THRESHOLDS).tolist(),
        "predictions": predictions,
        "ratios_to_reference": {
            row.name: dict(zip([p.label for p in board.predictions], ratios, strict=True))
            for row in (*board.official_rows(), *board.paper_rows())
            if (ratios := board.ratio(row)) is not None
        },
    }
