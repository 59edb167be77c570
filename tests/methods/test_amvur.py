from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import roma
import torch
from jsonargparse import ArgumentParser
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from handlit.errors import InputError, NonFiniteError
from handlit.geometry.cameras import project, project_weak
from handlit.hand.asset import HandAsset
from handlit.methods.amvur import AMVUR
from handlit.methods.method import HandMethod, Losses
from handlit.methods.supervision import FullSupervision, WeakSupervision
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, PredictedBatch, collate
from tests.methods.hands import SIZE, hand_batch, hand_samples, loader


def network(asset: HandAsset, tips: TipConvention, camera: Any = "weak_perspective") -> AMVURNetwork:
    sizes: dict[str, Any] = {
        "hidden": (32, 16, 8),
        "layers": 1,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "head_hidden": 64,
    }
    return AMVURNetwork(asset, tips, Backbone("resnet10t"), camera=camera, **sizes)


def method(camera: str = "weak_perspective", **settings: Any) -> AMVUR:
    torch.manual_seed(0)
    return AMVUR(partial(network, camera=camera), image_size=SIZE, **settings)


def weak_method(**settings: Any) -> AMVUR:
    return method("perspective", supervision=WeakSupervision(**settings))


def losses(module: AMVUR, batch: HandBatch) -> Losses:
    return module.losses(module.infer(batch.image), batch)


def trainer(tmp_path: Path, **settings: Any) -> pl.Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(accelerator="cpu", devices=1, default_root_dir=tmp_path, **{**quiet, **settings})


def test_prediction_is_consistent_with_its_distribution() -> None:
    module, batch = method().eval(), hand_batch()
    with torch.no_grad():
        prediction = module(batch.image)
    assert prediction.vertices_root.shape == prediction.vertex_scale.shape == (4, 778, 3)
    assert prediction.joints_root.shape == prediction.joint_scale.shape == (4, 21, 3)
    assert prediction.pose.shape == (4, 48)
    assert prediction.betas.shape == (4, 10)
    assert torch.equal(prediction.vertices_root, prediction.distribution.mean)
    assert torch.equal(prediction.vertex_scale, prediction.distribution.stddev)
    regressed = module.hand.joint_matrix @ prediction.vertices_root
    torch.testing.assert_close(prediction.joints_root, regressed - regressed[:, :1], rtol=0, atol=1e-6)
    torch.testing.assert_close(prediction.joints_2d, project_weak(prediction.joints_root, prediction.camera))
    # the untrained camera looks at the centre of the crop
    assert (prediction.joints_2d[:, 0] - (SIZE - 1) / 2).abs().max() < 0.2 * SIZE
    assert prediction.distribution.rsample((5,)).shape == (5, 4, 778, 3)


@pytest.mark.parametrize("camera", ["weak_perspective", "perspective"])
@pytest.mark.parametrize("supervision", [FullSupervision, WeakSupervision])
def test_every_parameter_gets_a_gradient_from_the_loss(camera: str, supervision: Any) -> None:
    module = method(camera, supervision=supervision()).train()
    losses(module, hand_batch()).total.backward()
    assert not [name for name, parameter in module.named_parameters() if parameter.grad is None]


def test_loss_is_the_weighted_sum_of_its_terms() -> None:
    supervision = FullSupervision(
        vertices=2.0, joints=3.0, joints_2d=5.0, nll=7.0, prior=0.5, kl=11.0, joint_limits=13.0
    )
    result = losses(method(supervision=supervision).eval(), hand_batch())
    terms = {name: value.item() for name, value in result.terms.items()}
    factors: dict[str, float] = {"vertices": 2, "joints": 3, "joints_2d": 5, "nll": 7, "kl": 11, "joint_limits": 13}
    factors |= {"prior_vertices": 1, "prior_joints": 1.5, "prior_joints_2d": 2.5, "prior_nll": 3.5}
    assert terms.keys() == factors.keys()
    np.testing.assert_allclose(result.total.item(), sum(factors[name] * terms[name] for name in terms), rtol=1e-5)


def test_without_other_weights_an_error_of_a_centimetre_costs_one() -> None:
    weights = FullSupervision().weights
    metric = [weights[name] for name in ("vertices", "joints", "prior_vertices", "prior_joints")]
    assert metric == [100.0] * 4


def test_terms_against_numpy() -> None:
    module, batch = method().eval(), hand_batch()
    with torch.no_grad():
        result, prediction = losses(module, batch), module(batch.image)
    matrix = module.hand.joint_matrix.double().numpy()
    vertices = (batch.vertices_cam - batch.root_cam[:, None]).double().numpy()
    joints = matrix @ vertices
    joints = joints - joints[:, :1]
    mean = prediction.vertices_root.double().numpy()
    np.testing.assert_allclose(result.terms["vertices"], np.abs(mean - vertices).mean(), rtol=1e-4)
    np.testing.assert_allclose(
        result.terms["joints"], np.abs(prediction.joints_root.double().numpy() - joints).mean(), rtol=1e-4
    )
    nll = -prediction.distribution.log_prob(torch.tensor(vertices).float()).mean() / (778 * 3)
    np.testing.assert_allclose(result.terms["nll"], nll, rtol=1e-4)
    pixels = matrix @ batch.vertices_cam.double().numpy()
    pixels = 120 * pixels[..., :2] / pixels[..., 2:] + 31.5
    error = np.abs(prediction.joints_2d.double().numpy() - pixels).mean() * 2 / SIZE
    np.testing.assert_allclose(result.terms["joints_2d"], error, rtol=1e-4)


def test_labels_that_are_missing_count_nothing() -> None:
    module = method().eval()
    samples = hand_samples(4)
    samples[2].vertices_cam = samples[2].root_cam = samples[2].joints_cam = samples[2].joints_2d = None
    partial = losses(module, collate(samples))
    full = losses(module, collate([samples[0], samples[1], samples[3]]))
    for name, value in full.terms.items():
        torch.testing.assert_close(partial.terms[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("make", [method, weak_method])
def test_a_batch_without_labels_has_zero_loss_and_zero_gradient(make: Any) -> None:
    module = make().train()
    loss = losses(module, hand_batch(labelled=False)).total
    assert loss.item() == 0
    loss.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


@pytest.mark.parametrize("make", [method, weak_method, partial(weak_method, visible_only=True)])
def test_a_training_step_never_waits_for_the_device(make: Any) -> None:
    module, batch = make().train(), hand_batch()
    # tensors without values: whatever asks for one (item, nonzero, a boolean index) raises
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = batch._apply(mode.from_tensor)
        loss = losses(module, fake).total
        loss.backward()
        with pytest.raises(DataDependentOutputException):
            loss.item()


@pytest.mark.parametrize("make", [method, weak_method])
def test_2d_joints_count_by_their_confidence(make: Any) -> None:
    module = make().eval()
    samples = hand_samples(3)
    for sample in samples:
        sample.vertices_cam = sample.root_cam = sample.joints_cam = None
    terms = losses(module, collate(samples)).terms
    for sample in samples:
        sample.confidence = torch.ones(21)
    certain = losses(module, collate(samples)).terms
    assert all(torch.equal(certain[name], value) for name, value in terms.items())
    # joints of no confidence are as if they were not there, wherever they are said to be
    for sample in samples:
        sample.confidence = torch.linspace(-0.2, 1, 21).clamp(min=0)
    batch = collate(samples)
    weighted = losses(module, batch).terms
    error = (module(batch.image).joints_2d - batch.joints_2d).abs().mean(2).detach() * 2 / SIZE
    expected = np.average(error, axis=1, weights=batch.confidence).mean()
    np.testing.assert_allclose(weighted["joints_2d"].detach(), expected, rtol=1e-4)
    batch.joints_2d[:, :3] += 1000
    moved = losses(module, batch).terms
    torch.testing.assert_close(moved, weighted)


def poisoned(batch: HandBatch) -> HandBatch:
    """The same batch with NaN wherever a 3D label was."""
    for name in ("joints_cam", "vertices_cam", "pose", "betas", "root_cam"):
        getattr(batch, name).fill_(float("nan"))
    return batch


@pytest.mark.parametrize("camera", ["weak_perspective", "perspective"])
def test_weak_supervision_reads_no_3d_label(camera: str) -> None:
    gradients = []
    for batch in (hand_batch(), poisoned(hand_batch())):
        module = method(camera, supervision=WeakSupervision()).train()
        torch.manual_seed(1)
        loss = losses(module, batch).total
        assert loss.isfinite()
        loss.backward()
        gradients.append([loss.detach(), *(parameter.grad for parameter in module.parameters())])
    assert all(torch.equal(clean, dirty) for clean, dirty in zip(*gradients, strict=True))


def test_the_poison_is_one() -> None:
    assert losses(method(), poisoned(hand_batch())).total.isnan()


def test_weak_terms_against_numpy() -> None:
    module, batch = weak_method().eval(), hand_batch()
    with torch.no_grad():
        output = module.infer(batch.image)
        result, prediction = module.losses(output, batch), module.predict(output)
    terms = {name: value.item() for name, value in result.terms.items()}
    error = np.abs(prediction.joints_2d.double().numpy() - batch.joints_2d.double().numpy()) * 2 / SIZE
    np.testing.assert_allclose(terms["joints_2d"], error.mean(), rtol=1e-4)
    projected = output.camera.project(output.posterior.marginal(module.hand.joint_matrix, relative_to=0))
    nll = -torch.distributions.Normal(projected.mean, projected.stddev).log_prob((2 * batch.joints_2d + 1) / SIZE - 1)
    np.testing.assert_allclose(terms["nll_2d"], nll[:, 1:].mean(), rtol=1e-3)
    np.testing.assert_allclose(terms["betas"], output.prior.betas.square().mean() / 2, rtol=1e-4)
    np.testing.assert_allclose(terms["pose"], output.prior.pose_coefficients.square().mean() / 2, rtol=1e-4)
    # the crops' intrinsics: focal length 120 pixels and the middle of 64 pixels
    truth = torch.distributions.Normal(torch.tensor([120 / 32, 120 / 32, 1, 1]).log(), 0.02)
    divergence = torch.distributions.kl_divergence(truth, output.camera.intrinsics)
    np.testing.assert_allclose(terms["intrinsics"], divergence.mean(), rtol=1e-4)
    supervision: Any = module.supervision
    assert terms.keys() == supervision.weights.keys()


@pytest.mark.parametrize("term", ["kl", "vertices"])
def test_the_posterior_does_not_teach_the_prior_in_weak_supervision(term: str) -> None:
    module = weak_method().eval()
    losses(module, hand_batch()).terms[term].backward()
    assert not [name for name, p in module.network.prior_net.named_parameters() if p.grad is not None and p.grad.any()]
    assert all(p.grad is not None for p in module.network.decoder.upsampling.parameters())


def test_the_prior_learns_its_orientation_alone_from_the_mesh_that_it_lifted() -> None:
    module = weak_method().eval()
    losses(module, hand_batch()).terms["prior_vertices"].backward()
    taught = {name.split(".")[0] for name, p in module.network.prior_net.named_parameters() if p.grad is not None}
    assert taught == {"rotation_head"}


def test_weak_supervision_leads_both_meshes_to_the_turned_hand_of_the_prior() -> None:
    module, batch = weak_method().eval(), hand_batch()
    with torch.no_grad():
        output = module.infer(batch.image)
        # hands of the prior's own shape, far away: the lifted mesh is the true one
        rotation = roma.random_rotmat(4)
        upright = output.prior.distribution.mean @ output.prior.rotation
        truth = upright @ rotation.mT
        batch.joints_2d = 200 * (module.network.template_joints @ rotation.mT)[..., :2] + 30
        terms = module.losses(output, batch).terms
    for name, mean in (("vertices", output.posterior.mean), ("prior_vertices", output.prior.distribution.mean)):
        np.testing.assert_allclose(terms[name], (mean - truth).abs().mean(), rtol=0.02)
    assert terms["prior_vertices"] > 0.02


def test_too_few_joints_lift_no_mesh() -> None:
    samples = hand_samples(2)
    for count, sample in zip((3, 4), samples, strict=True):
        sample.visible = torch.arange(21) < count
    module = weak_method(visible_only=True).eval()
    few, enough = (losses(module, collate([sample])).terms for sample in samples)
    for name in ("vertices", "prior_vertices", "kl"):
        assert few[name] == 0 < enough[name]


def test_hidden_joints_may_be_left_out() -> None:
    samples = hand_samples(4)
    for sample in samples:
        sample.visible = torch.arange(21) % 2 == 0
    batch = collate(samples)
    module = weak_method(visible_only=True).eval()
    expected = losses(module, batch).terms
    batch.joints_2d[:, 1::2] += 1000
    for name, value in losses(module, batch).terms.items():
        torch.testing.assert_close(value, expected[name], msg=name)
    every = losses(weak_method().eval(), batch).terms
    assert every["joints_2d"] > 2 * expected["joints_2d"]


def test_an_all_hidden_hand_counts_nothing() -> None:
    samples = hand_samples(3)
    for sample in samples:
        sample.visible = torch.ones(21, dtype=torch.bool)
    few = losses(weak_method(visible_only=True).eval(), collate(samples[:2])).terms
    samples[2].visible = torch.zeros(21, dtype=torch.bool)
    module = weak_method(visible_only=True).eval()
    for name, value in losses(module, collate(samples)).terms.items():
        torch.testing.assert_close(value, few[name], rtol=1e-4, atol=1e-5, msg=name)
    alone = losses(module, collate(samples[2:])).total
    assert alone == 0
    alone.backward()
    assert not [name for name, p in module.named_parameters() if p.grad is not None and p.grad.any()]


@pytest.mark.parametrize("make", [method, weak_method])
def test_hands_behind_the_camera_give_finite_losses_and_gradients(make: Any) -> None:
    module, batch = make().train(), hand_batch()
    batch.vertices_cam[:, :, 2] -= 1
    batch.root_cam[:, 2] -= 1
    if module.network.camera_head.intrinsics_head is not None:
        # so near that most of the predicted hand lies behind the camera
        with torch.no_grad():
            module.network.camera_head.head[-1].bias[0] = np.log(1e3)
    loss = losses(module, batch).total
    assert loss.isfinite()
    loss.backward()
    assert not [name for name, p in module.named_parameters() if not p.grad.isfinite().all()]


@pytest.mark.parametrize("make", [method, weak_method])
def test_broken_features_stop_the_training_by_name(tmp_path: Path, make: Any) -> None:
    module = make()
    with torch.no_grad():
        next(module.network.backbone.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="hand/0000, hand/0001"):
        trainer(tmp_path, max_epochs=1).fit(module, loader(hand_samples(2), 2))


def test_the_camera_is_drawn_while_training_and_at_its_mean_otherwise() -> None:
    module, batch = weak_method(), hand_batch()
    output = module.eval().infer(batch.image)
    fixed = module.losses(output, batch).total
    assert torch.equal(fixed, module.losses(output, batch).total)
    module.supervision.train()
    assert not torch.equal(fixed, module.losses(output, batch).total)
    assert torch.equal(module.predict(output).joints_2d, module.predict(output).joints_2d)


def test_perspective_prediction() -> None:
    module, batch = weak_method().eval(), hand_batch()
    with torch.no_grad():
        output = module.infer(batch.image)
        prediction = module.predict(output)
    focal, centre = output.camera.intrinsics.mean[:, :2].exp() * SIZE / 2, output.camera.intrinsics.mean[:, 2:]
    matrix = torch.zeros(4, 3, 3)
    matrix[:, (0, 1), (0, 1)], matrix[:, 2, 2] = focal, 1
    matrix[:, :2, 2] = ((centre + 1) * SIZE - 1) / 2
    points = prediction.joints_root + prediction.root_cam[:, None]
    torch.testing.assert_close(prediction.joints_2d, project(points, matrix), rtol=1e-4, atol=1e-3)
    # the weak perspective at the wrist's depth
    magnification = focal.prod(1).sqrt() / prediction.root_cam[:, 2]
    torch.testing.assert_close(prediction.camera[:, 0], magnification)
    torch.testing.assert_close(prediction.camera[:, 1:], prediction.joints_2d[:, 0], rtol=1e-4, atol=1e-3)


def test_either_mesh_may_be_the_answer() -> None:
    batch = hand_batch()
    module = method(answer="prior").eval()
    output = module.infer(batch.image)
    distribution: Any = module.predict(output).distribution
    assert torch.equal(distribution.mean, output.prior.distribution.mean)
    torch.testing.assert_close(module.predict(output).vertices_root, output.prior.distribution.mean)
    distribution = method().eval().predict(output).distribution
    assert torch.equal(distribution.mean, output.posterior.mean)


def test_weak_supervision_fits_and_turns_four_hands(tmp_path: Path) -> None:
    module = method("perspective", supervision=WeakSupervision(), learning_rate=1e-2, schedule="one_cycle")
    module.network.backbone.model.requires_grad_(False).eval()
    with torch.no_grad():
        before = losses(module.eval(), hand_batch())
    trainer(tmp_path, max_epochs=150, enable_checkpointing=False).fit(module, loader(hand_samples(4), 4))
    with torch.no_grad():
        after = losses(module.eval(), hand_batch())
    # a lifted mesh is turned only roughly, so what is taught by it and by the projections keeps a distance
    for name in ("joints_2d", "prior_joints_2d", "vertices", "prior_vertices"):
        assert after.terms[name] < 0.75 * before.terms[name], (name, before.terms[name], after.terms[name])


def test_overfits_four_hands(tmp_path: Path) -> None:
    module = method(learning_rate=3e-3, schedule="one_cycle")
    module.network.backbone.model.requires_grad_(False).eval()
    with torch.no_grad():
        before = losses(module.eval(), hand_batch())
    trainer(tmp_path, max_epochs=100, enable_checkpointing=False).fit(module, loader(hand_samples(4), 4))
    with torch.no_grad():
        after = losses(module.eval(), hand_batch())
    for name in ("vertices", "joints", "joints_2d", "prior_vertices"):
        assert after.terms[name] < 0.5 * before.terms[name], (name, before.terms[name], after.terms[name])
    assert after.terms["nll"] < before.terms["nll"] - 0.5


def test_fits_validates_and_predicts_with_named_figures(tmp_path: Path) -> None:
    module = method()
    run = trainer(tmp_path, max_epochs=1, log_every_n_steps=1)
    run.fit(module, loader(hand_samples(4), 2), loader(hand_samples(3, seed=1), 2))
    names = set(run.callback_metrics)
    assert {"train/loss", "train/loss_vertices", "train/loss_prior_nll", "train/loss_kl", "val/loss"} <= names
    run.validate(module, loader(hand_samples(3, seed=1), 2), verbose=False)
    batch = hand_batch(3, seed=1)
    with torch.no_grad():
        prediction = module.eval()(batch.image)
    joints = batch.joints_cam - batch.joints_cam[:, :1]
    vertices = batch.vertices_cam - batch.root_cam[:, None]
    for name, value, target in (
        ("mpjpe_mm", prediction.joints_root, joints),
        ("mpvpe_mm", prediction.vertices_root, vertices),
    ):
        expected = 1000 * (value - target).norm(dim=-1).mean()
        torch.testing.assert_close(run.callback_metrics[f"val/{name}"].float(), expected, rtol=1e-4, atol=0)
        assert run.callback_metrics[f"val/pa_{name}"] <= run.callback_metrics[f"val/{name}"]
    answers: list[Any] = run.predict(module, loader(hand_samples(3, seed=1), 2))
    assert isinstance(answers[0], PredictedBatch)
    assert [key for answer in answers for key in answer.key] == ["hand/0000", "hand/0001", "hand/0002"]
    assert torch.cat([answer.index for answer in answers]).tolist() == [0, 1, 2]
    vertices = torch.cat([answer.prediction.vertices_root for answer in answers])
    torch.testing.assert_close(vertices, prediction.vertices_root, rtol=1e-4, atol=1e-5)


def test_checkpoint_restores_the_answer_and_holds_no_settings(tmp_path: Path) -> None:
    module = method()
    run = trainer(tmp_path, max_epochs=1)
    run.fit(module, loader(hand_samples(4), 2))
    run.save_checkpoint(tmp_path / "run.ckpt")
    stored = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert "hyper_parameters" not in stored
    restored = method(learning_rate=1.0).eval()
    assert not torch.equal(restored(hand_batch().image).vertices_root, module.eval()(hand_batch().image).vertices_root)
    restored.load_state_dict(stored["state_dict"])
    assert torch.equal(restored(hand_batch().image).vertices_root, module(hand_batch().image).vertices_root)


def test_a_loss_that_is_not_finite_names_its_batch_and_is_not_saved(tmp_path: Path) -> None:
    samples = hand_samples(4)
    samples[3].vertices_cam = torch.full((778, 3), float("nan"))
    with pytest.raises(FloatingPointError, match="hand/0002, hand/0003"):
        trainer(tmp_path, max_epochs=1).fit(method(), loader(samples, 2))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_gradient_that_is_not_finite_is_stopped_before_the_update(tmp_path: Path) -> None:
    class Steep(AMVUR):
        """Finite losses whose gradients are not: the root at 0."""

        def losses(self, output: Any, batch: HandBatch) -> Any:
            losses = super().losses(output, batch)
            mesh = output.posterior.mean
            return Losses(losses.total + (mesh - mesh).sum().sqrt(), losses.terms)

    module = Steep(network, image_size=SIZE)
    before = {name: value.clone() for name, value in module.named_parameters()}
    with pytest.raises(NonFiniteError, match="training gradient"):
        trainer(tmp_path, max_epochs=1).fit(module, loader(hand_samples(4), 2))
    assert all(torch.equal(value, before[name]) for name, value in module.named_parameters())


def test_the_norm_of_the_gradient_is_logged_before_clipping(tmp_path: Path) -> None:
    norms = []

    class Note(pl.Callback):
        def on_train_batch_end(
            self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            norms.append(trainer.callback_metrics["train/grad_norm"].item())

        def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
            squares = [p.grad.double().square().sum() for p in pl_module.parameters() if p.grad is not None]
            norms.append(torch.stack(squares).sum().sqrt().item())

    run = trainer(tmp_path, max_epochs=1, gradient_clip_val=1e-3, enable_checkpointing=False, callbacks=[Note()])
    run.fit(method(), loader(hand_samples(4), 2))
    assert len(norms) == 4
    assert norms[::2] == pytest.approx(norms[1::2], rel=1e-5)
    assert min(norms) > 1e-2


def test_crops_of_another_size_are_refused() -> None:
    module = AMVUR(network, image_size=2 * SIZE)
    with pytest.raises(InputError, match=r"128x128.*64x64"):
        module.predict_step(hand_batch(), 0)


def test_configuration_builds_the_method() -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(HandMethod, "model")
    config = {
        "class_path": "handlit.methods.amvur.AMVUR",
        "init_args": {
            "network": {
                "class_path": "handlit.models.amvur.AMVURNetwork",
                "init_args": {
                    "backbone": {
                        "class_path": "handlit.models.backbones.Backbone",
                        "init_args": {"name": "mobilenetv3_small_050"},
                    },
                    "hidden": [32, 16, 8],
                    "camera": "perspective",
                },
            },
            "image_size": SIZE,
            "supervision": {
                "class_path": "handlit.methods.supervision.WeakSupervision",
                "init_args": {"visible_only": True},
            },
        },
    }
    arguments = parser.parse_object({"model": config})
    module = parser.instantiate_classes(arguments).model
    assert isinstance(module, AMVUR)
    assert module.network.backbone.name == "mobilenetv3_small_050"
    assert isinstance(module.supervision, WeakSupervision)
    assert module.supervision.visible_only
    assert module.network.camera_head.intrinsics_head is not None


def test_each_batch_of_a_validation_and_a_test_draws_the_same_whenever_it_comes() -> None:
    module, batch = method(), hand_batch(2)
    for begin in (module.on_validation_batch_start, module.on_test_batch_start):
        drawn = []
        for number in (3, 4, 3):
            begin(batch, number)
            drawn.append(torch.rand(4))
        assert drawn[0].equal(drawn[2])
        assert not drawn[0].equal(drawn[1])
