"""The files of a score board: ``scores.txt``, ``scores.json`` and ``report.html``."""

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

import handlit
from handlit.scoring.board import HEADLINES, Difference, ScoreBoard
from handlit.scoring.bootstrap import LEVEL, NUM_DRAWS, Interval
from handlit.scoring.official.error_statistics import CURVE_THRESHOLDS
from handlit.skeleton import ORDERS


def write_results(board: ScoreBoard, report: str, out: Path) -> list[Path]:
    """Write the results, each file whole or not at all.

    Args:
        board: The scores.
        report: The HTML report.
        out: Folder; made if it is not there.

    Returns:
        The paths: ``scores.txt`` of the first prediction in the official format and its ``result_card.json``, each
        further one's in a folder of its label, ``scores.json`` and ``report.html``.
    """
    files: dict[Path, bytes] = {}
    for number, prediction in enumerate(p for p in board.predictions if p.source):
        folder = out if number == 0 else out / folder_name(prediction.label)
        lines = [f"{key}: {value:f}\n" for key, value in prediction.evaluation.official.items()]
        files[folder / "scores.txt"] = "".join(lines).encode()
        if prediction.card:
            card = orjson.dumps(asdict(prediction.card), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
            files[folder / "result_card.json"] = card
    files[out / "scores.json"] = orjson.dumps(board_as_json(board), option=orjson.OPT_INDENT_2)
    files[out / "report.html"] = report.encode()
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.partial")
        temporary.write_bytes(content)
        os.replace(temporary, path)
    return list(files)


def folder_name(label: str) -> str:
    """A label as a folder's name."""
    return re.sub(r"[^\w+-]+", "_", label)


def board_as_json(board: ScoreBoard) -> dict[str, Any]:
    """Everything on the board, with names and units in the keys; a number that does not exist is null."""
    truth = board.ground_truth
    order = ORDERS[truth.protocol.joint_order]
    labels = [prediction.label for prediction in board.predictions]
    predictions = []
    for position, prediction in enumerate(board.predictions):
        errors = prediction.evaluation.errors
        joint_kinds = [kind for kind in errors if kind.startswith("joints")]
        predictions.append(
            {
                "label": prediction.label,
                "source": str(prediction.source) if prediction.source else None,
                "sha256": prediction.sha256,
                "card": asdict(prediction.card) if prediction.card else None,
                "official": prediction.evaluation.official,
                "papers": prediction.evaluation.papers,
                "headline": {
                    headline.key: {
                        "value": row.values[position],
                        "interval": _ends(row.intervals[position] if row.intervals else None),
                    }
                    for headline, row in zip(HEADLINES, board.headline_rows, strict=True)
                },
                "joint_error_mm": {
                    kind: dict(zip(order, (1000 * errors[kind].per_point()).tolist(), strict=True))
                    for kind in joint_kinds
                },
                "sequence_error_mm": {
                    kind: {name: values[position] for name, _, values in board.sequence_rows(kind)} for kind in errors
                },
                "visibility_error_mm": {
                    kind: {row.name.split()[0]: row.values[position] for row in board.visibility_rows(kind)}
                    for kind in ("joints_root", "joints_procrustes")
                    if board.visible is not None
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
        "bootstrap": {
            "level": LEVEL,
            "draws": NUM_DRAWS,
            "over": board.bootstrap.unit,
            "number": board.bootstrap.num_groups,
        },
        "visible_share": None if board.visible is None else float(board.visible[:, 1:].mean()),
        "thresholds_mm": (1000 * CURVE_THRESHOLDS).tolist(),
        "predictions": predictions,
        "differences": [_difference(difference) for difference in board.differences],
        "ratios_to_reference": {
            row.name: dict(zip(labels, ratios, strict=True))
            for row in (*board.official_rows(), *board.paper_rows())
            if (ratios := board.ratio(row)) is not None
        },
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "number": difference.key,
        "of": difference.second,
        "minus": difference.first,
        "value": difference.value,
        "interval": _ends(difference.interval),
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
