"""What is computed for a whole batch: vertices from pose and shape, and which of them the crop shows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.datamodule import HandDataModule, add_vertices
from handlit.data.loading.dataset import HandDataset
from handlit.data.loading.sampling import SeededIndex
from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.types import collate
from tests.data.loading.test_dataset import make_frames, sample_of

STRONG = Augmentation(rotation_deg=180, scale=0.2, translation=0.1)


def test_vertices_from_an_augmented_pose_are_the_augmented_vertices(tmp_path: Path) -> None:
    frames = replace(make_frames(tmp_path), vertices_cam=None)
    hand = HandLayer(load_hand())
    plain = add_vertices(collate([sample_of(HandDataset(tmp_path, frames, "plain", 64))]), hand)
    known = replace(frames, vertices_cam=plain.vertices_cam.numpy())
    turned = collate([sample_of(HandDataset(tmp_path, known, "plain", 64, STRONG), SeededIndex(0, 0))])
    expected = turned.vertices_cam.clone()
    assert (expected - plain.vertices_cam).abs().max() > 0.01
    turned.valid["vertices_cam"] = torch.tensor([False])
    torch.testing.assert_close(add_vertices(turned, hand).vertices_cam, expected, atol=2e-6, rtol=0)


def test_vertices_are_computed_where_their_labels_are_known(tmp_path: Path) -> None:
    frames = replace(make_frames(tmp_path), vertices_cam=None)
    without = replace(frames, pose=None)
    batch = collate([sample_of(HandDataset(tmp_path, table, "plain", 32)) for table in (frames, without)])
    filled = add_vertices(batch, HandLayer(load_hand()))
    assert filled.valid["vertices_cam"].tolist() == [True, False]
    assert filled.vertices_cam[0].abs().sum() > 0
    assert filled.vertices_cam[1].abs().sum() == 0


def test_computed_vertices_outside_the_crop_are_not_seen(tmp_path: Path) -> None:
    """The loader knows the frame's flags but not the vertices; who computes them knows where they are."""
    frames = replace(make_frames(tmp_path), vertices_cam=None, vertices_visible=np.ones((1, 778), np.int8))
    corner = replace(frames, boxes=np.array([[300.0, 200, 340, 240]]))
    batch = add_vertices(collate([sample_of(HandDataset(tmp_path, corner, "plain", 64))]), HandLayer(load_hand()))
    points = project(batch.vertices_cam, batch.intrinsics)
    inside = ((points > -0.5) & (points < 63.5)).all(-1)
    assert 0 < inside.float().mean() < 1
    assert torch.equal(batch.vertices_visible, inside)


@pytest.mark.parametrize("setting", [{"on_error": "ignore"}, {"crop": "square"}, {"max_errors": -1}, {"batch_size": 0}])
def test_a_setting_out_of_its_range_is_refused_by_name(setting: dict[str, object]) -> None:
    (name,) = setting
    with pytest.raises(InputError, match=name):
        HandDataModule(**({"crop": "plain"} | setting))  # type: ignore[arg-type]
