import numpy as np
import pytest
import torch

from handlit.losses.points import l1_distance


def test_l1_distance_against_numpy() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 4, 21, 3))
    expected = np.abs(a - b).mean((1, 2))
    np.testing.assert_allclose(l1_distance(torch.tensor(a), torch.tensor(b)), expected)


def test_points_that_are_not_valid_may_be_anything() -> None:
    target = torch.zeros(1, 3, 2)
    predicted = torch.tensor([[[1.0, 3.0], [float("nan"), 0.0], [0.0, 2.0]]])
    assert l1_distance(predicted, target, torch.tensor([[True, False, True]])).tolist() == [1.5]
    assert l1_distance(predicted, target, torch.zeros(1, 3, dtype=torch.bool)).tolist() == [0.0]
    with pytest.raises(ValueError, match="weights"):
        l1_distance(predicted, target, torch.ones(1, dtype=torch.bool))
