"""An offline run of W&B is read back; a W&B that refuses is no end of a training."""

import csv
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl
import wandb
import yaml
from pytorch_lightning.callbacks import LearningRateMonitor
from wandb.sdk import wandb_run, wandb_setup

from handlit.callbacks import RunRecord, WandbRun
from handlit.cli import main
from handlit.hand.asset import HandAsset
from handlit.methods import AMVUR
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
from tests.callbacks.conftest import CONFIGS, LoggedRun, clear_wandb, fit_arguments
from tests.callbacks.running.wandb_files import config, history, records
from tests.callbacks.running.wandb_servers import Refuses, Sticks, serving
from tests.methods.hands import SIZE, hand_samples, loader

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
    with serving(Refuses) as address:
        yield address


@pytest.fixture
def stuck_server() -> Iterator[str]:
    with serving(Sticks) as address:
        yield address


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
    with pytest.warns(UserWarning, match=r"this key is refused.*kept offline.*continues"):
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


def network(asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
    return AMVURNetwork(asset, tips, Backbone("resnet10t"), hidden=(32, 16, 8), layers=1, head_hidden=64)


@pytest.mark.filterwarnings("ignore:.*(num_workers|val_dataloader|srun|eval mode|litlogger|LeafSpec)")
def test_everything_of_a_training_by_gradients_is_kept(tmp_path: Path, fresh_wandb: pytest.MonkeyPatch) -> None:
    # W&B's own figures of the machine, which come every 15 s
    fresh_wandb.setenv("WANDB__STATS_SAMPLING_INTERVAL", "0.1")
    method = AMVUR(network, image_size=SIZE)
    trainer = pl.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=1,
        logger=WandbRun(save_dir=str(tmp_path)),
        callbacks=[LearningRateMonitor(), RunRecord()],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(method, loader(hand_samples(4), 2), loader(hand_samples(2, seed=1), 2))
    wandb.teardown()
    (log,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    found = records(log)
    rows = history(found)
    terms = {"vertices", "joints", "joints_2d", "nll", "kl", "joint_limits"}
    terms |= {f"prior_{name}" for name in ("vertices", "joints", "joints_2d", "nll")}
    losses = {"loss", *(f"loss_{term}" for term in terms)}
    every_step = {f"train/{name}" for name in losses | {"grad_norm"}}
    errors = {"mpjpe_mm", "pa_mpjpe_mm", "mpvpe_mm", "pa_mpvpe_mm"}
    by_step: dict[int, set[str]] = {0: set(), 1: set()}
    for row in rows:
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))
        by_step[row["trainer/global_step"]] |= row.keys()
    # its schedule goes by epochs
    assert every_step | {"lr-Adam"} <= by_step[0]
    assert every_step | {f"val/{name}" for name in losses | errors} <= by_step[1]
    machine = {item.key for record in found if record.HasField("stats") for item in record.stats.item}
    assert {"cpu", "memory_percent"} <= machine


class KillsWandb(pl.Callback):
    """Kills W&B's process after the first epoch."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 0:
            process = wandb_setup.singleton().assert_service()._proc._process
            process.kill()
            process.wait()


def test_a_killed_wandb_costs_a_warning(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clear_wandb(monkeypatch, tmp_path)
    root = CONFIGS.parent
    arguments = fit_arguments(data, tmp_path / "run", "--config", str(CONFIGS / "trainer" / "wandb.yaml"))
    command = [sys.executable, "main.py", *arguments, "--trainer.callbacks+", f"{__name__}.KillsWandb"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "WandbRun failed, and the run continues" in done.stderr
    assert "Traceback" not in done.stderr
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert {row["epoch"] for row in csv.DictReader(file) if row["val/pa_mpjpe_mm"]} == {"0", "1"}
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


def refuse(*_: object, **__: object) -> None:
    raise wandb.Error("the server says no")


def test_a_test_ends_with_its_numbers_even_if_wandb_does_not(
    tmp_path: Path, logged_run: LoggedRun, fresh_wandb: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(logged_run.folder, tmp_path / "tested"))
    fresh_wandb.setattr(wandb_run.Run, "finish", refuse)
    with pytest.warns(UserWarning, match="WandbRun failed, .* the server says no"):
        main(["test", "--config", str(folder / "config.yaml"), "--run_dir", str(folder)])
    assert json.loads((folder / "test.json").read_text())["test/pa_mpjpe_mm"] > 0


def test_a_refused_artifact_costs_a_warning(tmp_path: Path, fresh_wandb: pytest.MonkeyPatch) -> None:
    fresh_wandb.setattr(wandb_run.Run, "log_artifact", refuse)
    run = WandbRun(save_dir=str(tmp_path))
    (tmp_path / "pred.zip").write_bytes(b"")
    with pytest.warns(UserWarning, match="WandbRun failed, .* the server says no"):
        run.log_file(tmp_path / "pred.zip", "prediction", "pred.zip", [], {})
    run.finalize("success")


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [("WANDB_MODE", "bogus", "bogus"), ("WANDB_BASE_URL", "nowhere", "base_url"), ("WANDB_MODE", "", None)],
)
def test_a_wrong_setting_leaves_an_offline_run(
    variable: str,
    value: str,
    complaint: str | None,
    tmp_path: Path,
    fresh_wandb: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    fresh_wandb.setenv(variable, value)
    assert len(logged_offline(tmp_path)) == 1
    said = [str(warning.message) for warning in recwarn if "W&B" in str(warning.message)]
    assert len(said) == (complaint is not None)
    assert complaint is None or complaint in said[0]


@pytest.mark.parametrize(("id", "folder_is_file"), [("a/b", False), (None, True)])
def test_what_cannot_even_start_offline_is_left_out(
    id: str | None, folder_is_file: bool, tmp_path: Path, fresh_wandb: pytest.MonkeyPatch
) -> None:
    if folder_is_file:
        (tmp_path / "wandb").touch()
    run = WandbRun(id=id, save_dir=str(tmp_path))
    with pytest.warns(UserWarning, match="does not start offline.*Nothing goes to W&B, and the training continues"):
        _ = run.experiment
    run.experiment.config.update({"a": 1}, allow_val_change=True)
    run.log_metrics({"val/mpjpe_mm": 12.5}, step=3)
    run.log_file(Path(__file__), "prediction", "pred.zip", [], {})
    run.finalize("success")
    # nothing that would refuse the folder's next command, too
    assert not list(tmp_path.rglob("run-*.wandb"))
    assert folder_is_file or (tmp_path / "wandb" / "run_id").read_text() == ""


def test_uploads_that_get_nowhere_are_not_waited_for_and_kept(
    tmp_path: Path, fresh_wandb: pytest.MonkeyPatch, stuck_server: str
) -> None:
    # schedulers kill two or three minutes after they told a run to stop
    assert WandbRun(save_dir=str(tmp_path))._wandb_init["settings"].finish_timeout <= 60
    fresh_wandb.setenv("WANDB_API_KEY", KEY)
    fresh_wandb.setenv("WANDB_BASE_URL", stuck_server)
    run = WandbRun(save_dir=str(tmp_path), timeout_s=20, artifact_timeout_s=1, finish_timeout_s=2)
    run.log_metrics({"val/mpjpe_mm": 12.5}, step=3)
    assert not run.experiment.offline
    (tmp_path / "pred.zip").write_bytes(b"1")
    with pytest.warns(UserWarning, match="WandbRun failed, and the run continues"):
        run.log_file(tmp_path / "pred.zip", "prediction", "pred.zip", [], {})
    began = time.monotonic()
    run.finalize("failed")
    wandb.teardown()
    assert time.monotonic() - began < 20
    # for `wandb sync`
    (log,) = tmp_path.glob("wandb/run-*/run-*.wandb")
    assert history(records(log))[0]["val/mpjpe_mm"] == 12.5
