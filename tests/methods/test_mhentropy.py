"""MHEntropy's learning rule: the published loss term by term, what hidden joints may not do, images without labels."""

import math
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributions import Laplace, Normal

from handlit.geometry.bone_relative import bone_relative
from handlit.geometry.cameras import project_weak
from handlit.methods.method import Losses
from handlit.methods.mhentropy import MHEntropy, MHEntropyWeights
from handlit.models.backbones import Backbone
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.types import HandBatch, collate
from tests.methods.hands import SIZE, hand_batch, hand_samples, loader
from tests.methods.test_amvur import trainer

NAMES = {"likelihood_2d", "prior_pose", "prior_orient", "prior_shape", "entropy"}


def method(stochastic: Any = "fingers", flow: Any = "realnvp", **settings: Any) -> MHEntropy:
    torch.manual_seed(0)
    network = MHEntropyNetwork(Backbone("resnet10t"), 32, hidden=(16, 16), steps=2, stochastic=stochastic, flow=flow)
    return MHEntropy(network, image_size=SIZE, **settings)


def batch_with_visibility(count: int = 4) -> HandBatch:
    batch = hand_batch(count)
    batch.visible = torch.arange(21).expand(count, 21) % 3 != 0
    batch.valid["visible"] = torch.ones(count, dtype=torch.bool)
    return batch


def losses(module: MHEntropy, batch: HandBatch, seed: int = 1) -> Losses:
    output = module.infer(batch.image)
    torch.manual_seed(seed)
    return module.losses(output, batch)


def gradients(module: MHEntropy, batch: HandBatch) -> torch.Tensor:
    module.zero_grad()
    losses(module, batch).total.backward()
    return torch.cat([p.grad.flatten() for p in module.network.parameters() if p.grad is not None])


def test_the_loss_is_the_published_one() -> None:
    module, batch = method().eval(), batch_with_visibility()
    with torch.no_grad():
        found = losses(module, batch)
        output = module.infer(batch.image)
        torch.manual_seed(1)
        drawn, log_q = output.flow.rsample_with_log_prob((10,))
        joints = module.hand.joints_only(drawn, output.betas, output.orient)
        uv = project_weak(bone_relative(joints)[0], output.view)
        target = (2 * batch.joints_2d + 1) / SIZE - 1
        assert (uv - target).abs().min() > 1e-4, "the dead zone is not met here"
        log_p = Laplace(target, 0.03).log_prob(uv).sum(-1)
        likelihood = torch.where(batch.visible, log_p, 0.0).sum(-1)
        pose = -50 * (drawn.abs() / 2 - 1).clamp(min=0).square().sum(-1)
        orient = -5 * (output.orient.norm(dim=-1) / math.pi - 1).clamp(min=0).square()
        shape = -50 * (output.betas.abs() / 0.03 - 1).clamp(min=0).square().sum(-1)
        expected = (-(likelihood + pose + orient + shape).mean(0) + log_q.mean(0)).mean()
    torch.testing.assert_close(found.total, expected, rtol=1e-5, atol=1e-3)
    assert set(found.terms) == NAMES
    torch.testing.assert_close(found.terms["entropy"], log_q.mean())


def test_crops_are_as_large_as_the_published_ones() -> None:
    assert signature(MHEntropy).parameters["image_size"].default == 256


def test_hidden_joints_and_3d_labels_do_not_reach_the_loss() -> None:
    module, batch = method().eval(), batch_with_visibility()
    clean = gradients(module, batch)
    batch.joints_2d[~batch.visible] = torch.nan
    for label in (batch.joints_cam, batch.vertices_cam, batch.pose, batch.betas, batch.root_cam):
        label.fill_(torch.nan)
    assert torch.equal(gradients(module, batch), clean)
    assert clean.isfinite().all()


def test_the_likelihood_of_a_joint_is_multiplied_by_its_confidence() -> None:
    module, samples = method(supervision="all_2d"), hand_samples(3)
    plain = losses(module, collate(samples)).terms["likelihood_2d"]
    for sample, confidence in zip(samples, (0.0, 0.5, 1.0), strict=True):
        sample.confidence = torch.full((21,), confidence)
    parts = [losses(module, collate([sample] * 3)).terms["likelihood_2d"] for sample in samples]
    assert parts[0].item() == 0
    samples[1].confidence = torch.ones(21)
    certain = losses(module, collate([samples[1]] * 3)).terms["likelihood_2d"]
    torch.testing.assert_close(parts[1], certain / 2)
    for sample in samples:
        sample.confidence = torch.ones(21)
    assert torch.equal(losses(module, collate(samples)).terms["likelihood_2d"], plain)


def test_images_without_a_seen_joint_contribute_priors_and_entropy_only() -> None:
    module, batch = method().eval(), batch_with_visibility()
    seen = losses(module, batch)
    batch.visible[:] = False
    hidden = losses(module, batch)
    assert hidden.terms["likelihood_2d"].item() == 0
    for name in NAMES - {"likelihood_2d"}:
        torch.testing.assert_close(hidden.terms[name], seen.terms[name])
    gradient = gradients(module, batch)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0

    batch.visible[:] = True
    batch.valid["visible"][:] = False
    assert losses(module, batch).terms["likelihood_2d"].item() == 0


def test_supervision_decides_which_labels_count() -> None:
    batch = batch_with_visibility()
    everything = batch_with_visibility()
    everything.visible[:] = True
    visible, every, with_3d = (
        losses(method(supervision=kind).eval(), batch) for kind in ("visible_2d", "all_2d", "2d_and_3d")
    )
    torch.testing.assert_close(every.terms["likelihood_2d"], losses(method().eval(), everything).terms["likelihood_2d"])
    assert visible.terms["likelihood_2d"] != every.terms["likelihood_2d"]
    assert set(with_3d.terms) == NAMES | {"likelihood_3d"}
    without = batch_with_visibility()
    without.valid["joints_cam"][:] = False
    assert losses(method(supervision="2d_and_3d").eval(), without).terms["likelihood_3d"].item() == 0


def test_weights_scale_their_terms() -> None:
    batch = batch_with_visibility()
    found = losses(method(weights=MHEntropyWeights(entropy=0.0, prior_shape=2.0)).eval(), batch)
    terms = found.terms
    expected = terms["likelihood_2d"] + terms["prior_pose"] + terms["prior_orient"] + 2 * terms["prior_shape"]
    torch.testing.assert_close(found.total, expected)


@pytest.mark.parametrize(("stochastic", "flow"), [("fingers", "realnvp"), ("all", "realnvp"), ("all", "spline")])
def test_every_parameter_learns(stochastic: str, flow: str) -> None:
    module, batch = method(stochastic, flow), batch_with_visibility()
    losses(module, batch).total.backward()
    for name, parameter in module.network.named_parameters():
        assert parameter.grad is not None, name
        # timm starts residual branches at zero, so nothing inside them gets a gradient at the first step
        if not name.startswith("backbone.model.layer"):
            assert parameter.grad.abs().sum() > 0, name


def test_prediction_is_consistent() -> None:
    module, batch = method().eval(), hand_batch()
    with torch.no_grad():
        prediction = module(batch.image)
        again = module(batch.image[:2])
    assert prediction.vertices_root.shape == prediction.vertex_scale.shape == (4, 778, 3)
    assert prediction.joints_root.shape == prediction.joint_scale.shape == (4, 21, 3)
    projected = project_weak(prediction.joints_root, prediction.camera)
    torch.testing.assert_close(projected, prediction.joints_2d, atol=1e-3, rtol=0)
    # an answer does not depend on the other images of its batch
    torch.testing.assert_close(again.vertices_root, prediction.vertices_root[:2], atol=1e-5, rtol=0)
    torch.testing.assert_close(again.joint_scale, prediction.joint_scale[:2], atol=1e-5, rtol=0)


def test_the_density_is_the_bases_before_training_moves_it() -> None:
    """With couplings that do nothing the entropy term is that of 45 standard normal numbers."""
    module, batch = method().eval(), batch_with_visibility()
    with torch.no_grad():
        couplings: Any = module.network.flow.couplings
        for coupling in couplings:
            for network in (coupling.log_scale, coupling.shift):
                network.out.weight.zero_()
                network.out.bias.zero_()
        found = losses(module, batch)
        torch.manual_seed(1)
        noise = torch.randn(10, 4, 45)
    torch.testing.assert_close(found.terms["entropy"], Normal(0.0, 1.0).log_prob(noise).sum(-1).mean())


def test_a_broken_density_stops_the_training_and_names_the_images(tmp_path: Path) -> None:
    module = method()
    samples = hand_samples(4)
    for sample in samples:
        sample.visible = torch.ones(21, dtype=torch.bool)
    with torch.no_grad():
        couplings: Any = module.network.flow.couplings
        couplings[0].shift.out.bias.fill_(torch.inf)
    with pytest.raises(FloatingPointError, match="hand/0000"):
        trainer(tmp_path, max_steps=1).fit(module, loader(samples, 4))


def test_it_fits_what_it_sees(tmp_path: Path) -> None:
    """A few steps on a few images bring the seen joints closer in the image."""
    module, batch = method(learning_rate=2e-3), batch_with_visibility()
    before = losses(module, batch).terms["likelihood_2d"].item()
    optimizer = torch.optim.Adam(module.network.parameters(), lr=2e-3)
    for seed in range(40):
        optimizer.zero_grad()
        losses(module, batch, seed).total.backward()
        torch.nn.utils.clip_grad_norm_(module.network.parameters(), 1.0)
        optimizer.step()
    assert losses(module, batch).terms["likelihood_2d"].item() < 0.5 * before
