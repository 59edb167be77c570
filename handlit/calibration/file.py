"""``calibration.json``: what `calibrate` found, tied to the weights and the settings of the method that it is of."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch

from handlit.calibration.conformal import GUARANTEE
from handlit.distributions.calibrated_hands import Differences, HandCalibration, Widening
from handlit.errors import InputError
from handlit.files import sha256, write_bytes
from handlit.metrics.calibration import LEVELS
from handlit.metrics.functional import MILLIMETRES_PER_METRE
from handlit.program import program
from handlit.reading import read_json
from handlit.skeleton import JOINTS, NUM_JOINTS

#: Goes up when a key changes its meaning.
FORMAT = 1
#: Of factors and errors, far beyond what is fitted.
_MOST = 1e3
#: Digits of radians and metres: a thousandth of a millimetre.
_DIGITS = 6


@dataclass(frozen=True)
class Origin:
    """What a calibration is of.

    Attributes:
        method: Class name.
        checkpoint: The file of the weights.
        settings: Of the method, as in its run's configuration.
    """

    method: str
    checkpoint: Path
    settings: Mapping[str, Any]

    def record(self) -> dict[str, str]:
        """As it stands in the file: weights and settings by their checksums."""
        text = orjson.dumps(self.settings, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=str)
        return {
            "method": self.method,
            "checkpoint": self.checkpoint.name,
            "checkpoint_sha256": sha256(self.checkpoint),
            "settings_sha256": hashlib.sha256(text).hexdigest(),
        }


def write_calibration(
    path: Path, calibration: HandCalibration, radii: torch.Tensor, origin: Origin, validation: Mapping[str, Any]
) -> None:
    """Write a calibration, whole or not at all.

    Args:
        path: The file.
        calibration: What is applied.
        radii: (L, 21) of `LEVELS`, metres.
        origin: What it is of.
        validation: What it was fitted to: images, hypotheses, data.
    """
    used = bool(calibration.turn.added or calibration.rest.added)
    errors = {name: _rounded(part) if used else [] for name, part in calibration.errors._asdict().items()}
    # up, so that they hold what they promise; but for float32's last digits
    millimetres = np.ceil(100 * MILLIMETRES_PER_METRE * radii.double().numpy() - 1e-3) / 100
    content = {
        "format": FORMAT,
        "of": origin.record(),
        "validation": dict(validation),
        "spread": {
            "turn": calibration.turn._asdict(),
            "rest": calibration.rest._asdict(),
            "joints": _rounded(calibration.joints),
            "usual_scale_m": calibration.usual_scale,
        },
        "conformal": {
            "guarantee": GUARANTEE,
            "joints": list(JOINTS),
            "radii_mm": {f"{level:g}": row.tolist() for level, row in zip(LEVELS, millimetres, strict=True)},
        },
        "errors": errors,
    }
    write_bytes(path, orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_calibration(path: Path, origin: Origin) -> HandCalibration:
    """Read the calibration of a method.

    Raises:
        FileNotFoundError: There is none.
        InputError: It is damaged, or of other weights or settings.
    """
    advice = f"run `{program()} calibrate --config RUN/config.yaml`"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {advice} first")
    content = read_json(path, "a calibration")
    try:
        found, calibration = dict(content["of"]), _calibration(content)
        version = content["format"]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path} holds no calibration, or a damaged one: {advice} again") from error
    if version != FORMAT:
        raise InputError(f"{path} is of format {version}, this is format {FORMAT}: {advice} again")
    for key, value in origin.record().items():
        if key != "checkpoint" and found.get(key) != value:
            what = {"checkpoint_sha256": "weights", "settings_sha256": "settings of the method"}.get(key, key)
            raise InputError(f"{path} is the calibration of another run: its {what} are not those asked for; {advice}")
    return calibration


def _calibration(content: Any) -> HandCalibration:
    spread = content["spread"]
    turn, rest = (Widening(*(_number(spread[part][name]) for name in Widening._fields)) for part in ("turn", "rest"))
    errors = content["errors"]
    turns, rests = _array(errors["turn"], -1, 3), _array(errors["rest"], -1, NUM_JOINTS, 3)
    joints, usual = _array(spread["joints"], NUM_JOINTS), _number(spread["usual_scale_m"])
    needs_errors = turn.added != 0 or rest.added != 0
    if len(turns) != len(rests) or usual <= 0 or needs_errors > len(turns):
        raise ValueError("shapes that do not fit each other")
    return HandCalibration(turn, rest, joints, usual, Differences(turns, rests))


def _number(value: Any) -> float:
    if not isinstance(value, float | int) or not math.isfinite(value) or not 0 <= value <= _MOST:
        raise ValueError("no number of the range")
    return float(value)


def _array(value: Any, *shape: int) -> torch.Tensor:
    array = np.asarray(value, np.float32).reshape(shape)
    if not np.isfinite(array).all() or (np.abs(array) > _MOST).any():
        raise ValueError("no numbers of the range")
    return torch.from_numpy(array)


def _rounded(values: torch.Tensor) -> list[Any]:
    rounded: list[Any] = values.double().numpy().round(_DIGITS).tolist()
    return rounded
