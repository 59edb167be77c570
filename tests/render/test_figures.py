"""Figures show what they are made of."""

import numpy as np
import torch

from handlit.render import figures


def test_reliability_plot_shows_where_the_curve_runs() -> None:
    levels = [0.0, 0.5, 1.0]
    sure = figures.reliability_plot(levels, [0.0, 0.1, 1.0], "too sure", side=300)
    cautious = figures.reliability_plot(levels, [0.0, 0.9, 1.0], "too cautious", side=300)
    # the one thing that has a colour is the curve
    places = [np.nonzero(np.ptp(plot, axis=-1) > 50) for plot in (sure, cautious)]
    for rows, columns in places:
        # from corner to corner of the axes, within the picture: 13 % and 8 % from its left and upper edges, 80 % wide
        assert abs(columns.min() - 39) <= 2
        assert abs(columns.max() - 279) <= 2
        assert abs(rows.min() - 24) <= 2
        assert abs(rows.max() - 264) <= 2
    heights = [np.nonzero(np.ptp(plot, axis=-1) > 50)[0].mean() for plot in (sure, cautious)]
    assert heights[0] > 150 > heights[1]


def test_side_views_are_turns_that_show_the_depth() -> None:
    hand = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    centred = hand - hand.mean(0)
    for above, columns in ((False, [2, 1]), (True, [0, 2])):
        turned, intrinsics = figures.side_view(hand, above, extent_m=2.0)
        turn = torch.linalg.lstsq(centred, turned - torch.tensor([0.0, 0, 1])).solution
        assert torch.allclose(turn @ turn.T, torch.eye(3), atol=1e-5)
        assert torch.linalg.det(turn).item() > 0
        # across the image, and down: what is nearer to the camera of the hand is on the left, or below
        sign = torch.tensor([1.0, -1 if above else 1])
        assert torch.allclose(turned[:, :2], centred[:, columns] * sign, atol=1e-5)
        edge = torch.tensor([1.0, 0, 1]) @ intrinsics.T
        assert edge[0].item() == 1
