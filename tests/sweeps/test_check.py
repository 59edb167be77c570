"""What is compared is what every method logs."""

from typing import Any

from handlit.methods import MeanHand
from handlit.metrics.registry import logged_names


def test_compared_metrics_are_those_of_every_method() -> None:
    metrics: Any = MeanHand().metrics
    assert tuple(f"val/{name}" for name in metrics["val"]) == logged_names()["fit"]
    assert {f"test/{name}" for name in metrics["test"]} <= set(logged_names()["test"])
