"""The contracts: which labels there are is stated once."""

from dataclasses import fields

import torch

from handlit.formats.frame_table import FrameTable
from handlit.types import OPTIONAL_LABELS, HandBatch, HandSample, collate


def test_samples_and_batches_have_the_same_labels() -> None:
    optional = [item.name for item in fields(HandSample) if item.default is None]
    assert optional == list(OPTIONAL_LABELS)
    required = [item.name for item in fields(HandSample) if item.default is not None]
    assert [item.name for item in fields(HandBatch)] == [*required, *optional, "valid"]
    stored = {item.name for item in fields(FrameTable)}
    # of a file each; made of what the table names otherwise; known of hands that are made alone
    assert set(optional) - stored == {"hand_mask", "object_mask", "confidence", "detected", "ratios"}


def test_unknown_labels_become_zeros_of_the_stated_shape() -> None:
    sample = HandSample("a", 0, torch.zeros(3, 8, 8, dtype=torch.uint8), torch.eye(3), torch.eye(3)[:2])
    batch = collate([sample, sample])
    for name, (shape, dtype) in OPTIONAL_LABELS.items():
        label = getattr(batch, name)
        assert label.shape == (2, *(shape or (8, 8)))
        assert label.dtype == dtype
        assert not label.any()
        assert not batch.valid[name].any()


def test_labels_and_flags_move_together() -> None:
    sample = HandSample("a", 0, torch.zeros(3, 8, 8, dtype=torch.uint8), torch.eye(3), torch.eye(3)[:2])
    moved = collate([sample, sample]).to("meta")
    assert moved.key == ["a", "a"]
    assert {moved.image.device.type, moved.joints_cam.device.type} == {"meta"}
    assert moved.valid.keys() == OPTIONAL_LABELS.keys()
    assert all(flag.device.type == "meta" for flag in moved.valid.values())
