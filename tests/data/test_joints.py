import numpy as np
import pytest
import roma
import torch
from torch import Tensor

from handlit.data.joints import SyntheticJoints
from handlit.data.synthesis import population
from handlit.data.synthesis.detector_noise import DetectorNoise
from handlit.data.synthesis.population import Population
from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin
from handlit.types import HandBatch

EXACT = DetectorNoise(scale=0, outliers=0, swapped=0, incomplete=0)


@pytest.fixture(autouse=True)
def few_poses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(population, "NUM_POSES", 200)


def data(**settings: object) -> SyntheticJoints:
    module = SyntheticJoints(
        **{"batch_size": 16, "epoch_samples": 64, "val_samples": 20, "test_samples": 40, **settings}  # type: ignore[arg-type]
    )
    module.setup("fit")
    return module


def batches(module: SyntheticJoints, split: str) -> list[HandBatch]:
    loader = getattr(module, f"{split}_dataloader")()
    return [module.on_after_batch_transfer(batch, 0) for batch in loader]


def joined(parts: list[HandBatch], name: str) -> Tensor:
    return torch.cat([getattr(part, name) for part in parts])


def test_labels_describe_one_hand() -> None:
    module = data(noise=EXACT, population=Population(assumed_camera=0, definition_mm=0))
    (batch, *_) = batches(module, "train")
    torch.testing.assert_close(project(batch.joints_cam, batch.intrinsics), batch.joints_2d, atol=2e-3, rtol=0)
    torch.testing.assert_close(batch.detected[..., :2], batch.joints_2d, atol=1e-3, rtol=0)
    posed = HandLayer(load_standin()).joints_only(
        batch.pose[:, 3:], batch.betas, batch.pose[:, :3], ratios=batch.ratios
    )
    torch.testing.assert_close(posed - posed[:, :1], batch.joints_cam - batch.root_cam[:, None], atol=1e-5, rtol=0)
    # the crop is around the joints
    low, high = batch.joints_2d.amin(1), batch.joints_2d.amax(1)
    torch.testing.assert_close((low + high) / 2, torch.full((16, 2), 111.5), atol=0.01, rtol=0)
    torch.testing.assert_close((high - low).amax(1), torch.full((16,), 224 / 1.5), atol=0.05, rtol=0)
    assert not batch.image.any()
    assert batch.valid["pose"].all()
    assert not batch.valid["vertices_cam"].any()


def test_an_assumed_camera_keeps_the_hand_s_shape_and_its_image() -> None:
    module = data(noise=EXACT, population=Population(assumed_camera=1, assumed_focal=0.3))
    (batch, *_) = batches(module, "train")
    projected = project(batch.joints_cam, batch.intrinsics)
    torch.testing.assert_close(projected[:, 0], batch.joints_2d[:, 0], atol=2e-3, rtol=0)
    apart = (projected - batch.joints_2d).norm(dim=-1)
    assert 0.05 < apart.mean() < 15


def test_fixed_hands_are_the_same_in_any_batches() -> None:
    small, large = (batches(data(batch_size=size), "test") for size in (7, 40))
    for name in ("detected", "joints_cam", "pose", "index"):
        torch.testing.assert_close(joined(small, name), joined(large, name), rtol=0, atol=0)
    assert [key for part in small for key in part.key] == large[0].key
    assert joined(small, "index").tolist() == list(range(40))
    assert (joined(small, "pose")[:20] - joined(batches(data(), "val"), "pose")).abs().max() > 0.1


def test_training_hands_are_new_in_every_epoch_and_the_same_for_a_seed() -> None:
    module = data()
    first = joined(batches(module, "train"), "pose")
    again = joined(batches(data(), "train"), "pose")
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    loader = module.train_dataloader()
    loader.sampler.set_epoch(1)  # type: ignore[attr-defined]
    second = torch.cat([module.on_after_batch_transfer(batch, 0).pose for batch in loader])
    assert (first - second).abs().amax(1).min() > 1e-3


def test_missing_joints_are_zeros_without_confidence() -> None:
    module = data(noise=DetectorNoise(incomplete=1.0))
    detected = joined(batches(module, "train"), "detected")
    missing = detected[..., 2] == 0
    assert missing.any(1).all()
    assert (detected[missing] == 0).all()


def test_orientations_reach_every_side() -> None:
    facing = roma.rotvec_to_rotmat(joined(batches(data(epoch_samples=512), "train"), "pose")[:, :3])[:, 2, 1]
    assert np.histogram(facing.numpy(), bins=4, range=(-1, 1))[0].min() > 90


def test_there_is_nothing_to_predict() -> None:
    with pytest.raises(InputError, match="synthetic joints have no images"):
        data().setup("predict")
