"""What a training step of MHEntropy costs: one look at the images, joints of N hands, and nothing for metrics."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from handlit.distributions.flow import FlowDistribution
from handlit.hand.layer import HandLayer
from tests.methods.hands import hand_samples, loader
from tests.methods.test_amvur import trainer
from tests.methods.test_mhentropy import method


@pytest.mark.filterwarnings("ignore")
def test_a_training_step_looks_once_and_builds_no_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = hand_samples(4)
    for sample in samples:
        sample.visible = torch.arange(21) % 3 != 0
    module = method(num_draws=6)
    looked: list[int] = []
    module.network.backbone.register_forward_hook(lambda network, inputs, answer: looked.append(len(inputs[0])))
    drawn: list[torch.Size] = []
    push = FlowDistribution.push

    def counting_push(self: FlowDistribution, z: Tensor) -> tuple[Tensor, Tensor]:
        drawn.append(z.shape)
        return push(self, z)

    monkeypatch.setattr(FlowDistribution, "push", counting_push)
    monkeypatch.setattr(FlowDistribution, "log_prob", lambda *_: pytest.fail("an inverse pass was made"))
    posed: list[torch.Size] = []
    joints_only = HandLayer.joints_only

    def counting_joints(self: HandLayer, pose: Tensor, betas: Tensor, orient: Tensor) -> Tensor:
        posed.append(pose.shape[:2])
        return joints_only(self, pose, betas, orient)

    monkeypatch.setattr(HandLayer, "joints_only", counting_joints)
    monkeypatch.setattr(HandLayer, "forward", lambda *_: pytest.fail("a mesh was built"))
    fit = trainer(tmp_path, max_steps=2, enable_checkpointing=False)
    fit.fit(module, loader(samples, 2))
    assert looked == [2, 2]
    assert drawn == [(6, 2, 45)] * 2
    assert posed == [(6, 2)] * 2
