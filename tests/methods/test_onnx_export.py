"""ONNX files give the numbers of torch, for any batch, and say what they are; what is not so is not written."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from handlit.errors import InputError
from handlit.methods import onnx_export
from handlit.methods.onnx_export import export_onnx
from handlit.skeleton import JOINTS
from tests.methods.test_graph import METHODS

ort: Any = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.parametrize(
    "name",
    [
        "AMVUR",
        # torch takes its time over two free sizes
        pytest.param("MHEntropy", marks=pytest.mark.slow),
        pytest.param("MHEntropy, splines, all drawn", marks=pytest.mark.slow),
    ],
)
def test_a_file_gives_torchs_numbers(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    method, path = METHODS[name](), tmp_path / "hand.onnx"
    differences = export_onnx(method, path, "the stand-in")
    assert max(differences.values()) < 1e-4
    assert [file.name for file in tmp_path.iterdir()] == ["hand.onnx"]
    session = ort.InferenceSession(str(path))
    graph = method.graph()
    assert [item.name for item in session.get_inputs()] == [port.name for port in graph.inputs]
    assert [item.name for item in session.get_outputs()] == list(differences)
    assert session.get_inputs()[0].shape[0] == "batch"
    # another batch than those of the check, and one input with other numbers
    inputs = graph.example(4, 2)
    image = inputs[0].flip(0)
    feed = {port.name: value.numpy() for port, value in zip(graph.inputs, (image, *inputs[1:]), strict=True)}
    with torch.no_grad():
        expected = graph(image, *inputs[1:])
    for value, other in zip(session.run(None, feed), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(value), other, rtol=1e-4, atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["joints"]) == list(JOINTS)
    assert {"inputs", "outputs", "conventions", "sampling"} <= about.keys()
    assert (about["hand_model"], about["method"]) == ("the stand-in", type(method).__name__)


def test_a_file_with_other_numbers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "TOLERANCE", -1.0)
    with pytest.raises(InputError, match=r"hand\.onnx is not written: its output vertices_root differs from torch's"):
        export_onnx(METHODS["MeanHand"](), tmp_path / "hand.onnx", "")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match=r'pip install "handlit\[export\]"'):
        export_onnx(METHODS["MeanHand"](), tmp_path / "hand.onnx", "")
