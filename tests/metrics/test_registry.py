"""The registry: complete, documented, and fit for tables of 80 columns."""

import pytest

from handlit.metrics.hypothesis_measures import HYPOTHESIS_MEASURES
from handlit.metrics.measure import LONGEST_SHORT_NAME, DrawnMeasure, Measure, PointMeasure
from handlit.metrics.pose import POINT_MEASURES
from handlit.metrics.registry import logged_names, measures
from tests.metrics.documentation import PAGE, page

ALL = (*POINT_MEASURES, *HYPOTHESIS_MEASURES)


def test_the_documentation_is_that_of_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m tests.metrics.documentation`"


@pytest.mark.parametrize("measure", ALL, ids=lambda measure: measure.key)
def test_every_record_says_what_it_is(measure: Measure) -> None:
    assert 0 < len(measure.short) <= LONGEST_SHORT_NAME
    assert measure.title
    assert measure.explanation
    unit = measure.key.removesuffix("_batched").rpartition("_")[2]
    assert measure.unit == (unit if unit in ("mm", "px", "nats") else "px/mm" if "published_rd" in measure.key else "")


def test_names_are_given_once() -> None:
    for names in ([measure.key for measure in ALL], [measure.short for measure in ALL]):
        assert len(names) == len(set(names))
    assert measures(Measure)[: len(ALL)] == list(ALL)


def test_a_drawn_measure_is_one_of_joints_unless_it_says_otherwise() -> None:
    of_joints = {measure.key for measure in measures(DrawnMeasure) if measure.of_joints}
    assert {"error_mode_mm", "crps_mm", "spread_mm"} <= of_joints
    assert not {"mpjpe_best_of_200_mm", "published_ah_px"} & of_joints


def test_what_is_logged() -> None:
    names = logged_names()
    assert names["fit"] == tuple(f"val/{measure.key}" for measure in measures(PointMeasure))
    assert {"test/pa_mpjpe_mm", "test/mpjpe_best_of_200_mm", "test/crps_mm", "test/ause"} <= set(names["test"])
    assert "test/rank" not in names["test"]
