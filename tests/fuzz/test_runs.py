"""What a run folder of a stranger holds: checkpoints, configurations, sweep files."""

from pathlib import Path

import pytest
import torch

from handlit.callbacks.running.checkpoint_files import read_checkpoint
from handlit.cli.configs import config_folder
from handlit.sweeps import load_sweep
from handlit.yaml_files import load_yaml
from tests.fuzz.harness import file_reader, fuzz

CHECKPOINTS = (
    {
        "state_dict": {"weight": torch.arange(20.0), "count": torch.tensor(3)},
        "pytorch-lightning_version": "2.6.6",
        "epoch": 3,
        "global_step": 12,
        "loops": {"fit_loop": {"epoch_progress": {"total": {"ready": 4}}, "state_dict": {"combined_loader": [{}]}}},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(1.5), "best_model_path": "best.ckpt"}},
        "optimizer_states": [
            {"state": {0: {"exp_avg": torch.ones(20)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
        ],
        "lr_schedulers": [],
        "handlit": {"format": 1, "method": "AMVUR"},
    },
    {"state_dict": {}, "pytorch-lightning_version": "2.6.6"},
)


@pytest.mark.parametrize("stored", [True, False])
def test_checkpoints(tmp_path: Path, stored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = []
    for number, checkpoint in enumerate(CHECKPOINTS):
        torch.save(checkpoint, tmp_path / f"{number}.ckpt")
        valid.append((tmp_path / f"{number}.ckpt").read_bytes())
    if not stored:
        # damage with a checksum to match reaches what unpickles
        monkeypatch.setattr("handlit.callbacks.running.checkpoint_files.damage", lambda path: None)
    fuzz(file_reader(read_checkpoint, tmp_path / "file.ckpt"), valid)


def test_configurations(tmp_path: Path) -> None:
    names = ("base.yaml", "experiment/quickstart.yaml", "data/ho3d_v3.yaml", "sweeps/quickstart.yaml")
    valid = [path.read_bytes() for name in names if (path := config_folder() / name).is_file()]
    valid.append(b"a: &a {x: 1, y: [1, 2, 3]}\nb: [*a, *a]\nc: {<<: *a, x: 2026-01-02}\nd: 0x1F\ne: 1:30\n")
    fuzz(file_reader(load_yaml, tmp_path / "file.yaml"), valid)


def test_sweep_files(tmp_path: Path) -> None:
    valid = [path.read_bytes() for path in sorted((config_folder() / "sweeps").glob("*.yaml"))]
    fuzz(file_reader(load_sweep, tmp_path / "file.yaml"), valid)
