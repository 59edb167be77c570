"""Predicted cameras against sampled points, pixel cameras and autograd."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from handlit.distributions.cameras import (
    MIN_DEPTH_M,
    PerspectiveCamera,
    WeakPerspectiveCamera,
    normalised_intrinsics,
    project_gaussian,
    project_weak_gaussian,
)
from handlit.geometry.cameras import crop_to_normalised, project, project_weak

B = 3
SIZE = 128


def points(seed: int = 0, largest_scale: float = 0.011) -> Normal:
    generator = torch.Generator().manual_seed(seed)
    mean = 0.05 * torch.randn(B, 21, 3, generator=generator)
    return Normal(mean, 0.001 + (largest_scale - 0.001) * torch.rand(B, 21, 3, generator=generator))


def perspective(**settings: Tensor) -> PerspectiveCamera:
    view = torch.tensor([[8.0, 0.1, -0.2], [6.0, 0.0, 0.5], [9.0, -0.6, 0.0]])
    mean = torch.tensor([[1.5, 1.52, 0.1, -0.3], [1.2, 1.2, 1.5, 0.0], [1.8, 1.7, -1.0, 1.0]])
    return PerspectiveCamera(view, Normal(mean, torch.full((B, 4), 0.3)), **settings)


def intrinsics() -> torch.Tensor:
    return torch.tensor([[[300.0, 0, 70], [0, 310, 40], [0, 0, 1]], [[450.0, 0, 200], [0, 440, -30], [0, 0, 1]]])


def test_weak_perspective_agrees_with_projected_samples() -> None:
    torch.manual_seed(2)
    camera = torch.tensor([[8.0, 0.1, -0.2], [700.0, 100.0, 110.0], [2.0, 0.0, 0.0]])
    projected = project_weak_gaussian(points(), camera)
    samples = camera[:, None, :1] * points().sample((4000,))[..., :2] + camera[:, None, 1:]
    torch.testing.assert_close(samples.std(0), projected.stddev, rtol=0.06, atol=0)
    assert ((samples.mean(0) - projected.mean).abs() <= 5 * projected.stddev / math.sqrt(4000)).all()


def test_delta_method_agrees_with_projected_samples() -> None:
    torch.manual_seed(3)
    # off the axis and with more spread along it, so that the depth's share counts
    root = torch.tensor([[0.0, 0.0, 0.5], [0.2, -0.1, 0.4], [-0.3, 0.3, 0.6]])
    focal, centre = torch.tensor([[4.0, 4.2]]).expand(B, 2), torch.tensor([[0.1, -2.0]]).expand(B, 2)
    spread = points()
    spread = Normal(spread.mean, spread.stddev * torch.tensor([1.0, 1.0, 2.0]))
    projected = project_gaussian(spread, root, focal, centre)
    samples = spread.sample((4000,)) + root[:, None]
    uv = focal[:, None] * samples[..., :2] / samples[..., 2:] + centre[:, None]
    torch.testing.assert_close(uv.std(0), projected.stddev, rtol=0.08, atol=0)
    # the mean is exact to second order: 3 % of the spread here
    assert ((uv.mean(0) - projected.mean).abs() <= (5 / math.sqrt(4000) + 0.08) * projected.stddev).all()
    flat = project_gaussian(Normal(spread.mean, spread.stddev * torch.tensor([1.0, 1.0, 1e-9])), root, focal, centre)
    assert (flat.stddev < 0.9 * projected.stddev).any()


def test_delta_method_is_the_jacobian_of_the_projection() -> None:
    root, focal = torch.tensor([0.2, -0.1, 0.4]), torch.tensor([4.0, 4.5])
    mean, scale = torch.tensor([0.03, 0.05, -0.02]), torch.tensor([0.002, 0.004, 0.009])
    jacobian = torch.autograd.functional.jacobian(lambda x: focal * (x + root)[:2] / (x + root)[2], mean)
    expected = (jacobian.square() @ scale.square()).sqrt()
    projected = project_gaussian(
        Normal(mean[None, None], scale[None, None]), root[None], focal[None], torch.zeros(1, 2)
    )
    torch.testing.assert_close(projected.stddev[0, 0], expected)


def test_perspective_camera_is_the_pinhole_of_its_intrinsics_and_root() -> None:
    camera = perspective()
    projected = camera.project(points()).mean
    focal, centre = camera.intrinsics.mean[:, :2].exp(), camera.intrinsics.mean[:, 2:]
    matrix = torch.zeros(B, 3, 3)
    matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2] = focal[:, 0], focal[:, 1], 1
    matrix[:, :2, 2] = centre
    torch.testing.assert_close(projected, project(points().mean + camera.root_cam[:, None], matrix))


def test_the_wrist_is_seen_where_the_view_says_whatever_the_intrinsics() -> None:
    torch.manual_seed(0)
    wrist = Normal(torch.zeros(B, 1, 3), torch.full((B, 1, 3), 1e-6))
    for camera in (perspective(), perspective().rsample(), WeakPerspectiveCamera(perspective().view)):
        torch.testing.assert_close(camera.project(wrist).mean[:, 0], camera.view[:, 1:])
    assert not torch.equal(perspective().rsample().root_cam, perspective().root_cam)


def test_weak_perspective_is_the_perspective_camera_from_far_away() -> None:
    near = perspective()
    far = PerspectiveCamera(near.view, Normal(torch.tensor([[9.0, 9.0, 0.0, 0.0]]).expand(B, 4), torch.ones(B, 4)))
    weak = WeakPerspectiveCamera(near.view)
    torch.testing.assert_close(far.project(points()).mean, project_weak(points().mean, near.view), rtol=0, atol=2e-3)
    torch.testing.assert_close(far.project(points()).stddev, weak.project(points()).stddev, rtol=2e-3, atol=0)
    assert weak.root_cam is None
    assert weak.intrinsics is None
    assert weak.rsample() is weak


def test_drawn_intrinsics_have_the_stated_spread_and_gradients() -> None:
    torch.manual_seed(1)
    mean, scale = torch.zeros(2000, 4, requires_grad=True), torch.full((2000, 4), 0.3, requires_grad=True)
    camera = PerspectiveCamera(torch.tensor([[8.0, 0.0, 0.0]]).expand(2000, 3), Normal(mean, scale))
    drawn = camera.rsample()
    assert drawn.drawn is not None
    torch.testing.assert_close(drawn.drawn.std(0), torch.full((4,), 0.3), rtol=0.1, atol=0)
    drawn.root_cam.sum().backward()
    assert mean.grad is not None
    assert scale.grad is not None
    assert mean.grad.any()
    assert scale.grad.any()


def test_normalised_intrinsics_project_like_the_crops() -> None:
    known = intrinsics()
    values = normalised_intrinsics(known, SIZE)
    root = torch.tensor([[0.05, 0.02, 0.5], [-0.1, 0.1, 0.7]])
    uv = values[:, :2].exp() * root[:, :2] / root[:, 2:] + values[:, 2:]
    torch.testing.assert_close(uv, crop_to_normalised(project(root[:, None], known)[:, 0], SIZE))


def test_the_root_is_the_true_one_for_the_true_view_and_intrinsics() -> None:
    known, root = intrinsics(), torch.tensor([[0.05, 0.02, 0.5], [-0.1, 0.1, 0.7]])
    values = normalised_intrinsics(known, SIZE)
    magnification = values[:, :2].mean(1, keepdim=True).exp() / root[:, 2:]
    seen_at = crop_to_normalised(project(root[:, None], known)[:, 0], SIZE)
    camera = PerspectiveCamera(torch.cat([magnification, seen_at], 1), Normal(values, torch.ones(2, 4)))
    torch.testing.assert_close(camera.root_cam, root)


@pytest.mark.parametrize("depth", [0.0, -0.3, MIN_DEPTH_M / 2])
def test_points_behind_the_camera_are_finite_and_led_back(depth: float) -> None:
    mean = torch.zeros(1, 1, 3, requires_grad=True)
    projected = project_gaussian(
        Normal(mean, torch.full((1, 1, 3), 0.01)),
        torch.tensor([[0.1, 0.1, depth]]),
        torch.ones(1, 2),
        torch.zeros(1, 2),
    )
    assert projected.mean.isfinite().all()
    assert projected.stddev.isfinite().all()
    (projected.mean.sum() + projected.stddev.sum()).backward()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()
    assert mean.grad[..., :2].all()
