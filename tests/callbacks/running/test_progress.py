"""What a person sees of a command: lines, a bar on a terminal, and where everything was written."""

import io
import re
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from handlit.callbacks import RunProgress
from handlit.callbacks.running.progress import Pace
from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur import method, trainer

LINE = re.compile(
    r"epoch (\d)/3: loss (\S+), val/mpjpe_mm (\S+) \(best(?: (\S+))?\), (\S+) images/s, \d:\d\d:\d\d, \d:\d\d:\d\d left"
)


class Logged(pl.Callback):
    """Remembers every loss and every validation."""

    def __init__(self) -> None:
        self.losses: dict[int, list[float]] = {}
        self.errors: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.setdefault(trainer.current_epoch, []).append(outputs["loss"].item())

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self.errors.append(trainer.callback_metrics["val/mpjpe_mm"].item())


def fit(folder: Path, console: dict[str, Any]) -> tuple[pl.Trainer, Logged]:
    logged = Logged()
    best = pl.callbacks.ModelCheckpoint(folder, "best", monitor="val/mpjpe_mm")
    run = trainer(
        folder,
        max_epochs=3,
        log_every_n_steps=1,
        enable_progress_bar=True,
        callbacks=[RunProgress(console), logged, best],
    )
    run.fit(method(learning_rate=1e-3), loader(hand_samples(5), 2), loader(hand_samples(2, seed=1), 2))
    return run, logged


def test_without_a_terminal_an_epoch_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    run, logged = fit(tmp_path, {"file": screen})
    lines = [match for match in map(LINE.fullmatch, capsys.readouterr().out.splitlines()) if match]
    assert [line[1] for line in lines] == ["1", "2", "3"]
    best = float("inf")
    for line, losses, error in zip(lines, logged.losses.values(), logged.errors, strict=True):
        assert float(line[2]) == pytest.approx(sum(losses) / 3, rel=1e-3)
        assert line[3] == f"{error:.2f}"
        assert line[4] == (f"{best:.2f}" if error > best else None)
        best = min(best, error)
        assert float(line[5]) > 0
    assert screen.getvalue() == ""
    run.predict(method(), loader(hand_samples(5), 2), return_predictions=False)
    assert re.search(r"^predict: 5 images, \d:\d\d:\d\d, \S+ images/s$", capsys.readouterr().out, re.MULTILINE)


def test_a_resumed_epoch_has_the_mean_of_what_it_saw(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Saves(pl.Callback):
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if batch_idx == 2:
                trainer.save_checkpoint(tmp_path / "within.ckpt")

    batches = loader(hand_samples(8), 2)
    trainer(tmp_path, max_epochs=1, callbacks=[Saves()]).fit(method(), batches)
    capsys.readouterr()
    logged = Logged()
    shown = RunProgress({"file": io.StringIO()})
    run = trainer(tmp_path, max_epochs=1, log_every_n_steps=1, enable_progress_bar=True, callbacks=[shown, logged])
    run.fit(method(), batches, ckpt_path=tmp_path / "within.ckpt")
    (loss,) = logged.losses[0]
    said = re.search(r"epoch 1/1: loss (\S+), ", capsys.readouterr().out)
    assert said is not None
    assert float(said[1]) == pytest.approx(loss, rel=1e-3)


def test_a_terminal_has_a_bar_and_is_given_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    screen = io.StringIO()
    fit(tmp_path, {"file": screen, "force_terminal": True, "width": 120})
    shown = screen.getvalue()
    assert "epoch 3/3" in shown
    assert "3/3" in shown
    assert "images/s" in shown
    assert "loss: " in shown
    # the cursor that was hidden is shown again
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert len(LINE.findall(capsys.readouterr().out)) + len(LINE.findall(shown.replace("\n", " "))) >= 3


def test_a_failure_gives_the_terminal_back(tmp_path: Path) -> None:
    class Fails(pl.Callback):
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            raise RuntimeError("broken")

    screen = io.StringIO()
    console = {"file": screen, "force_terminal": True}
    run = trainer(tmp_path, enable_progress_bar=True, callbacks=[RunProgress(console), Fails()], max_epochs=1)
    with pytest.raises(RuntimeError, match="broken"):
        run.fit(method(), loader(hand_samples(2), 2))
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")


def test_the_clock_stands_still_while_it_is_stopped() -> None:
    pace = Pace()
    pace.images = 10
    pace.stop()
    before = pace.seconds
    time.sleep(0.02)
    assert pace.seconds == before
    pace.resume()
    time.sleep(0.02)
    assert pace.seconds >= before + 0.02
    assert str(pace).endswith(" images/s")
