"""Figures show what they are made of."""

import numpy as np

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
