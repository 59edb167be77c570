from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from handlit.geometry.cameras import project_weak
from handlit.hand.asset import HandAsset
from handlit.methods.deterministic import Deterministic
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
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


def method(camera: str = "weak_perspective", **settings: Any) -> Deterministic:
    torch.manual_seed(0)
    return Deterministic(partial(network, camera=camera), image_size=SIZE, **settings)


def test_prediction_has_one_scale() -> None:
    module, batch = method(initial_scale=0.013).eval(), hand_batch()
    with torch.no_grad():
        prediction = module(batch.image)
    torch.testing.assert_close(prediction.vertex_scale, torch.full((4, 778, 3), 0.013))
    assert torch.equal(prediction.vertices_root, prediction.distribution.mean)
    torch.testing.assert_close(prediction.joints_2d, project_weak(prediction.joints_root, prediction.camera))
    assert prediction.pose is None


def test_network_is_amvurs() -> None:
    module, image = method().eval(), hand_batch().image
    with torch.no_grad():
        whole = module.network(module.network.backbone.normalise(image))
        own = module.infer(image)
    torch.testing.assert_close(own.mesh.mean, whole.posterior.mean)
    torch.testing.assert_close(own.camera.view, whole.camera.view)


def test_what_is_trained_gets_a_gradient_and_the_rest_none() -> None:
    module = method().train()
    losses = module.losses(module.infer(hand_batch().image), hand_batch())
    losses.total.backward()
    without = {name for name, parameter in module.named_parameters() if parameter.grad is None}
    assert without == {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    unused = ("network.prior_net.", "network.decoder.log_variance_head.", "network.decoder.upsampling_log_variance.")
    assert all(name.startswith(unused) for name in without)


def test_the_likelihood_moves_the_scale_alone() -> None:
    module, batch = method().train(), hand_batch()
    module.losses(module.infer(batch.image), batch).terms["nll"].backward()
    assert module.log_scale.grad is not None
    assert module.log_scale.grad != 0
    others = [p for name, p in module.named_parameters() if name != "log_scale" and p.grad is not None]
    assert not any(p.grad.any() for p in others)


def test_scale_becomes_the_root_mean_square_residual() -> None:
    module, batch = method().eval(), hand_batch()
    with torch.no_grad():
        output = module.infer(batch.image)
    optimizer = torch.optim.Adam([module.log_scale], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        output = type(output)(
            type(output.mesh)(output.mesh.mean, module.log_scale.exp().expand(4, 778, 3)), output.camera
        )
        module.losses(output, batch).terms["nll"].backward()
        optimizer.step()
    residual = output.mesh.mean - (batch.vertices_cam - batch.root_cam[:, None])
    torch.testing.assert_close(module.log_scale.exp(), residual.square().mean().sqrt(), rtol=0.01, atol=0)


def test_trains_validates_and_learns(tmp_path: Path) -> None:
    module = method(learning_rate=3e-3, schedule="one_cycle")
    module.network.backbone.model.requires_grad_(False).eval()
    batch = hand_batch()
    with torch.no_grad():
        before = module.eval().losses(module.infer(batch.image), batch).terms
    run = pl.Trainer(
        accelerator="cpu",
        max_epochs=60,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    run.fit(module, loader(hand_samples(4), 4))
    with torch.no_grad():
        after = module.eval().losses(module.infer(batch.image), batch).terms
    assert after["vertices"] < 0.7 * before["vertices"]
    assert run.validate(module, loader(hand_samples(4), 4), verbose=False)[0]["val/pa_mpjpe_mm"] > 0


def test_a_batch_without_labels_has_zero_loss() -> None:
    module = method("perspective").train()
    assert module.losses(module.infer(hand_batch().image), hand_batch(labelled=False)).total == 0
