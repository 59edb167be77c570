"""A step whose loss was not finite can be taken again from its file."""

from pathlib import Path

import pytest
import torch

from handlit.callbacks.running.nonfinite import read_batch
from handlit.errors import NonFiniteError
from handlit.methods import AMVUR
from handlit.seeding import seed_step
from tests.callbacks.running.test_logger_guard import fit, network
from tests.methods.hands import SIZE, hand_samples

pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|val_dataloader|srun|eval mode|litlogger|LeafSpec)")


def test_a_broken_step_is_taken_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    samples = hand_samples(6)
    samples[3].vertices_cam = torch.full((778, 3), torch.inf)
    torch.manual_seed(0)
    with pytest.raises(NonFiniteError, match="hand/0002, hand/0003"):
        fit(tmp_path, AMVUR(network, image_size=SIZE), samples)
    path = tmp_path / "nonfinite" / "rank0.pt"
    assert str(path) in capsys.readouterr().out

    found = torch.load(path, weights_only=True)
    batch = read_batch(found)
    assert batch.key == ["hand/0002", "hand/0003"]
    assert (found["epoch"], found["batch_idx"], found["global_step"]) == (0, 1, 1)
    method = AMVUR(network, image_size=SIZE)
    method.load_state_dict(found["state_dict"])

    def step() -> dict[str, torch.Tensor]:
        seed_step(*(found[name] for name in ("seed", "epoch", "batch_idx", "rank")))
        return dict(method.losses(method.infer(batch.image), batch).terms)

    first, second = step(), step()
    broken = {name for name, value in first.items() if not value.isfinite()}
    assert broken
    assert "vertices" in broken
    # dropout and all
    assert "kl" not in broken
    assert torch.equal(first["kl"], second["kl"])
