"""The table of measures: the right numbers in the right places, for any batching."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from handlit.distributions.cameras import WeakPerspectiveCamera
from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.metrics.calibration import coverage
from handlit.metrics.diversity import deviation
from handlit.metrics.hypotheses import HypothesisTable, draw, measure
from handlit.metrics.hypothesis_measures import RESOLUTION_MM
from handlit.metrics.measure import DrawnMeasure
from handlit.metrics.registry import measures
from handlit.types import OPTIONAL_LABELS, HandBatch, HandPrediction, Hypotheses


@dataclass
class Listed:
    """A distribution that hands out given hypotheses one after the other."""

    joints: Tensor
    points_2d: Tensor
    meshes: Tensor
    taken: int = 0

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        rows = slice(self.taken, self.taken + count)
        self.taken += count
        return Hypotheses(self.joints[:, rows], self.points_2d[:, rows], self.meshes[:, rows] if vertices else None)


def case(images: int = 6, count: int = 12, seed: int = 0) -> tuple[HandPrediction, HandBatch]:
    torch.manual_seed(seed)
    joints_cam = 0.05 * torch.randn(images, 21, 3) + torch.tensor([0.0, 0, 0.5])
    root = joints_cam[:, :1]
    vertices = 0.05 * torch.randn(images, 778, 3)
    points = 112 + 40 * torch.randn(images, 21, 2)
    labels = {
        name: torch.zeros(images, *(shape or (224, 224)), dtype=dtype)
        for name, (shape, dtype) in OPTIONAL_LABELS.items()
    }
    labels |= {
        "joints_cam": joints_cam,
        "root_cam": root[:, 0],
        "vertices_cam": vertices + root,
        "joints_2d": points,
        "visible": torch.rand(images, 21) < 0.6,
    }
    batch = HandBatch(
        key=[str(number) for number in range(images)],
        index=torch.arange(images),
        image=torch.zeros(images, 3, 224, 224, dtype=torch.uint8),
        intrinsics=torch.eye(3).expand(images, 3, 3),
        crop_transform=torch.zeros(images, 2, 3),
        valid={name: torch.ones(images, dtype=torch.bool) for name in OPTIONAL_LABELS},
        **labels,
    )
    joints = (joints_cam - root)[:, None] + 0.01 * torch.randn(images, count, 21, 3)
    joints[:, :, 0] = 0
    distribution = Listed(
        joints,
        points[:, None] + 5 * torch.randn(images, count, 21, 2),
        vertices[:, None] + 0.01 * torch.randn(images, count, 778, 3),
    )
    prediction = HandPrediction(
        vertices_root=vertices + 0.003,
        joints_root=joints_cam - root + 0.002,
        joints_2d=points + 3,
        vertex_scale=torch.full((images, 778, 3), 0.01),
        joint_scale=torch.full((images, 21, 3), 0.01),
        camera=torch.ones(images, 3),
        distribution=distribution,
    )
    return prediction, batch


def rows(batch: HandBatch, keep: Tensor) -> HandBatch:
    """Some images of a batch."""
    values = {name: value[keep] for name, value in vars(batch).items() if isinstance(value, Tensor)}
    flags = {name: flag[keep] for name, flag in batch.valid.items()}
    return replace(batch, key=[batch.key[int(row)] for row in keep], valid=flags, **values)


def test_every_column_is_what_its_name_says() -> None:
    prediction, batch = case()
    columns = measure(draw(prediction, batch, num_hypotheses=12, chunk=5))
    drawn = prediction.distribution
    assert isinstance(drawn, Listed)
    true = batch.joints_cam - batch.joints_cam[:, :1]
    errors = (drawn.joints - true[:, None]).norm(dim=-1) * 1000
    checks = {
        "error_mode_mm": torch.full((6, 21), 2 * 3**0.5),
        "error_mode_px": torch.full((6, 21), 3 * 2**0.5),
        "error_average_mm": errors.mean(1),
        "error_mean_mm": (drawn.joints.mean(1) - true).norm(dim=-1) * 1000,
        "error_average_px": (drawn.points_2d - batch.joints_2d[:, None]).norm(dim=-1).mean(1),
        "spread_mm": deviation(drawn.joints) * 1000,
        "scale_mm": torch.full((6, 21), 10 * 3**0.5),
    }
    for name, expected in checks.items():
        joints = slice(1 if name in ("spread_mm", "scale_mm") else 0, None)
        torch.testing.assert_close(columns[name][:, joints], expected[:, joints], atol=2e-3, rtol=1e-4)
    assert list(columns) == [record.key for record in measures(DrawnMeasure)]
    assert columns["crps_mm"][:, 0].isnan().all()
    assert not columns["crps_mm"][:, 1:].isnan().any()

    mesh = (drawn.meshes - (batch.vertices_cam - batch.root_cam[:, None])[:, None]).norm(dim=-1).mean(-1) * 1000
    torch.testing.assert_close(columns["mpvpe_best_of_10_mm"], mesh[:, :10].amin(1), atol=1e-3, rtol=0)
    torch.testing.assert_close(columns["mpjpe_best_of_1_mm"], errors[:, 0].mean(-1), atol=1e-3, rtol=0)
    assert columns["mpjpe_best_of_50_mm"].isnan().all()
    expected = torch.full((6,), 3 * 3**0.5)
    torch.testing.assert_close(columns["mpvpe_mode_mm"], expected, atol=1e-3, rtol=0)


class Known(Listed):
    """Drawn from Gaussians that are known."""

    def joint_density(self, temperature: float = 1.0) -> Normal:
        mean = self.joints.mean(1)
        return Normal(mean, torch.full_like(mean, 0.02 * temperature), validate_args=False)


def test_the_likelihood_is_of_what_is_sampled_and_exact_where_its_density_is_known() -> None:
    prediction, batch = case(images=30, count=200)
    stated = replace(prediction, joint_scale=torch.full((30, 21, 3), 0.05))
    drawn = draw(stated, batch, num_hypotheses=200)
    true = 1000 * (batch.joints_cam - batch.joints_cam[:, :1])
    listed = prediction.distribution
    assert isinstance(listed, Listed)
    mean = 1000 * listed.joints.mean(1)
    columns = measure(drawn)

    def gaussian(scale: float) -> Tensor:
        return -Normal(mean, scale).log_prob(true).mean(-1)[:, 1:]

    # it was drawn with 10 mm, whatever is stated
    torch.testing.assert_close(columns["nll_nats"][:, 1:].mean(), gaussian(10).mean(), rtol=0, atol=0.03)
    torch.testing.assert_close(columns["nll_gaussian_nats"][:, 1:], gaussian(50))
    for temperature, scale in ((1.0, 20.0), (0.5, 10.0), (0.0, RESOLUTION_MM)):
        known = replace(stated, distribution=Known(listed.joints, listed.points_2d, listed.meshes))
        columns = measure(draw(known, batch, 200, temperature))
        torch.testing.assert_close(columns["nll_nats"][:, 1:], gaussian(scale), rtol=1e-3, atol=1e-3)


def test_chunks_change_nothing() -> None:
    whole, parts = (measure(draw(*case(), num_hypotheses=12, chunk=chunk)) for chunk in (12, 5))
    for name, values in whole.items():
        torch.testing.assert_close(parts[name], values, equal_nan=True, atol=1e-4, rtol=1e-5)


def test_hands_in_small_chunks_are_those_of_one_draw_and_measured_literally() -> None:
    prediction, batch = case()
    scale = torch.full((6, 778, 3), 0.01)
    matrix = torch.rand(21, 778).softmax(-1)
    camera = WeakPerspectiveCamera(torch.tensor([[8.0, 0.1, -0.2]]).expand(6, 3))
    hands = GaussianHands(MeshGaussian(prediction.vertices_root, scale), matrix, camera, 224)
    torch.manual_seed(1)
    drawn = draw(replace(prediction, distribution=hands), batch, num_hypotheses=100)
    torch.manual_seed(1)
    whole = hands.hypotheses(100, vertices=True)
    assert whole.vertices_root is not None
    torch.testing.assert_close(drawn.joints_root, whole.joints_root)
    torch.testing.assert_close(drawn.joints_2d, whole.joints_2d)
    true = batch.vertices_cam - batch.root_cam[:, None]
    errors = (whole.vertices_root - true[:, None]).norm(dim=-1).mean(-1) * 1000
    torch.testing.assert_close(drawn.mesh_errors_mm, errors)
    torch.testing.assert_close(drawn.mean_mesh_root, whole.vertices_root.mean(1), rtol=0, atol=1e-6)
    assert torch.equal(drawn.ordered_joints_mm, drawn.joints_mm.sort(dim=1).values)


def test_labels_that_are_missing_leave_no_number() -> None:
    prediction, batch = case()
    for name in ("joints_cam", "joints_2d", "vertices_cam", "visible", "fingers"):
        batch.valid[name] = torch.arange(6) > 0
    columns = measure(draw(prediction, batch, num_hypotheses=12))
    for name, values in columns.items():
        assert values[0].isnan().all(), name
    assert columns["mpjpe_best_of_10_mm"][1:].isfinite().all()


def test_a_single_hypothesis() -> None:
    prediction, batch = case(count=1)
    columns = measure(draw(prediction, batch, num_hypotheses=1))
    torch.testing.assert_close(columns["error_average_mm"], columns["error_mean_mm"], equal_nan=True)
    assert columns["spread_px"].abs().sum() == 0
    assert columns["mpjpe_best_of_10_mm"].isnan().all()


def test_the_table_is_the_same_for_any_batches() -> None:
    _, batch = case()
    columns = measure(draw(*case(), num_hypotheses=12))
    whole = HypothesisTable()
    whole.update(columns, batch)
    split = HypothesisTable()
    # the last image comes a second time, as from a sampler that evens out the processes
    for keep in (torch.tensor([4, 1, 5]), torch.tensor([0]), torch.tensor([3, 2, 5])):
        split.update({name: values[keep] for name, values in columns.items()}, rows(batch, keep))
    first, second = whole.compute(), split.compute()
    assert first.keys() == second.keys()
    assert first["index"].tolist() == list(range(6))
    for name, values in first.items():
        torch.testing.assert_close(second[name], values, equal_nan=True, atol=0, rtol=0)
    split.reset()
    split.update(columns, batch)
    assert len(split.compute()["index"]) == 6


@pytest.mark.parametrize(("factor", "calibrated"), [(1.0, True), (0.5, False)])
def test_a_gaussian_of_known_width_comes_out_as_it_is(factor: float, calibrated: bool) -> None:
    torch.manual_seed(0)
    prediction, batch = case(images=150, count=100)
    true = batch.joints_cam - batch.joints_cam[:, :1]
    mean = true + 0.01 * torch.randn(150, 21, 3)
    drawn = mean[:, None] + factor * 0.01 * torch.randn(150, 100, 21, 3)
    assert isinstance(prediction.distribution, Listed)
    prediction.distribution.joints = drawn
    ranks = measure(draw(prediction, batch, num_hypotheses=100))["rank"][:, 1:].flatten()
    covered = coverage(ranks, [0.5, 0.9])
    if calibrated:
        torch.testing.assert_close(covered, torch.tensor([0.5, 0.9]), atol=0.04, rtol=0)
    else:
        # the truth's squared radius is chi-square with 3 degrees of freedom; the ball that holds a share p of the
        # samples reaches only to half of what would hold that share of it
        chi = torch.distributions.Chi2(3.0)
        quantiles = torch.tensor([2.366, 6.251])
        samples = chi.sample((200000,))
        expected = torch.stack([(samples < q * factor**2).float().mean() for q in quantiles])
        torch.testing.assert_close(covered, expected, atol=0.04, rtol=0)
