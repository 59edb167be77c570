import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from handlit.cli import main
from handlit.errors import InputError
from handlit.formats.registry import benchmark_named
from handlit.scoring.official.submission_writer import SubmissionWriter
from handlit.scoring.score import score
from tests.formats.test_ground_truth import write_truth
from tests.scoring.hands import make_hands
from tests.scoring.official import frame_by_frame

COUNT = 6


def write_prediction(path: Path, protocol_name: str, noise: float, count: int = COUNT) -> Path:
    protocol = benchmark_named(protocol_name)
    hands = make_hands(count, protocol)
    rng = np.random.default_rng(int(1e4 * noise))
    with SubmissionWriter(path, count, protocol, decimals=8) as writer:
        writer.write(
            np.arange(count),
            hands.joints_cam + rng.normal(0, noise, hands.joints.shape),
            hands.vertices_cam + rng.normal(0, noise, hands.vertices.shape),
        )
        writer.finalise()
    return path


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    root = write_truth(tmp_path / "HO3D_v2", "ho3d_v2", COUNT)
    (root / "evaluation" / "AP10" / "rgb").mkdir(parents=True)
    # what a png says of the version; no image of these hands
    (root / "evaluation" / "AP10" / "rgb" / "none.png").touch()
    return root


def test_several_predictions_side_by_side(tmp_path: Path, truth: Path) -> None:
    model = write_prediction(tmp_path / "amvur" / "pred.zip", "ho3d_v2", 0.003)
    mean = write_prediction(tmp_path / "base.zip", "ho3d_v2", 0.02)
    console = quiet()
    out = tmp_path / "out"
    scores = score([model, f"mean_hand={mean}"], truth, out=out, console=console)

    assert scores.labels == ["amvur", "mean_hand", "zero prediction"]
    assert scores.reference == "mean_hand"
    row = scores.official_table().rows[0]
    values = [cell.estimate.value for cell in row.cells if cell.estimate is not None]
    assert scores.ratios(row) == pytest.approx([value / values[1] for value in values])
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("amvur", "mean_hand", "zero prediction", "ratio to mean_hand", "f_al_score_15", "mean_hand − amvur"):
        assert text in printed
    results = {"scores.txt", "result_card.json", "scores.json", "report.html"}
    results |= {"mean_hand/scores.txt", "mean_hand/result_card.json"}
    for name in results:
        assert str(out / name) in printed
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == results

    lines = (out / "scores.txt").read_text().splitlines()
    assert [line.split(": ")[0] for line in lines] == list(benchmark_named("ho3d_v2").keys)
    assert all(re.fullmatch(r"\w+: -?\d+\.\d{6}", line) for line in lines)
    with zipfile.ZipFile(model) as archive:
        xyz, verts = json.loads(archive.read("pred.json"))
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    expected = frame_by_frame.evaluate(np.array(xyz), np.array(verts), hands.joints, hands.vertices, ho3d=True)
    for line in lines:
        key, value = line.split(": ")
        assert float(value) == pytest.approx(expected[key], abs=1e-6)


def test_scores_json_holds_everything(tmp_path: Path, truth: Path) -> None:
    model = write_prediction(tmp_path / "m" / "pred.zip", "ho3d_v2", 0.003)
    scores = score([model], truth, out=tmp_path / "out", console=quiet())
    data = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert (data["protocol"], data["num_images"], data["reference"]) == ("ho3d_v2", COUNT, None)
    first, zero = data["predictions"]
    assert first["official"] == scores.predictions[0].evaluation.official
    assert zero["official"]["xyz_scale_trans_al_mean3d"] is None
    assert len(first["sha256"]) == 64
    assert first["card"]["prediction_sha256"] == first["sha256"]
    assert json.loads((tmp_path / "out" / "result_card.json").read_text()) == first["card"]
    assert set(first["sequence_error_mm"]["joints"]) == {"SM1", "AP10"}
    assert np.mean(list(first["sequence_error_mm"]["joints"].values())) == pytest.approx(first["papers"]["mpjpe_mm"])
    assert np.mean(list(first["joint_error_mm"]["joints"].values())) == pytest.approx(first["papers"]["mpjpe_mm"])
    assert first["headline"]["pa_mpjpe_mm"]["value"] == pytest.approx(first["papers"]["pa_mpjpe_mm"])
    low, high = first["headline"]["pa_mpjpe_mm"]["interval"]
    assert low < first["papers"]["pa_mpjpe_mm"] < high
    assert data["bootstrap"] == {"level": 0.95, "draws": 2000, "over": "sequences", "number": 2}
    assert len(first["share_within_threshold"]["vertices"]) == len(data["thresholds_mm"]) == 100


def test_the_table_fits_a_narrow_terminal(tmp_path: Path, truth: Path) -> None:
    model = write_prediction(tmp_path / "m" / "pred.zip", "ho3d_v2", 0.003)
    labels = ["a", "mean_hand", "c" * 40, "d"]
    console = Console(file=io.StringIO(), width=80)
    score([f"{label}={model}" for label in labels], truth, console=console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed
    first = printed.index("RA-MPJPE")
    for name in (*benchmark_named("ho3d_v2").keys, "PA-MPJPE mm", "RA-MPVPE mm", "PA-MPVPE mm", "F@5", "F@15"):
        assert first <= printed.index(name)
    # every prediction's number is there once in each table
    value = score([model], truth, console=quiet()).headline_table().rows[0].value(0)
    lines = [line for line in printed.splitlines() if line.startswith("RA-MPJPE mm")]
    assert sum(line.count(f" {value} ") for line in lines) == len(labels)


def test_lint_only(tmp_path: Path, truth: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_prediction(tmp_path / "good.zip", "ho3d_v2", 0.001)
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps([(1000 * hands.joints).tolist(), (1000 * hands.vertices).tolist()]))
    main(["score", str(good), str(truth), "--lint"])
    assert "good: " in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["score", str(good), str(bad), str(truth), "--lint", "--out", str(tmp_path / "out")])
    assert stop.value.code == 1
    assert "wrong_unit" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_where_nothing_can_be_written_nothing_is_computed(
    tmp_path: Path, truth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("handlit.scoring.score.read_ground_truth", lambda *_: pytest.fail("the ground truth is read"))
    with pytest.raises(NotADirectoryError, match="file/out"):
        score([tmp_path / "pred.zip"], truth, out=tmp_path / "file" / "out", console=quiet())


def test_of_a_submission_for_many_more_images_little_is_read(
    tmp_path: Path, truth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlit.scoring.official.submission._SLACK", 0)
    monkeypatch.setattr("handlit.scoring.official.submission._BYTES_EACH", 1000)
    model = write_prediction(tmp_path / "pred.zip", "ho3d_v2", 0.003)
    with pytest.raises(InputError, match=r"pred\.json: more than 0 MB of text, far more than these images need"):
        score([model], truth, console=quiet())


def test_freihand_and_another_topology(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "frei", "freihand", COUNT)
    hands = make_hands(COUNT, benchmark_named("freihand"))
    path = tmp_path / "coarse.json"
    path.write_text(json.dumps([hands.joints.tolist(), hands.vertices[:, ::3].tolist()]))
    console = quiet()
    scores = score([path], truth, out=tmp_path / "out", console=console)
    assert scores.labels[0] == "coarse"
    assert "other_topology" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "mesh_mean3d: -1.000000" in (tmp_path / "out" / "scores.txt").read_text()
    assert scores.sequence_rows("joints") == []


def test_bad_input_says_why_and_writes_nothing(tmp_path: Path, truth: Path) -> None:
    model = write_prediction(tmp_path / "m" / "pred.zip", "ho3d_v2", 0.003)
    short = write_prediction(tmp_path / "short.zip", "ho3d_v2", 0.003, count=4)
    cases: list[tuple[Any, str | None, str]] = [
        ([], None, "no prediction given"),
        ([model, short], None, "joints of 4 images, expected 6"),
        ([model, tmp_path / "gone.zip"], None, "does not exist"),
        ([model, f"m={model}"], None, "two predictions are called 'm'"),
        ([f"={model}"], None, "cannot be a name"),
        ([f"zero prediction={model}"], None, "cannot be a name"),
        ([model], "best", "the reference 'best' is none of the predictions: m"),
    ]
    for predictions, reference, message in cases:
        with pytest.raises(InputError, match=message):
            score(predictions, truth, out=tmp_path / "out", reference=reference, console=quiet())
    with pytest.raises(InputError, match="evaluation_xyz"):
        score([model], tmp_path, out=tmp_path / "out", console=quiet())
    assert not (tmp_path / "out").exists()
