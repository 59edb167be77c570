from handlit.metrics.measure import Measure
from handlit.metrics.registry import measures
from scripts.docs.measures import measures_page


def test_every_measure_is_defined_on_the_page() -> None:
    page = measures_page()
    for measure in measures(Measure):
        assert f"| **{measure.short}**<br>`{measure.key}`" in page
    assert "xyz_procrustes_al_mean3d" in page
