"""Detected joints move hypotheses to where they belong, in the figures and in the image that shows them."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.types import HandBatch, HandPrediction, Hypotheses
from scripts.benchmarks.importance import HYPOTHESES, TITLES, contest, detections
from tests.methods.hands import hand_batch, hand_samples, loader

ARGS = Namespace(images=4, detector_noise=0.01, visible_only=False, noise=0.03, figure=Path("shown.png"))


class Shifted:
    """The true hands, whose fingers are 1 cm to and fro beside the truth."""

    def __init__(self, batch: HandBatch) -> None:
        self.batch = batch

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        shift = 0.01 * temperature * torch.randn(len(self.batch), count, 1, 3)
        moved = shift * (torch.arange(21) > 0)[:, None] + self.batch.joints_cam[:, None]
        root = self.batch.root_cam[:, None, None]
        mesh = self.batch.vertices_cam[:, None] - root + shift if vertices else None
        return Hypotheses(moved - root, project(moved, self.batch.intrinsics[:, None]), mesh)


class Known:
    """A method that knows the labels."""

    hand = HandLayer(load_hand())

    def observe(self, batch: HandBatch) -> HandBatch:
        return batch

    def __call__(self, batch: HandBatch) -> HandPrediction:
        joints, vertices = (points - batch.root_cam[:, None] for points in (batch.joints_cam, batch.vertices_cam))
        scale, joint_scale = (torch.full_like(points, 0.01) for points in (vertices, joints))
        camera = torch.ones(len(batch), 3)
        return HandPrediction(vertices, joints, batch.joints_2d, scale, joint_scale, camera, Shifted(batch))


class Frames:
    """Six labelled frames."""

    def test_dataloader(self) -> DataLoader[Any]:
        return loader(hand_samples(6), 2)

    def on_after_batch_transfer(self, batch: HandBatch, index: int) -> HandBatch:
        return batch


def test_reweighted_hands_are_nearer_to_the_joints_and_fewer() -> None:
    torch.manual_seed(0)
    method: Any = Known()
    result = contest(method, Frames(), ARGS)
    plain, informed = result.summaries
    assert plain.run.keys.tolist() == informed.run.keys.tolist() == [f"hand/{number:04d}" for number in range(4)]
    for key in ("error_average_mm", "error_average_px", "spread_mm"):
        assert informed[key]["all"].value < 0.9 * plain[key]["all"].value
    assert result.effective.shape == (4,)
    assert (result.effective > 1).all()
    assert (result.effective < HYPOTHESES / 2).all()
    assert [len(row) for row in result.rows] == [len(TITLES)] * 2


def test_given_joints_have_the_noise_that_was_asked_for() -> None:
    batch = hand_batch(400)
    batch.visible = torch.arange(21).expand(400, 21) % 2 == 0
    detected, confidence = detections(batch, 0.02, visible_only=True)
    box: Tensor = (batch.joints_2d.amax(1) - batch.joints_2d.amin(1)).amax(-1)
    torch.testing.assert_close(
        ((detected - batch.joints_2d) / box[:, None, None]).std(), torch.tensor(0.02), rtol=0.05, atol=0
    )
    assert torch.equal(confidence, batch.visible.float())
    assert detections(batch, 0.02, visible_only=False)[1].all()
