from pathlib import Path

import pytest
import pytorch_lightning as pl
import roma
import torch
from torch import Tensor

from handlit.callbacks import WeightsFile
from handlit.data.joints import SyntheticJoints
from handlit.data.synthesis import population
from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.methods.lift import Lift, shipped_lift
from handlit.models.lift import LiftNetwork
from handlit.models.lift_weights import read_lift
from handlit.models.lifter import DetectedJoints
from handlit.types import HandBatch
from tests.models.test_lift import SMALL

INTRINSICS = torch.tensor([[500.0, 0, 320], [0, 500.0, 240], [0, 0, 1]])


@pytest.fixture(autouse=True)
def few_poses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "NUM_POSES", 200)


def method() -> Lift:
    torch.manual_seed(0)
    return Lift(LiftNetwork(**SMALL), learning_rate=3e-3)


def labelled(count: int = 8) -> HandBatch:
    module = SyntheticJoints(batch_size=count, epoch_samples=count, val_samples=1, test_samples=count)
    module.setup("fit")
    return module.on_after_batch_transfer(next(iter(module.test_dataloader())), 0)


def test_it_learns_and_leaves_the_package_s_kind_of_file(tmp_path: Path) -> None:
    lift, data = method(), SyntheticJoints(batch_size=64, epoch_samples=64 * 30, val_samples=64, test_samples=8)
    before = lift.losses(lift.infer(lift.observe(labelled(64))), labelled(64))
    trainer = pl.Trainer(
        default_root_dir=tmp_path, max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[WeightsFile()],
    )  # fmt: skip
    trainer.fit(lift, datamodule=data)
    after = lift.losses(lift.infer(lift.observe(labelled(64))), labelled(64))
    for name in ("rotation", "hand", "joints", "reprojection"):
        assert after.terms[name] < 0.95 * before.terms[name]
    again = Lift(read_lift(tmp_path / "lift.safetensors")).eval()
    batch = labelled()
    with torch.no_grad():
        first, second = (m(m.observe(batch)).joints_root for m in (lift.eval(), again))
    assert (first - second).norm(dim=-1).max() < 0.003


def test_the_weights_callback_is_for_this_method(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not of LightningModule"):
        WeightsFile().on_fit_start(pl.Trainer(logger=False, default_root_dir=tmp_path), pl.LightningModule())


@torch.no_grad()
def test_a_hand_seen_from_a_turned_camera_is_the_same_hand_turned() -> None:
    """By a turn in depth alone, after which both virtual cameras agree but for a roll, which the network must learn."""
    lift, layer = method().eval(), HandLayer(load_standin())
    joints = layer.joints_only(torch.zeros(1, 45), None, torch.tensor([[1.4, 0.3, 0.2]]))
    joints = joints - joints.mean(1, keepdim=True) + torch.tensor([0.0, 0.0, 0.5])
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.35, 0.0]))
    seen = [project(points, INTRINSICS) for points in (joints, joints @ turn.mT)]
    first, second = (lift.lift(points, torch.ones(1, 21), INTRINSICS[None]) for points in seen)
    apart = (first.joints_root @ turn.mT - second.joints_root).norm(dim=-1)
    assert apart.max() < 0.004
    assert (first.joints_root - second.joints_root).norm(dim=-1).max() > 3 * apart.max()


@torch.no_grad()
def test_a_prediction_is_of_one_hand_in_the_camera_s_pixels() -> None:
    lift, batch = method().eval(), labelled()
    prediction = lift(lift.observe(batch))
    assert prediction.root_cam is not None
    again = project(prediction.joints_root + prediction.root_cam[:, None], batch.intrinsics)
    torch.testing.assert_close(again, prediction.joints_2d, atol=0.05, rtol=1e-3)
    # weak perspective: the wrist exactly, the rest nearly
    torch.testing.assert_close(prediction.camera[:, 1:], prediction.joints_2d[:, 0], atol=0.05, rtol=1e-4)
    mesh = HandLayer(load_standin())(prediction.pose[:, 3:], prediction.betas, prediction.pose[:, :3])
    assert (mesh.vertices - mesh.joints[:, :1] - prediction.vertices_root).norm(dim=-1).mean() < 0.012
    assert (prediction.joint_scale[:, 1:] > 0).all()
    assert (prediction.joint_scale[:, 0] == 0).all()


@torch.no_grad()
def test_predictions_do_not_depend_on_the_batch() -> None:
    lift, batch = method().eval(), labelled()
    observed = lift.observe(batch)
    whole, one = lift(observed), lift(DetectedJoints(*(value[3:4] for value in observed)))
    for name in ("joints_root", "joint_scale", "vertex_scale", "pose", "camera"):
        torch.testing.assert_close(getattr(one, name), getattr(whole, name)[3:4], atol=1e-4, rtol=1e-3)


def test_it_sees_detected_joints_and_else_the_2d_labels_and_no_other_label() -> None:
    lift, batch = method(), labelled()
    torch.testing.assert_close(lift.observe(batch).joints_2d, batch.detected[..., :2])
    batch.valid["detected"] = torch.zeros(8, dtype=torch.bool)
    seen = lift.observe(batch)
    torch.testing.assert_close(seen.joints_2d, batch.joints_2d)
    assert (seen.confidence == 1).all()
    batch.visible, batch.valid["visible"] = torch.rand(8, 21) < 0.5, torch.ones(8, dtype=torch.bool)
    assert torch.equal(lift.observe(batch).confidence > 0, batch.visible)
    batch.valid["joints_2d"] = torch.zeros(8, dtype=torch.bool)
    assert not lift.observe(batch).confidence.any()


def test_hands_without_labels_are_ignored_and_leave_gradients_finite() -> None:
    lift, batch = method(), labelled()
    wanted = lift.losses(lift.infer(lift.observe(_first(batch, 4))), _first(batch, 4))
    for name in ("pose", "betas", "root_cam", "joints_cam", "joints_2d", "detected", "ratios"):
        batch.valid[name] = torch.arange(8) < 4
        value = getattr(batch, name)
        value[4:] = 0
    losses = lift.losses(lift.infer(lift.observe(batch)), batch)
    for name, term in wanted.terms.items():
        torch.testing.assert_close(losses.terms[name], term, atol=1e-3, rtol=1e-4)
    losses.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in lift.parameters())


@torch.no_grad()
@pytest.mark.parametrize("damage", ["nan", "none", "one", "same"])
def test_joints_that_say_nothing_give_a_finite_and_wide_answer(damage: str) -> None:
    lift = method().eval()
    points, confidence = 300 + 40 * torch.randn(1, 21, 2), torch.ones(1, 21)
    if damage == "nan":
        points[0, 3] = torch.nan
    elif damage == "none":
        confidence[:] = 0
    elif damage == "one":
        confidence[:, 1:] = 0
    else:
        points[:] = 300
    prediction = lift.lift(points, confidence, INTRINSICS[None])
    drawn = prediction.distribution.hypotheses(20)
    for value in (prediction.joints_root, prediction.vertices_root, prediction.joint_scale, drawn.joints_root):
        assert value.isfinite().all()


def test_the_package_s_weights_are_of_the_stand_in_hand() -> None:
    with pytest.raises(InputError, match=r"train them for yours: .* --mano_path here\.pkl"):
        shipped_lift("here.pkl")


def _first(batch: HandBatch, count: int) -> HandBatch:
    values: dict[str, object] = {}
    for name, value in vars(batch).items():
        if isinstance(value, dict):
            values[name] = {label: flag[:count].clone() for label, flag in value.items()}
        else:
            values[name] = value[:count].clone() if isinstance(value, Tensor) else value[:count]
    return HandBatch(**values)  # type: ignore[arg-type]


def test_the_package_s_weights_lift_hands_that_they_have_not_seen() -> None:
    """A floor far below what docs/lift.md states, on few hands; a wrong file or frame is centimetres off."""
    lift, batch = shipped_lift(), labelled(64)
    with torch.no_grad():
        prediction = lift(lift.observe(batch))
        drawn = prediction.distribution.hypotheses(50)
    truth = batch.joints_cam - batch.root_cam[:, None]
    assert 1000 * (prediction.joints_root - truth).norm(dim=-1).mean() < 18
    assert 1000 * (drawn.joints_root - truth[:, None]).norm(dim=-1).mean(-1).amin(1).mean() < 13
    stated = prediction.joint_scale.norm(dim=-1)[:, 1:]
    inside = (prediction.joints_root - truth).norm(dim=-1)[:, 1:] < 2 * stated
    assert inside.float().mean() > 0.85
