"""Checkpoints of other methods, other networks and without a training state are refused."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from handlit.errors import InputError
from handlit.methods.compatibility import check_checkpoint, stamp
from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur import method, trainer


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"handlit": {"format": 99, "method": "AMVUR"}, "state_dict": {}}, "update handlit"),
        (
            {"handlit": {"format": 1, "method": "MHEntropy"}, "state_dict": {}},
            "of MHEntropy, the configuration of AMVUR",
        ),
        ({"state_dict": {"a": torch.ones(3), "c": torch.ones(2)}}, r"b is missing; c is not in.*; a is \(3,\), here"),
    ],
)
def test_checkpoints_of_other_methods_and_networks_are_refused(checkpoint: dict[str, Any], message: str) -> None:
    expected = {"a": torch.ones(2), "b": torch.ones(1)}
    with pytest.raises(InputError, match=message):
        check_checkpoint(checkpoint, "AMVUR", expected, resumes=False)


def test_the_own_checkpoint_is_accepted() -> None:
    state = {"a": torch.ones(2)}
    checkpoint = {"handlit": stamp("AMVUR"), "state_dict": state}
    check_checkpoint(checkpoint, "AMVUR", state, resumes=False)
    check_checkpoint({**checkpoint, "loops": {}}, "AMVUR", state, resumes=True)


def test_a_training_is_not_resumed_from_weights_alone(tmp_path: Path) -> None:
    module = method()
    weights = {"state_dict": module.state_dict(), "pytorch-lightning_version": pl.__version__}
    torch.save(weights, tmp_path / "weights.ckpt")
    with pytest.raises(InputError, match="weights alone"):
        trainer(tmp_path, max_epochs=1).fit(
            module, loader(hand_samples(2), 2), ckpt_path=tmp_path / "weights.ckpt", weights_only=True
        )
