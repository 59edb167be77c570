"""Each trial has a GPU to itself, or its share of the cores."""

from pathlib import Path

import pytest

from handlit.errors import InputError
from handlit.sweeps import load_sweep, trial_slots

QUICKSTART = Path(__file__).parents[2] / "configs" / "sweeps" / "quickstart.yaml"


@pytest.mark.parametrize(
    ("visible", "count", "parallel", "names"),
    [
        (None, 2, None, ["0", "1"]),
        ("5,7", 2, None, ["5", "7"]),
        (" 5,,7,9", 2, None, ["5", "7"]),
        ("GPU-a,GPU-b", 2, 1, ["GPU-a"]),
        ("3", 2, None, ["3"]),
    ],
)
def test_each_gpu_has_a_slot(
    visible: str | None, count: int, parallel: int | None, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    search = load_sweep(QUICKSTART)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in trial_slots(search, parallel)] == names
    with pytest.raises(InputError, match="a GPU to itself"):
        trial_slots(search, 3)


def test_slots_on_the_cpu_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    slots = trial_slots(load_sweep(QUICKSTART), 4)
    assert [slot["OMP_NUM_THREADS"] for slot in slots] == ["2"] * 4
    assert slots[0]["WANDB_PROJECT"] == "handlit"
