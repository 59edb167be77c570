"""Skin differs where it should."""

import numpy as np

from handlit.data.synthesis.appearance import skin_regions
from handlit.data.synthesis.grasp import HandModel


def test_skin_regions_lie_where_they_should(model: HandModel) -> None:
    regions = skin_regions(model.asset)
    height = model.asset.template[:, 1]
    for weights in (regions.palm, regions.knuckle, regions.nail, regions.tip):
        assert weights.min() >= 0
        assert weights.max() <= 1
    assert np.average(height, weights=regions.palm) < np.average(height, weights=regions.knuckle)
