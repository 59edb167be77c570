"""The evaluation of hypotheses in a Trainer: the table it writes, in any batching, with one and with two processes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from handlit.callbacks.output.hypotheses import HypothesisEvaluation
from handlit.metrics.measure import DrawnMeasure
from handlit.metrics.registry import measures
from handlit.scoring.hypotheses.run import HypothesisRun, load_run
from handlit.types import HandBatch, HandPrediction, HandSample, Hypotheses, collate
from tests.methods.hands import hand_samples
from tests.processes import ddp

COUNT, HYPOTHESES = 7, 12


class Frames(pl.LightningDataModule):
    """Seven frames, of which the last has no labels; visibility is known for all but one."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.root = Path("somewhere")

    def test_dataloader(self) -> DataLoader[HandSample]:
        samples = hand_samples(COUNT - 1) + hand_samples(COUNT, labelled=False)[-1:]
        for sample in samples[1:]:
            sample.visible = torch.arange(21) % (2 + sample.index) != 0
        return DataLoader(samples, batch_size=self.batch_size, collate_fn=collate)  # type: ignore[arg-type]


class Steps:
    """Hands that are known beforehand: the true one moved by a step for each hypothesis, without chance."""

    def __init__(self, joints: Tensor, vertices: Tensor, joints_2d: Tensor) -> None:
        self.joints, self.vertices, self.joints_2d = joints, vertices, joints_2d
        self.drawn = 0

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        numbers = self.drawn + torch.arange(count, dtype=torch.float32)
        self.drawn += count
        # a spiral, larger for each image: no two hands are alike, and no joint moves along a line alone
        turn = torch.stack([torch.cos(numbers), torch.sin(2 * numbers), torch.cos(3 * numbers + 1)], dim=-1)
        step = 0.002 * temperature * turn[None, :, None] * (1 + self.joints[:, None, :, :1].abs() * 50)
        return Hypotheses(
            joints_root=self.joints[:, None] + step - step[:, :, :1],
            joints_2d=self.joints_2d[:, None] + 500 * step[..., :2],
            vertices_root=self.vertices[:, None] + step[:, :, 1:2] if vertices else None,
        )


class Known(pl.LightningModule):
    """Answers a little beside the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def test_step(  # type: ignore[override]  # as HandMethod's: what callbacks read
        self, batch: HandBatch, batch_idx: int
    ) -> HandPrediction:
        aside = 0.001 * (1 + batch.index[:, None, None].float())
        joints = batch.joints_cam - batch.joints_cam[:, :1] + aside
        vertices = batch.vertices_cam - batch.root_cam[:, None] + aside
        return HandPrediction(
            vertices_root=vertices,
            joints_root=joints,
            joints_2d=batch.joints_2d + 100 * aside,
            vertex_scale=torch.full_like(vertices, 0.002),
            joint_scale=torch.full_like(joints, 0.002) * (1 + batch.index[:, None, None]),
            camera=torch.ones(len(batch), 3),
            distribution=Steps(joints, vertices, batch.joints_2d),
        )


def evaluate(folder: Path, batch_size: int = 2, **options: Any) -> dict[str, float]:
    settings: dict[str, Any] = {"devices": 1, **options.pop("trainer", {})}
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=[HypothesisEvaluation(**{"num_hypotheses": HYPOTHESES, **options})],
        **settings,
    )
    logged = trainer.test(Known(), datamodule=Frames(batch_size), verbose=False)
    return dict(logged[0])


def assert_same(first: HypothesisRun, second: HypothesisRun) -> None:
    assert first.keys.tolist() == second.keys.tolist()
    assert first.columns.keys() == second.columns.keys()
    for name, values in first.columns.items():
        np.testing.assert_allclose(second.columns[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.filterwarnings("ignore")
def test_the_table_holds_every_image_once_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logged = evaluate(tmp_path, temperature=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["hypotheses.npz"]
    run = load_run(tmp_path)
    assert run.label == "Known"
    assert run.settings == {
        "method": "Known",
        "checkpoint": None,
        "data": "somewhere",
        "hypotheses": HYPOTHESES,
        "temperature": 0.5,
    }
    assert run.keys.tolist() == [f"hand/{number:04d}" for number in range(COUNT)]
    assert run.columns.keys() == {"index", "visible", *(record.key for record in measures(DrawnMeasure))}
    assert run.columns["index"].tolist() == list(range(COUNT))
    # what is not known is marked, and has no number
    assert (run.columns["visible"][0] == -1).all()
    assert run.columns["visible"][1].tolist() == [int(joint % 3 != 0) for joint in range(21)]
    for name in (record.key for record in measures(DrawnMeasure) if record.of_joints):
        assert np.isnan(run.columns[name][-1]).all(), name
        assert np.isfinite(run.columns[name][:-1, 1:]).all(), name
    assert np.isfinite(run.columns["mpjpe_best_of_10_mm"][:-1]).all()
    assert np.isnan(run.columns["mpjpe_best_of_50_mm"]).all()
    # the point estimate is this far beside the truth by construction, in every joint and all coordinates
    expected = 100 * 2**0.5 * 0.001 * np.arange(1, COUNT)
    np.testing.assert_allclose(run.columns["error_mode_px"][:-1, 5], expected, rtol=1e-3)
    assert {"test/mpjpe_best_of_10_mm", "test/crps_mm", "test/calibration_error"} <= logged.keys()
    best = run.columns["mpjpe_best_of_10_mm"]
    assert logged["test/mpjpe_best_of_10_mm"] == pytest.approx(np.nanmean(best), rel=1e-5)
    printed = capsys.readouterr().out
    for part in ("Known: 7 images", "CRPS mm", "stated scale mm", "hypotheses.npz"):
        assert part in printed


@pytest.mark.filterwarnings("ignore")
def test_batches_change_nothing(tmp_path: Path) -> None:
    first, second = evaluate(tmp_path / "two", 2), evaluate(tmp_path / "five", 5)
    assert first == pytest.approx(second, rel=1e-5)
    assert_same(load_run(tmp_path / "two"), load_run(tmp_path / "five"))


@pytest.mark.filterwarnings("ignore")
def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    evaluate(tmp_path / "one")
    evaluate(tmp_path / "two", trainer={"devices": 2, "strategy": ddp()})
    assert_same(load_run(tmp_path / "one"), load_run(tmp_path / "two"))


@pytest.mark.filterwarnings("ignore")
def test_none_asked_for_none_measured(tmp_path: Path) -> None:
    evaluate(tmp_path, num_hypotheses=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_a_run_can_be_named(tmp_path: Path) -> None:
    evaluate(tmp_path, label="spiral")
    assert load_run(tmp_path).label == "spiral"
