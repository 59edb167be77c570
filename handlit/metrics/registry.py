"""The registry of measures: one address for everything that is measured of a method."""

from typing import TypeVar

from handlit.errors import InputError
from handlit.metrics.finger_measures import FINGER_MEASURES
from handlit.metrics.hypothesis_measures import HYPOTHESIS_MEASURES
from handlit.metrics.measure import Measure, PointMeasure
from handlit.metrics.pose import POINT_MEASURES

MeasureT = TypeVar("MeasureT", bound=Measure)

_MEASURES: dict[str, Measure] = {}


def register(measure: MeasureT) -> MeasureT:
    """Add a measure: from then on `test`, `compare`, logs and sweeps know it.

    Register while a module is imported, and name the module on the command line: ``--import MODULE``.

    Args:
        measure: The record.

    Returns:
        The same.

    Raises:
        InputError: There is another measure of that key.
    """
    if _MEASURES.setdefault(measure.key, measure) is not measure:
        raise InputError(
            f"there is a measure {measure.key} already ({_MEASURES[measure.key].title}): choose another key"
        )
    return measure


def measures(kind: type[MeasureT]) -> list[MeasureT]:
    """The registered measures of a kind, in the order of tables."""
    return [measure for measure in _MEASURES.values() if isinstance(measure, kind)]


def logged_names() -> dict[str, tuple[str, ...]]:
    """By command, the names under which it logs measures of every method: they mean the same under any setting."""
    return {
        "fit": tuple(f"val/{measure.key}" for measure in measures(PointMeasure) if measure.logged),
        "test": tuple(f"test/{measure.key}" for measure in measures(Measure) if measure.logged),
    }


for _measure in (*POINT_MEASURES, *HYPOTHESIS_MEASURES, *FINGER_MEASURES):
    register(_measure)
