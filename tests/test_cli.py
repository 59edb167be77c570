"""The main job in process, from an empty folder to a scored submission, and what happens when the input is wrong."""

import errno
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import wandb

from handlit.cli import main
from handlit.run_folder import RunFolder

CONFIGS = Path(__file__).parent.parent / "configs"


class Job:
    """A folder with a tiny dataset and a tiny trained run."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.run = folder / "amvur"
        self.config = str(self.run / "config.yaml")
        main(f"synth --out {self.data} --train 24 --evaluation 5 --preset easy --workers 0".split())
        main(self.fit_arguments())

    def fit_arguments(self) -> list[str]:
        small = (
            f"--data.init_args.root {self.data} --data.init_args.image_size 32 --data.init_args.batch_size 4 "
            "--data.init_args.num_workers 0 --model.init_args.network.init_args.backbone.init_args.name test_resnet "
            "--trainer.max_epochs 1 --trainer.log_every_n_steps 1 --trainer.enable_progress_bar false "
            f"--run_dir {self.run}"
        )
        return ["fit", "--config", str(CONFIGS / "experiment" / "quickstart.yaml"), *small.split()]


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"))


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must end in a message and exit code 2; returns the message."""
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_fit_leaves_a_whole_run(job: Job) -> None:
    assert {"config.yaml", "metrics.csv", "checkpoints"} <= {path.name for path in job.run.iterdir()}
    assert {"best.ckpt", "last.ckpt"} <= {path.name for path in (job.run / "checkpoints").iterdir()}
    header = (job.run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/mpjpe_mm", "val/pa_mpvpe_mm", "train/loss", "train/loss_kl", "lr-Adam"} <= set(header)


def test_a_run_folder_that_cannot_be_written(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    arguments = [*job.fit_arguments()[:-1], str(tmp_path / "file" / "run")]
    assert f"{tmp_path / 'file' / 'run'}: not a directory: a file stands" in refused(arguments, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_predict_then_score(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = (job.run / "metrics.csv").read_text()
    main(["predict", "--config", job.config])
    assert (job.run / "metrics.csv").read_text() == metrics
    with zipfile.ZipFile(job.run / "pred.zip") as archive:
        assert archive.namelist() == ["pred.json"]
        joints, vertices = json.loads(archive.read("pred.json"))
    assert np.shape(joints) == (5, 21, 3)
    assert np.shape(vertices) == (5, 778, 3)
    truth = np.array(json.loads((job.data / "evaluation_xyz.json").read_text()))
    # the given root, in the benchmark's axes
    np.testing.assert_allclose(np.array(joints)[:, 0], truth[:, 0], atol=1e-5)
    sheet = cv2.imread(str(job.run / "predictions.png"))
    assert sheet.std() > 10
    capsys.readouterr()
    main(["score", str(job.run / "pred.zip"), str(job.data), "--out", str(tmp_path / "scores")])
    shown = capsys.readouterr().out
    assert "zero prediction" in shown
    assert "report.html" in shown
    assert "Error against predicted scale" in (tmp_path / "scores" / "report.html").read_text()
    lines = (tmp_path / "scores" / "scores.txt").read_text().splitlines()
    assert len(lines) == 14
    assert lines[0].startswith("xyz_mean3d: ")
    assert 0 < float(lines[0].split()[1]) < 50


def test_official_score_is_the_test_metric(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two ways to one number: through pred.zip and the official script, and straight from the network."""
    main(["predict", "--config", job.config])
    main(["score", str(job.run / "pred.zip"), str(job.data), "--out", str(tmp_path)])
    capsys.readouterr()
    main(["test", "--config", job.config, "--trainer.logger", "false"])
    shown = capsys.readouterr().out
    scores = dict(line.split(": ") for line in (tmp_path / "scores.txt").read_text().splitlines())
    for official, metric in (("xyz_mean3d", "test/mpjpe_mm"), ("mesh_mean3d", "test/mpvpe_mm")):
        (line,) = (line for line in shown.splitlines() if metric in line and f"pa_{metric}" not in line)
        value = float(next(part for part in line.replace("│", " ").split() if part[0].isdigit()))
        assert value == pytest.approx(10 * float(scores[official]), abs=0.02)


def test_prediction_repeats_itself(job: Job, tmp_path: Path) -> None:
    main(["predict", "--config", job.config, "--run_dir", str(tmp_path / "a"), "--ckpt_path", best(job)])
    main(["predict", "--config", job.config, "--run_dir", str(tmp_path / "b"), "--ckpt_path", best(job)])
    assert (tmp_path / "a" / "pred.zip").read_bytes() == (tmp_path / "b" / "pred.zip").read_bytes()


def test_predictions_are_not_kept_in_memory(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    @functools.wraps(pl.Trainer.predict)
    def predict(*_: Any, **settings: Any) -> None:
        kept.append(settings["return_predictions"])
        # it writes, so no other command may write there
        assert RunFolder(tmp_path).lock("predict").is_file()

    monkeypatch.setattr(pl.Trainer, "predict", predict)
    main(["predict", "--config", job.config, "--run_dir", str(tmp_path), "--ckpt_path", best(job)])
    assert kept == [False]


def best(job: Job) -> str:
    return str(job.run / "checkpoints" / "best.ckpt")


def test_predict_on_photographs(job: Job, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    cv2.imwrite(str(photos / "me.jpg"), np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8))
    hands = [{"box": [10, 10, 60, 70], "hand": side} for side in ("right", "left")]
    (photos / "boxes.json").write_text(json.dumps({"me.jpg": hands}))
    options = f"--data.init_args.root {photos} --run_dir {tmp_path / 'out'} --ckpt_path {best(job)}".split()
    main(["predict", "--config", job.config, "--data", str(CONFIGS / "data" / "folder.yaml"), *options])
    out = tmp_path / "out" / "photos"
    expected = {f"me.jpg_{n}.{kind}" for n in (0, 1) for kind in ("png", "obj", "npz")} | {"predictions.png"}
    assert {path.name for path in out.iterdir()} == expected
    assert not (tmp_path / "out" / "pred.zip").exists()
    assert [str(np.load(out / f"me.jpg_{n}.npz")["hand"]) for n in (0, 1)] == ["right", "left"]


def test_weights_and_biases_offline(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No account, no network; the run folder holds the same as with any logger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    options = ["--config", str(CONFIGS / "trainer" / "wandb.yaml"), "--run_dir", "run", "--trainer.limit_val_batches=1"]
    main([*job.fit_arguments(), *options])
    assert (tmp_path / "run" / "config.yaml").is_file()
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
    wandb.teardown()
    (log,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    assert b"val/pa_mpjpe_mm" in log.read_bytes()


def test_a_run_is_not_overwritten(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    before = (job.run / "checkpoints" / "best.ckpt").read_bytes()
    assert "already holds a run" in refused(job.fit_arguments(), capsys)
    assert (job.run / "checkpoints" / "best.ckpt").read_bytes() == before


def test_prediction_without_a_checkpoint(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(["predict", "--config", job.config, "--run_dir", str(tmp_path)], capsys)
    assert "no checkpoint" in message


def test_an_unreadable_image_leaves_no_submission(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Path(shutil.copytree(job.data, tmp_path / "data"))
    broken = sorted(data.glob("evaluation/*/rgb/*.jpg"))[-1]
    broken.write_bytes(b"nothing")
    arguments = ["predict", "--config", job.config, "--data.init_args.root", str(data)]
    message = refused([*arguments, "--run_dir", str(tmp_path / "run"), "--ckpt_path", best(job)], capsys)
    assert str(broken) in message
    assert not list((tmp_path / "run").glob("*pred*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "no command 'train'"),
        (["score", "nowhere.zip", "nowhere"], "nowhere"),
        (
            ["fit", "--config", str(CONFIGS / "experiment" / "quickstart.yaml"), "--data.init_args.root", "/nowhere"],
            "/nowhere",
        ),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_input_ends_in_a_message(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(arguments, capsys)


def test_score_refuses_what_does_not_fit(job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["predict", "--config", job.config])
    with zipfile.ZipFile(job.run / "pred.zip") as archive:
        joints, vertices = json.loads(archive.read("pred.json"))
    short = tmp_path / "short.json"
    short.write_text(json.dumps([joints[:-1], vertices[:-1]]))
    out = tmp_path / "scores"
    message = refused(["score", str(short), str(job.data), "--out", str(out)], capsys)
    assert "4" in message
    assert "5" in message
    assert not out.exists()
    mirrored = tmp_path / "axes.json"
    mirrored.write_text(
        json.dumps([(np.array(joints) * (1, -1, -1)).tolist(), (np.array(vertices) * (1, -1, -1)).tolist()])
    )
    main(["score", str(mirrored), str(job.data)])
    assert "axes" in capsys.readouterr().out


def test_names_that_are_no_text_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(["score", os.fsdecode(b"\xff.json"), "data"], capsys)
    assert message == "error: '\\udcff.json' is no text in UTF-8: rename the file\n"


def test_a_message_is_one_line_whatever_a_file_is_called(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(["score", str(tmp_path / "a\nb.json"), str(tmp_path)], capsys)
    assert message.startswith("error: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "cp932"])
def test_characters_that_the_console_lacks_are_substituted(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("--help", "score --explain", "test --explain", "compare --explain", "doctor", "fit --help", "x−y"):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", streams[0])
        monkeypatch.setattr(sys, "stderr", streams[1])
        with suppress(SystemExit):
            main(command.split())
        print("b − a = ±1.20 mm")
        written = [stream for stream in streams if not stream.flush() and stream.buffer.getvalue()]  # type: ignore[func-returns-value]
        assert written[0].buffer.getvalue().decode(encoding).splitlines()[-1].endswith("1.20 mm")


def test_who_reads_the_output_may_stop(tmp_path: Path) -> None:
    command = [sys.executable, str(CONFIGS.parent / "main.py"), "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("synth --out FILE/data --train 1 --evaluation 1 --workers 0", "not a directory"),
        ("synth --out FILE --train 1 --evaluation 1 --workers 0", "file"),
        ("synth --out LONG --train 1 --evaluation 1 --workers 0", "file name too long: choose a shorter name"),
        ("verify-data DATA --workers 0 --out FILE/report.json", "a file stands where a folder is needed"),
        ("verify-data DATA --workers 0 --out LONG.json", "file name too long"),
        ("verify-data LONG", "file name too long"),
        ("score LONG DATA", "file name too long"),
        ("compare LONG", "file name too long"),
        ("pack DATA --out FILE/packed --workers 0", "not a directory"),
        ("sweep LONG --local 1", "neither a file nor the name of a shipped"),
        ("import-weights LONG --from amvur --out x.ckpt", "file name too long"),
        ("predict --config CONFIG --run_dir LONG", "file name too long"),
    ],
)
def test_what_the_operating_system_refuses_is_a_line(
    job: Job, command: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "FILE").write_text("mine")
    places = {"DATA": job.data, "CONFIG": job.config, "FILE": tmp_path / "FILE"}
    for name, place in {**places, "LONG": tmp_path / ("x" * 300)}.items():
        command = command.replace(name, str(place))
    message = refused(command.split(), capsys)
    line = message.splitlines()[-1]
    assert line.startswith("error: ")
    assert reason in line.lower()
    assert str(tmp_path) in line or str(job.data) in line
    assert (tmp_path / "FILE").read_text() == "mine"


def test_a_full_disk_leaves_what_was_there(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    report = tmp_path / "report.json"
    message = refused(["verify-data", str(job.data), "--workers", "0", "--out", str(report)], capsys)
    assert f"error: {report.with_suffix('.txt')}: no space left on device: free some space" in message
    run = tmp_path / "run"
    message = refused(["predict", "--config", job.config, "--run_dir", str(run), "--ckpt_path", best(job)], capsys)
    assert f"error: {run / 'pred.zip'}: no space left on device" in message
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    for command in ("fit", "validate", "test", "predict", "synth", "score"):
        assert f"\n  {command}" in shown


def test_version_is_printed_and_that_of_the_citation(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    version = capsys.readouterr().out.removeprefix("handlit ").strip()
    assert f"\nversion: {version}\n" in (CONFIGS.parent / "CITATION.cff").read_text()


def test_commands_start_without_what_they_do_not_need() -> None:
    """Each takes half a second to two of every start; whether roma brings torch's compiler depends on its version."""
    heavy = ["pytorch_lightning", "scipy.stats", "timm", "torch._dynamo", "torchvision", "trimesh", "wandb"]
    code = f"import sys, handlit.scoring.score, handlit.cli.synth; print([n for n in {heavy} if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=CONFIGS.parent, text=True) == "[]\n"


@pytest.mark.parametrize(
    ("command", "option", "heavy"),
    [
        ("score", "--by_visibility", ["torch", "roma", "scipy", "handlit.scoring.score"]),
        ("fit", "--trainer.max_epochs", ["timm", "wandb"]),
    ],
)
def test_options_are_listed_without_what_does_the_work(command: str, option: str, heavy: list[str]) -> None:
    code = (
        "import atexit, sys; from handlit.cli import main; "
        f"atexit.register(lambda: print([name for name in {heavy} if name in sys.modules])); "
        f"main(['{command}', '--help'])"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=CONFIGS.parent, text=True)
    assert option in shown
    assert shown.endswith("\n[]\n")
