"""An offline run of W&B is read back; a W&B that refuses is no end of a training."""

import csv
import http.server
import json
import math
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
import yaml

from handlit.callbacks import WandbRun
from handlit.cli import main
from tests.callbacks.conftest import LoggedRun, clear_wandb
from tests.callbacks.wandb_files import config, history, records

KEY = "k" * 40


def test_metrics_are_those_of_the_csv_file(logged_run: LoggedRun) -> None:
    with (logged_run.folder / "metrics.csv").open() as file:
        written = [
            (name, int(row["step"]), float(value))
            for row in csv.DictReader(file)
            for name, value in row.items()
            if value and name != "step"
        ]
    logged = [
        (name, row["trainer/global_step"], value)
        for row in history(records(logged_run.wandb_files[0]))
        for name, value in row.items()
        if not name.startswith(("_", "media/", "trainer/"))
    ]
    assert {"val/mpjpe_mm", "val/pa_mpvpe_mm"} <= {name for name, *_ in logged}
    assert len(logged) == len(written)
    for (name, step, value), (csv_name, csv_step, csv_value) in zip(sorted(logged), sorted(written), strict=True):
        assert (name, step) == (csv_name, csv_step)
        assert math.isclose(value, csv_value, rel_tol=1e-6)


def test_errors_are_summed_up_by_their_minimum_over_steps(logged_run: LoggedRun) -> None:
    found = records(logged_run.wandb_files[0])
    defined = {record.metric.name: record.metric for record in found if record.HasField("metric")}
    for name in ("val/mpjpe_mm", "val/pa_mpjpe_mm", "val/mpvpe_mm", "val/pa_mpvpe_mm"):
        assert defined[name].step_metric == "trainer/global_step"
        assert defined[name].summary.min
    assert not any(name.startswith(("train/", "lr")) for name in defined)


def test_configuration_and_environment_are_kept(logged_run: LoggedRun) -> None:
    found = config(records(logged_run.wandb_files[0]))
    saved = yaml.safe_load((logged_run.folder / "config.yaml").read_text())
    for name in ("model", "data", "trainer", "seed_everything"):
        assert found[name] == saved[name]
    (entry,) = json.loads((logged_run.folder / "environment.json").read_text())
    assert found["environment"] == entry


def test_media_are_kept(logged_run: LoggedRun) -> None:
    log = logged_run.wandb_files[0]
    rows = [row for row in history(records(log)) if "media/predictions/path" in row]
    assert len(rows) == 1
    for name in ("predictions", "hypotheses", "reliability"):
        kept = (log.parent / "files" / rows[0][f"media/{name}/path"]).read_bytes()
        assert kept == (logged_run.folder / "media" / "epoch_0001" / f"{name}.png").read_bytes()
    assert len(rows[0]["media/meshes/filenames"]) == 4


def test_checkpoints_and_submission_are_artifacts(logged_run: LoggedRun) -> None:
    kept = [
        record.artifact
        for log in logged_run.wandb_files
        for record in records(log)
        if record.HasField("artifact") and record.artifact.type in ("model", "prediction")
    ]
    run_id = (logged_run.folder / "wandb" / "run_id").read_text().strip()
    names = {"best": f"model-{run_id}", "last": f"model-{run_id}"}
    assert [artifact.name for artifact in kept] == [*names.values(), f"prediction-{run_id}"]
    assert "best" in kept[0].aliases
    assert "last" in kept[1].aliases
    assert "best" in kept[2].aliases
    assert json.loads(kept[0].metadata)["val/pa_mpjpe_mm"] > 0
    assert json.loads(kept[2].metadata)["method"] == "MeanHand"
    files = [artifact.manifest.contents[0].local_path for artifact in kept]
    folder = logged_run.folder
    assert files == [str(folder / name) for name in ("checkpoints/best.ckpt", "checkpoints/last.ckpt", "pred.zip")]


def test_commands_of_a_folder_share_its_run(logged_run: LoggedRun) -> None:
    runs = [next(record.run for record in records(log) if record.HasField("run")) for log in logged_run.wandb_files]
    assert runs[0].run_id == runs[1].run_id == (logged_run.folder / "wandb" / "run_id").read_text().strip()
    assert (runs[0].display_name, runs[0].run_group, runs[0].project) == (
        "mean",
        logged_run.folder.parent.name,
        "handlit",
    )


def test_a_resumed_training_goes_on_in_its_run(logged_run: LoggedRun, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(logged_run.folder, tmp_path / "resumed"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        clear_wandb(monkeypatch, tmp_path)
        again = ["--config", str(folder / "config.yaml"), "--run_dir", str(folder), "--resume"]
        main(["fit", *again, "--trainer.max_epochs", "3"])
        wandb.teardown()
    before = {log.parent.name for log in logged_run.wandb_files}
    (log,) = [log for log in folder.glob("wandb/offline-run-*/run-*.wandb") if log.parent.name not in before]
    assert f"run-{(logged_run.folder / 'wandb' / 'run_id').read_text().strip()}" == log.stem
    first, second = json.loads((folder / "environment.json").read_text())
    assert first["first_step"] == 0
    logged = [row for row in history(records(log)) if "val/mpjpe_mm" in row]
    # the third epoch, and nothing of the first two
    assert [row["epoch"] for row in logged] == [2]
    assert min(row["trainer/global_step"] for row in history(records(log))) >= second["first_step"] > 0


@pytest.fixture
def fresh_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """W&B reads its environment once for each session."""
    wandb.teardown()
    clear_wandb(monkeypatch, tmp_path)
    # nobody is at the keyboard: to ask is to fail
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("W&B asked for something"))
    monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("W&B asked for something"))
    yield monkeypatch
    wandb.teardown()


@pytest.fixture
def refusing_server() -> Iterator[str]:
    """Answers every request with 401 Unauthorized."""

    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"errors": [{"message": "this key is refused"}]}')

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def logged_offline(folder: Path) -> list[dict[str, float]]:
    """Log a number; what the offline run holds."""
    run = WandbRun(timeout_s=5, finish_timeout_s=5, save_dir=str(folder))
    run.log_metrics({"val/mpjpe_mm": 12.5}, step=3)
    run.finalize("success")
    # ends W&B's process, which may still be writing
    wandb.teardown()
    (log,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return history(records(log))


def test_without_a_key_nobody_is_asked_for_one(
    tmp_path: Path, fresh_wandb: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = logged_offline(tmp_path)
    assert (row["val/mpjpe_mm"], row["trainer/global_step"]) == (12.5, 3)
    shown = capsys.readouterr().out
    assert "no key is set" in shown
    assert "wandb sync" in shown


def test_a_malformed_key_is_said(
    tmp_path: Path, fresh_wandb: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh_wandb.setenv("WANDB_API_KEY", "short")
    assert len(logged_offline(tmp_path)) == 1
    assert "WANDB_API_KEY invalid" in capsys.readouterr().out


def test_a_refused_key_leaves_an_offline_run(
    tmp_path: Path, fresh_wandb: pytest.MonkeyPatch, refusing_server: str
) -> None:
    fresh_wandb.setenv("WANDB_API_KEY", KEY)
    fresh_wandb.setenv("WANDB_BASE_URL", refusing_server)
    with pytest.warns(UserWarning, match=r"this key is refused.*kept offline.*goes on"):
        (row,) = logged_offline(tmp_path)
    assert row["val/mpjpe_mm"] == 12.5


@pytest.mark.parametrize(
    ("offline", "variable", "key", "expected"),
    [
        (False, None, None, "offline"),
        (False, None, KEY, "online"),
        (True, None, KEY, "offline"),
        (False, "online", None, "offline"),
        (False, "offline", KEY, "offline"),
        (False, "disabled", KEY, "disabled"),
    ],
)
def test_who_decides_on_the_mode(
    offline: bool,
    variable: str | None,
    key: str | None,
    expected: str,
    tmp_path: Path,
    fresh_wandb: pytest.MonkeyPatch,
) -> None:
    for name, value in (("WANDB_MODE", variable), ("WANDB_API_KEY", key)):
        if value is not None:
            fresh_wandb.setenv(name, value)
    started: list[str] = []

    def start(mode: str, **_: object) -> None:
        started.append(mode)

    fresh_wandb.setattr(wandb, "init", start)
    _ = WandbRun(offline=offline, save_dir=str(tmp_path)).experiment
    assert started == [expected]
