"""The submission of a Trainer with one and with two processes, the card and the scales beside it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from handlit.callbacks.output.predicted_scale import PredictedScale
from handlit.callbacks.output.submission import SCALE_BONE, SubmissionCallback, place_by_bone
from handlit.files import sha256
from handlit.formats.registry import benchmark_named
from handlit.scoring.official.predicted_scale import read_joint_scale, scale_file
from handlit.scoring.official.result_card import read_card
from handlit.scoring.official.submission import read_submission
from handlit.types import HandBatch, HandSample, collate
from handlit.version import code_version
from tests.processes import ddp
from tests.scoring.hands import make_hands

COUNT = 7
HANDS = make_hands(COUNT, benchmark_named("ho3d_v3"))
JOINTS = torch.from_numpy(HANDS.joints_cam).float()
VERTICES = torch.from_numpy(HANDS.vertices_cam).float()
SCALES = 0.001 * torch.arange(1.0, 1 + COUNT * 21 * 3).view(COUNT, 21, 3)


class Frames(pl.LightningDataModule):
    """Seven frames with a root, in batches of two."""

    protocol = "ho3d_v3"
    box_source = "given with the dataset"
    crop = "plain"
    image_size = 8

    def __init__(self) -> None:
        super().__init__()
        self.root = Path("somewhere")

    def predict_dataloader(self) -> DataLoader[Any]:
        samples = [
            HandSample(f"S/{i}", i, torch.zeros(3, 8, 8), torch.eye(3), torch.eye(2, 3), root_cam=JOINTS[i, 0])
            for i in range(COUNT)
        ]
        return DataLoader(samples, batch_size=2, collate_fn=collate)  # type: ignore[arg-type]


class Oracle(pl.LightningModule):
    """Knows the true hands."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def predict_step(self, batch: HandBatch, batch_idx: int) -> Any:
        def relative(points: Tensor) -> Tensor:
            return points[batch.index] - JOINTS[batch.index, :1]

        return SimpleNamespace(
            prediction=SimpleNamespace(
                joints_root=relative(JOINTS), vertices_root=relative(VERTICES), joint_scale=SCALES[batch.index]
            )
        )


def predict(folder: Path, ckpt_path: Path | None = None, **options: Any) -> Path:
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=[SubmissionCallback(), PredictedScale()],
        **options,
    )
    trainer.predict(Oracle(), datamodule=Frames(), return_predictions=False, ckpt_path=ckpt_path, weights_only=True)
    return folder / "pred.zip"


@pytest.mark.filterwarnings("ignore")
def test_one_and_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = predict(tmp_path / "one", devices=1)
    two = predict(tmp_path / "two", devices=2, strategy=ddp())
    assert one.read_bytes() == two.read_bytes()
    submission = read_submission(two)
    assert abs(submission.joints - HANDS.joints).max() < 0.6e-5
    assert abs(submission.vertices - HANDS.vertices).max() < 0.6e-5
    for path in (one, two):
        written = sorted(file.name for file in path.parent.iterdir())
        assert written == ["pred.card.json", "pred.scale.npz", "pred.zip"]
        scale = read_joint_scale(scale_file(path), COUNT, benchmark_named("freihand"))
        np.testing.assert_allclose(scale, SCALES.norm(dim=-1).numpy(), rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_card_says_how_it_was_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = tmp_path / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir()
    torch.save({"state_dict": Oracle().state_dict(), "pytorch-lightning_version": pl.__version__}, checkpoint)
    (tmp_path / "config.yaml").write_text("data: {class_path: handlit.data.ho3d.HO3D, init_args: {root: elsewhere}}")
    (tmp_path / ".pred.zip.rank0.records").write_bytes(b"left by a killed run")
    path = predict(tmp_path, checkpoint, devices=1)
    assert "interrupted run" in caplog.text
    card = read_card(path)
    assert json.loads((tmp_path / "pred.card.json").read_text()) == vars(card)
    assert vars(card) == {
        "method": "Oracle",
        "checkpoint": str(checkpoint),
        "checkpoint_sha256": sha256(checkpoint),
        "training_data": "HO3D: elsewhere",
        "evaluation_data": "ho3d_v3: somewhere",
        "box_source": "given with the dataset",
        "root_source": "given with the dataset",
        "crop": "plain, 8 px",
        "test_time_augmentation": "none",
        "num_hypotheses": 1,
        "code_version": code_version(),
        "prediction_sha256": sha256(path),
        "calibration": None,
    }


def test_a_hand_of_known_bone_is_scaled_and_placed_where_it_is_seen() -> None:
    lengths = torch.tensor([0.03, 0.045])
    intrinsics = torch.tensor([[600.0, 0.0, 112.0], [0.0, 600.0, 112.0], [0.0, 0.0, 1.0]]).expand(2, 3, 3)
    joints, vertices = JOINTS[:2] - JOINTS[:2, :1], VERTICES[:2] - JOINTS[:2, :1]
    bones = (joints[:, SCALE_BONE[0]] - joints[:, SCALE_BONE[1]]).norm(dim=-1)
    factor = (lengths / bones)[:, None, None]
    root = torch.tensor([[[0.02, -0.01, 0.5]], [[-0.03, 0.04, 0.7]]])
    seen = (factor * joints + root) @ intrinsics.mT
    prediction: Any = SimpleNamespace(
        joints_root=joints, vertices_root=vertices, joints_2d=seen[..., :2] / seen[..., 2:]
    )
    placed_joints, placed_vertices = place_by_bone(prediction, intrinsics, lengths)
    torch.testing.assert_close(placed_joints, factor * joints + root, rtol=0, atol=1e-4)
    torch.testing.assert_close(placed_vertices, factor * vertices + root, rtol=0, atol=1e-4)
