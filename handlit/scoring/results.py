"""The files of `score`: ``scores.txt``, ``result_card.json``, ``scores.json`` and ``report.html``."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

import handlit
from handlit.files import write_bytes
from handlit.scoring.bootstrap import LEVEL, NUM_DRAWS, Estimate
from handlit.scoring.official.error_statistics import CURVE_THRESHOLDS
from handlit.scoring.official.measures import HEADLINES
from handlit.scoring.official.result_card import card_content
from handlit.scoring.scores import Difference, Scores


def write_results(scores: Scores, report: str, out: Path) -> list[Path]:
    """Write the results, each file whole or not at all.

    Args:
        scores: The scores.
        report: The HTML report.
        out: Folder; made if it is not there.

    Returns:
        The paths: ``scores.txt`` of the first prediction in the official format and its ``result_card.json``, each
        further one's in a folder of its label, ``scores.json`` and ``report.html``.
    """
    files: dict[Path, bytes] = {}
    for number, prediction in enumerate(p for p in scores.predictions if p.source):
        folder = out if number == 0 else out / folder_name(prediction.label)
        lines = [f"{key}: {value:f}\n" for key, value in prediction.evaluation.official.items()]
        files[folder / "scores.txt"] = "".join(lines).encode()
        if prediction.card:
            files[folder / "result_card.json"] = card_content(prediction.card)
    files[out / "scores.json"] = orjson.dumps(scores_as_json(scores), option=orjson.OPT_INDENT_2)
    files[out / "report.html"] = report.encode()
    for path, content in files.items():
        write_bytes(path, content)
    return list(files)


def folder_name(label: str) -> str:
    """A label as a folder's name."""
    return re.sub(r"[^\w+-]+", "_", label)


def scores_as_json(scores: Scores) -> dict[str, Any]:
    """Everything that was scored, with names and units in the keys; a number that does not exist is null."""
    truth = scores.ground_truth
    return {
        "handlit": handlit.__version__,
        "protocol": truth.benchmark.name,
        "ground_truth": str(truth.source),
        "num_images": len(truth),
        "reference": scores.reference,
        "bootstrap": {
            "level": LEVEL,
            "draws": NUM_DRAWS,
            "over": scores.bootstrap.unit,
            "number": scores.bootstrap.num_groups,
        },
        "visible_share": None if scores.visible is None else float(scores.visible[:, 1:].mean()),
        "thresholds_mm": (1000 * CURVE_THRESHOLDS).tolist(),
        "predictions": [_prediction(scores, position) for position in range(len(scores.predictions))],
        "differences": [_difference(difference) for difference in scores.differences],
        "ratios_to_reference": {
            row.measure.key: dict(zip(scores.labels, ratios, strict=True))
            for table in (scores.official_table(), scores.paper_table())
            for row in table.rows
            if (ratios := scores.ratios(row)) is not None
        },
    }


def _prediction(scores: Scores, position: int) -> dict[str, Any]:
    prediction = scores.predictions[position]
    errors = prediction.evaluation.errors
    order = scores.ground_truth.benchmark.joint_order
    by_joint = {kind: (1000 * errors[kind].per_point()).tolist() for kind in errors if kind.startswith("joints")}
    by_visibility = {
        kind: {row.group.split()[0]: _value(row.cells[position].estimate) for row in scores.visibility_table(kind).rows}
        for kind in ("joints_root", "joints_procrustes")
        if scores.visible is not None
    }
    return {
        "label": prediction.label,
        "source": str(prediction.source) if prediction.source else None,
        "sha256": prediction.sha256,
        "card": asdict(prediction.card) if prediction.card else None,
        "official": prediction.evaluation.official,
        "papers": prediction.evaluation.papers,
        "headline": {
            measure.key: {"value": _value(row[position]), "interval": _ends(row[position])}
            for measure, row in zip(HEADLINES, scores.headlines, strict=True)
        },
        "joint_error_mm": {kind: dict(zip(order, values, strict=True)) for kind, values in by_joint.items()},
        "sequence_error_mm": {
            kind: {name: values[position] for name, _, values in scores.sequence_rows(kind)} for kind in errors
        },
        "visibility_error_mm": by_visibility,
        "share_within_threshold": {kind: statistics.curve().tolist() for kind, statistics in errors.items()},
        "findings": [
            {"name": item.name, "severity": item.severity, "message": item.message, "fix": item.fix}
            for item in prediction.findings
        ],
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "number": difference.measure.key,
        "of": difference.second,
        "minus": difference.first,
        "value": difference.estimate.value,
        "interval": _ends(difference.estimate),
    }


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value


def _ends(estimate: Estimate | None) -> list[float] | None:
    if estimate is None or estimate.interval is None:
        return None
    return [estimate.interval.low, estimate.interval.high]
