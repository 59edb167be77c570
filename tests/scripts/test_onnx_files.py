import pytest

from scripts.benchmarks.onnx_files import main

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.slow
def test_both_are_timed_for_every_batch() -> None:
    options = ["--amvur", "test_resnet", "--methods", "AMVUR", "--batches", "1", "2", "--size", "64", "--repeats", "1"]
    figures = {figure.name: figure.value for figure in main([*options, "--threads", "1"])}
    assert list(figures) == [
        "AMVUR, export",
        "AMVUR, file",
        *(f"AMVUR, batch {batch}, {what}" for batch in (1, 2) for what in ("torch", "ONNX")),
    ]
    assert all(value > 0 for value in figures.values())
