import numpy as np
import pytest
import torch
from torch import nn

from handlit.losses.reduction import masked_mean, mean_of_points, mean_over_processes, several_processes, zero_of


def test_masked_mean_divides_by_the_valid_items() -> None:
    values = torch.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([True, False, True]))
    assert mean.item() == 2
    mean.backward()
    torch.testing.assert_close(values.grad, torch.tensor([0.5, 0.0, 0.5]))


def test_masked_mean_of_nothing_is_zero_with_zero_gradient() -> None:
    values = torch.tensor([1.0, float("inf")], requires_grad=True)
    mean = masked_mean(values, torch.zeros(2, dtype=torch.bool))
    assert mean.item() == 0
    mean.backward()
    torch.testing.assert_close(values.grad, torch.zeros(2))


def test_masked_mean_refuses_a_mask_that_would_broadcast() -> None:
    with pytest.raises(ValueError, match="validity"):
        masked_mean(torch.ones(3, 1), torch.ones(3, dtype=torch.bool))


def test_mean_of_points_against_a_loop_and_without_points() -> None:
    generator = torch.Generator().manual_seed(0)
    values, valid = torch.randn(5, 7, 2, generator=generator), torch.rand(5, 7, generator=generator) < 0.5
    valid[3] = False
    expected = [
        value[flag].mean() if flag.any() else torch.tensor(0.0) for value, flag in zip(values, valid, strict=True)
    ]
    values[~valid] = float("nan")
    values.requires_grad_()
    mean = mean_of_points(values, valid)
    torch.testing.assert_close(mean, torch.stack(expected))
    mean.sum().backward()
    assert values.grad.isfinite().all()
    assert not values.grad[~valid].any()
    with pytest.raises(ValueError, match="weights"):
        mean_of_points(torch.ones(2, 7, 3), torch.ones(2, 1, dtype=torch.bool))


def test_mean_of_points_by_weights_against_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    values, weight = torch.randn(5, 7, 2, generator=generator), torch.rand(5, 7, generator=generator)
    weight[:, 2], weight[4] = 0, 0
    expected = [np.average(value.mean(1), weights=own) for value, own in zip(values[:4], weight[:4], strict=True)]
    values[weight == 0] = float("nan")
    mean = mean_of_points(values, weight)
    np.testing.assert_allclose(mean, [*expected, 0], rtol=1e-5)
    # only how weights compare matters, and weights of 1 change no bit
    torch.testing.assert_close(mean_of_points(values, 1e-3 * weight), mean)
    values.nan_to_num_()
    assert torch.equal(mean_of_points(values, torch.ones(5, 7)), mean_of_points(values))


def test_zero_of_gives_every_parameter_a_gradient_of_zero() -> None:
    layer = nn.Linear(3, 2)
    (zero_of(layer.parameters()) + torch.ones((), requires_grad=True)).backward()
    assert all(torch.equal(parameter.grad, torch.zeros_like(parameter)) for parameter in layer.parameters())


def test_a_single_process_keeps_its_own_means() -> None:
    values = {"loss": torch.tensor(2.0), "other": torch.tensor(-1.0)}
    assert not several_processes()
    assert mean_over_processes(values) == values
