from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from handlit.methods.mean_hand import MeanHand
from handlit.types import collate
from tests.methods.hands import SIZE, hand_batch, hand_samples, loader


def fitted(tmp_path: Path, batches: Any, epochs: int = 1) -> MeanHand:
    module = MeanHand(image_size=SIZE)
    pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(dirpath=tmp_path, filename="best", save_last=True)],
    ).fit(module, batches)
    return module


def test_mean_and_scale_are_those_of_the_training_set(tmp_path: Path) -> None:
    batch = hand_batch(7)
    module = fitted(tmp_path, loader(hand_samples(7), 3), epochs=2).eval()
    prediction = module(batch.image[:2])
    vertices = batch.vertices_cam - batch.root_cam[:, None]
    torch.testing.assert_close(prediction.vertices_root, vertices.mean(0).expand(2, -1, -1), rtol=0, atol=1e-6)
    spread = vertices.std(0, correction=0).clamp(1e-4, 1).expand(2, -1, -1)
    torch.testing.assert_close(prediction.vertex_scale, spread, rtol=1e-3, atol=0)
    assert prediction.joints_root.shape == prediction.joint_scale.shape == (2, 21, 3)
    assert prediction.distribution.rsample((3,)).shape == (3, 2, 778, 3)


def test_camera_projects_the_wrist_where_it_is_on_average(tmp_path: Path) -> None:
    batch = hand_batch(7)
    module = fitted(tmp_path, loader(hand_samples(7), 3)).eval()
    prediction = module(batch.image[:1])
    wrist = 120 * batch.root_cam[:, :2] / batch.root_cam[:, 2:] + 31.5
    torch.testing.assert_close(prediction.joints_2d[0, 0], wrist.mean(0), rtol=1e-4, atol=1e-3)
    magnification = (120 / batch.root_cam[:, 2]).log().mean().exp()
    torch.testing.assert_close(prediction.camera[0, 0], magnification, rtol=1e-4, atol=0)


def test_unlabelled_images_do_not_count(tmp_path: Path) -> None:
    samples = hand_samples(4)
    samples[1].vertices_cam = None
    samples[3].root_cam = None
    module = fitted(tmp_path, loader(samples, 2))
    kept = collate([samples[0], samples[2]])
    expected = (kept.vertices_cam - kept.root_cam[:, None]).mean(0)
    torch.testing.assert_close(module.vertex_mean.float(), expected, rtol=0, atol=1e-6)
    assert module.vertex_count == 2
    assert module.camera_count == 3


def test_checkpoint_keeps_the_statistics(tmp_path: Path) -> None:
    module = fitted(tmp_path, loader(hand_samples(4), 2))
    for name in ("best.ckpt", "last.ckpt"):
        stored = torch.load(tmp_path / name, weights_only=True)
        restored = MeanHand(image_size=SIZE)
        restored.load_state_dict(stored["state_dict"])
        image = hand_batch(1).image
        assert torch.equal(restored(image).vertices_root, module(image).vertices_root)


def test_validation_scores_the_mean_hand(tmp_path: Path) -> None:
    module = fitted(tmp_path, loader(hand_samples(4), 2))
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    scores = trainer.validate(module, loader(hand_samples(4), 2), verbose=False)[0]
    batch = hand_batch(4)
    vertices = batch.vertices_cam - batch.root_cam[:, None]
    expected = 1000 * (vertices - vertices.mean(0)).norm(dim=-1).mean()
    torch.testing.assert_close(torch.tensor(scores["val/mpvpe_mm"]).float(), expected, rtol=1e-4, atol=0)
