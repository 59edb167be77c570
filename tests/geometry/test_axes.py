"""Axes of cameras against their definition."""

import numpy as np

from handlit.geometry.axes import OPENGL_TO_OPENCV


def test_what_is_up_and_towards_the_viewer_in_opengl_is_down_and_away_in_opencv() -> None:
    up_and_near = np.array([0.0, 1.0, 1.0])
    np.testing.assert_array_equal(up_and_near * OPENGL_TO_OPENCV, [0.0, -1.0, -1.0])
