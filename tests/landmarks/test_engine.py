"""The engine: a missing one is said in a line, and its notes stay off the terminal."""

import os
import sys

import numpy as np
import pytest

from handlit.errors import InputError
from handlit.landmarks import engine, model_files


def test_without_litert_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(InputError, match=r'pip install "handlit\[detect\]"'):
        engine.load(b"", 1)


def test_only_notes_are_kept_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with engine._without_notes():
        os.write(2, b"INFO: a note\nWARNING: a warning\n")
    os.write(2, b"INFO: later\n")
    assert capfd.readouterr().err == "WARNING: a warning\nINFO: later\n"


@pytest.mark.skipif(not model_files.are_fetched(), reason="the networks are not fetched: python main.py fetch-detector")
def test_the_networks_have_the_shapes_that_are_expected(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ai_edge_litert")
    palms, joints = (engine.load(model_files.read(model), 1) for model in model_files.MODEL_FILES)
    image = np.zeros((192, 192, 3), np.float32)
    assert [output.shape for output in palms(image)] == [(2016, 18), (2016, 1)]
    first = joints(np.full((224, 224, 3), 0.5, np.float32))
    assert [output.shape for output in first] == [(63,), (1,), (1,), (63,)]
    # what was returned is not overwritten by the next call
    kept = [output.copy() for output in first]
    joints(np.zeros((224, 224, 3), np.float32))
    for before, after in zip(kept, first, strict=True):
        np.testing.assert_array_equal(before, after)
    assert capfd.readouterr().err == ""
