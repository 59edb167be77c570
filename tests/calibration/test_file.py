"""A calibration comes back from its file as it was, for its own run alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from handlit.calibration.file import Origin, read_calibration, write_calibration
from handlit.distributions.calibrated_hands import Differences, HandCalibration, Widening
from handlit.errors import InputError

ERRORS = Differences(torch.linspace(-0.2, 0.3, 12).view(4, 3), torch.linspace(-0.01, 0.02, 252).view(4, 21, 3))
CALIBRATION = HandCalibration(Widening(1.5, 0.5, 0.25), Widening(0.75), torch.linspace(0.5, 2, 21), 0.0125, ERRORS)


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    checkpoint = tmp_path / "best.ckpt"
    checkpoint.write_bytes(b"weights")
    return Origin("AMVUR", checkpoint, {"class_path": "AMVUR", "init_args": {"answer": "attention"}})


@pytest.fixture
def file(tmp_path: Path, origin: Origin) -> Path:
    path = tmp_path / "calibration.json"
    write_calibration(path, CALIBRATION, torch.full((4, 21), 0.0123), origin, {"images": 4})
    return path


def test_it_comes_back(file: Path, origin: Origin) -> None:
    found = read_calibration(file, origin)
    assert (found.turn, found.rest, found.usual_scale) == (CALIBRATION.turn, CALIBRATION.rest, 0.0125)
    torch.testing.assert_close(found.joints, CALIBRATION.joints, rtol=0, atol=1e-6)
    for part, expected in zip(found.errors, ERRORS, strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-6)
    content = orjson.loads(file.read_bytes())
    assert content["conformal"]["radii_mm"]["0.95"] == [12.3] * 21
    assert "exchangeable" in content["conformal"]["guarantee"]
    assert content["validation"] == {"images": 4}


def test_errors_that_nothing_adds_are_not_kept(file: Path, origin: Origin) -> None:
    write_calibration(file, replace(CALIBRATION, turn=Widening(2.0)), torch.zeros(4, 21), origin, {})
    found = read_calibration(file, origin)
    assert found.turn == Widening(2.0)
    assert len(found.errors.turn) == len(found.errors.rest) == 0


def test_that_of_another_run_is_refused(file: Path, origin: Origin, tmp_path: Path) -> None:
    prior = {"class_path": "AMVUR", "init_args": {"answer": "prior"}}
    other = tmp_path / "other.ckpt"
    other.write_bytes(b"other weights")
    for wrong, what in (
        (replace(origin, checkpoint=other), "weights"),
        (replace(origin, settings=prior), "settings of the method"),
        (replace(origin, method="MHEntropy"), "method"),
    ):
        with pytest.raises(InputError, match=f"is the calibration of another run: its {what} are not"):
            read_calibration(file, wrong)
    with pytest.raises(FileNotFoundError, match="calibrate --config RUN"):
        read_calibration(tmp_path / "none.json", origin)


@pytest.mark.parametrize(
    "change",
    [
        {"spread": {}},
        {"of": None},
        {"errors": {"turn": [], "rest": []}},
        {"errors": {"turn": [[0.0, 0.0, 0.0]], "rest": [[1.0]]}},
        {"errors": {"turn": [["a"]], "rest": []}},
        {"format": 2},
    ],
)
def test_damage_is_one_line(file: Path, origin: Origin, change: dict[str, Any]) -> None:
    file.write_bytes(orjson.dumps({**orjson.loads(file.read_bytes()), **change}))
    with pytest.raises(InputError, match=r"calibration\.json (holds no calibration|is of format 2)"):
        read_calibration(file, origin)


@pytest.mark.parametrize("value", [-1, 1000.5, 1e9, "1", None])
def test_no_number_of_the_range_is_taken(file: Path, origin: Origin, value: object) -> None:
    content = orjson.loads(file.read_bytes())
    content["spread"]["turn"]["own"] = value
    file.write_bytes(orjson.dumps(content))
    with pytest.raises(InputError, match="holds no calibration"):
        read_calibration(file, origin)


def test_the_range_ends_at_a_thousand(file: Path, origin: Origin) -> None:
    content = orjson.loads(file.read_bytes())
    content["spread"]["turn"]["own"] = 1000
    content["errors"]["turn"][0][0] = -1000
    file.write_bytes(orjson.dumps(content))
    found = read_calibration(file, origin)
    assert [found.turn.own, found.errors.turn[0, 0].item()] == [1000, -1000]
    content["errors"]["turn"][0][0] = -1000.5
    file.write_bytes(orjson.dumps(content))
    with pytest.raises(InputError, match="holds no calibration"):
        read_calibration(file, origin)
