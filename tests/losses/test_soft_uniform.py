"""MHEntropy's likelihood and priors: recorded numbers, flat insides, masks that hold."""

import math

import pytest
import torch

from handlit.losses.soft_uniform import laplace_log_likelihood, soft_ball, soft_box


def test_recorded_likelihood() -> None:
    i = torch.arange(42.0)
    points = torch.sin(0.4 * i)
    target = points + 0.05 * torch.cos(1.3 * i)
    mask = torch.arange(21) % 3 != 0
    value = laplace_log_likelihood(points.view(21, 2), target.view(21, 2), mask, scale=0.03)
    assert value.item() == pytest.approx(48.33908, abs=1e-4)


def test_recorded_priors() -> None:
    assert soft_ball(torch.tensor([2.5, -2.0, 1.5]), math.pi, 5).item() == pytest.approx(-0.0786200, abs=1e-6)
    assert soft_box(3 * torch.sin(torch.arange(45.0)), 2.0, 50).item() == pytest.approx(-154.49188, abs=1e-3)
    assert soft_box(0.1 * torch.cos(torch.arange(10.0)), 0.03, 50).item() == pytest.approx(-1209.8451, abs=1e-2)


def test_the_likelihood_is_that_of_a_laplace_distribution() -> None:
    points, target = torch.randn(3, 21, 2).double(), torch.randn(3, 21, 2).double()
    everything = torch.ones(3, 21, dtype=torch.bool)
    expected = torch.distributions.Laplace(target, 0.2).log_prob(points).sum((1, 2))
    torch.testing.assert_close(laplace_log_likelihood(points, target, everything, 0.2), expected)


def test_hidden_points_count_nothing_whatever_their_label() -> None:
    points = torch.randn(2, 21, 2, requires_grad=True)
    target = torch.full((2, 21, 2), torch.nan)
    mask = torch.zeros(2, 21, dtype=torch.bool)
    mask[0, :5] = True
    target[0, :5] = 0.0
    value = laplace_log_likelihood(points, target, mask, 0.03)
    assert value[1].item() == 0
    value.sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()
    assert (points.grad[mask] != 0).all()
    assert (points.grad[~mask] == 0).all()


def test_priors_are_flat_inside_and_smooth_at_the_wall() -> None:
    for prior in (lambda v: soft_box(v, 2.0, 50), lambda v: soft_ball(v, 2.0, 50)):
        inside = torch.tensor([[0.0, 0.0, 0.0], [1.0, -0.5, 0.3]], requires_grad=True)
        prior(inside).sum().backward()
        assert inside.grad is not None
        assert inside.grad.abs().sum() == 0
        outside = torch.tensor([2.1, 0.0, 0.0], requires_grad=True)
        prior(outside).backward()
        assert outside.grad is not None
        assert outside.grad[0] < 0
        assert outside.grad[1:].abs().sum() == 0


def test_a_points_log_likelihood_is_multiplied_by_its_weight() -> None:
    points, target, weight = torch.randn(3, 21, 2), torch.randn(3, 21, 2), torch.rand(3, 21)
    expected = torch.distributions.Laplace(target, 0.2).log_prob(points) * weight[..., None]
    torch.testing.assert_close(laplace_log_likelihood(points, target, weight, 0.2), expected.sum((1, 2)))
    weight[:, 3:] = 0
    target[:, 3:] = torch.nan
    assert laplace_log_likelihood(points, target, weight, 0.2).isfinite().all()
