"""The section "A measure" of docs/tutorials/adding.md: toy measures in one file of the tests appear everywhere."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from handlit.cli import main
from handlit.cli.sweep import parsed
from handlit.metrics import registry
from handlit.scoring.hypotheses.run import load_run
from handlit.sweeps import check_sweep, load_sweep
from tests.test_cli import refused

PLUGIN = "tests.adding.worst_joint"
EXPERIMENT = """
model:
  class_path: handlit.methods.MeanHand
data:
  class_path: handlit.data.ho3d.HO3D
  init_args:
    root: {root}
    image_size: 32
    batch_size: 4
    num_workers: 0
trainer:
  accelerator: cpu
  max_epochs: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


@pytest.fixture(autouse=True)
def _measures_are_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_MEASURES", dict(registry._MEASURES))
    yield
    sys.modules.pop(PLUGIN, None)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measure")
    main(f"synth --out {folder / 'data'} --train 40 --evaluation 4 --preset easy --workers 0".split())
    path = folder / "mean.yaml"
    path.write_text(EXPERIMENT.format(root=folder / "data"))
    return path


def test_measures_appear_in_fit_test_and_compare(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    main(["--import", PLUGIN, "fit", "--config", str(experiment), "--run_dir", str(run)])
    with (run / "metrics.csv").open() as file:
        assert any(row.get("val/worst_joint_mm") for row in csv.DictReader(file))

    main(["--import", PLUGIN, "test", "--config", str(run / "config.yaml"), "--hypotheses.num_hypotheses", "5"])
    printed = capsys.readouterr().out
    assert "worst joint, average mm" in printed
    logged = json.loads((run / "test.json").read_text())
    assert logged["test/worst_joint_mm"] > logged["test/mpjpe_mm"]
    column = load_run(run).columns["worst_joint_average_mm"]
    assert logged["test/worst_joint_average_mm"] == pytest.approx(np.mean(column), rel=1e-5)

    page = tmp_path / "comparison.html"
    main(["--import", PLUGIN, "compare", str(run), f"again={run}", "--out", str(page)])
    assert "worst joint, average mm" in capsys.readouterr().out
    assert "Worst joint averaged over hypotheses" in page.read_text()


@pytest.mark.parametrize(
    ("command", "metric"), [("fit", "val/worst_joint_mm"), ("test", "test/worst_joint_average_mm")]
)
def test_measures_are_metrics_of_sweeps(
    experiment: Path, tmp_path: Path, command: str, metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {
        "method": "grid",
        "metric": {"name": metric, "goal": "minimize"},
        "parameters": {"seed_everything": {"values": [0]}},
        "command": ["python", "main.py", "--import", PLUGIN, command, "--config", str(experiment), "${args}"],
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    check_sweep(load_sweep(path), parsed)
    content["metric"] = {"name": "val/another", "goal": "minimize"}
    path.write_text(yaml.safe_dump(content))
    assert "val/another" in refused(["sweep", str(path), "--local", "1", "--out", str(tmp_path / "out")], capsys)


def test_a_key_is_given_once() -> None:
    from tests.adding.worst_joint import WORST_JOINT

    registry.register(WORST_JOINT)
    with pytest.raises(ValueError, match="there is a measure worst_joint_mm already"):
        registry.register(type(WORST_JOINT)(**{**vars(WORST_JOINT), "title": "another"}))
    with pytest.raises(ValueError, match="1 to 25 characters"):
        type(WORST_JOINT)(**{**vars(WORST_JOINT), "short": "a name that no table of 80 columns has room for"})


def test_the_functions_say_what_their_names_do() -> None:
    from tests.adding.worst_joint import worst_joint_mm

    target = torch.zeros(1, 21, 3)
    predicted = target.clone()
    predicted[0, 7, 0] = 0.004
    assert worst_joint_mm(predicted, target).tolist() == pytest.approx([4.0])
