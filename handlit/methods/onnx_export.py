"""Writes a method as an ONNX file that gives the numbers of torch. Needs the extra ``export``."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from handlit import __version__
from handlit.errors import InputError, one_line
from handlit.files import check_writable, whole
from handlit.methods.graph import BATCH, HYPOTHESES, HandGraph, Port
from handlit.methods.method import HandMethod
from handlit.skeleton import JOINTS

#: Largest difference from torch, absolute (metres, pixels, ...) and relative.
TOLERANCE = 1e-4
#: Batch and hypotheses of the checks; neither is what the graph is traced with.
CHECKED = ((1, 1), (3, 5))
_TRACED = (2, 4)


def export_onnx(method: HandMethod[Any], path: Path, hand_model: str) -> dict[str, float]:
    """Write a method as an ONNX file with free batch size, and check it against torch with onnxruntime.

    The file says what it is in its metadata: inputs and outputs with units and frames, the joints' names, how
    hypotheses are drawn.

    Args:
        method: Whose weights are to be kept; it is moved to the CPU and into evaluation mode.
        path: The file.
        hand_model: What the metadata says of the hand model, whose numbers the file holds.

    Returns:
        Largest absolute difference from torch of each output.

    Raises:
        InputError: A package of the extra is missing, torch cannot export the method, or the file's numbers are not
            torch's; nothing is written.
    """
    _check_packages()
    check_writable(path, is_file=True)
    graph = method.cpu().eval().graph().eval()
    with _quiet():
        program = _exported(graph)
    program.model.producer_name, program.model.producer_version = "handlit", __version__
    program.model.metadata_props.update(_metadata(method, graph, hand_model))
    with whole(path) as temporary:
        program.save(temporary)
        return _check(graph, temporary, path)


@torch.no_grad()
def _exported(graph: HandGraph) -> Any:
    """The graph as torch's exporter has it.

    Raises:
        InputError: It computes what the exporter does not know.
    """
    try:
        return torch.onnx.export(
            graph,
            graph.example(*_TRACED),
            dynamo=True,
            # one argument, *inputs
            dynamic_shapes=(tuple(_free(port) for port in graph.inputs),),
            input_names=[port.name for port in graph.inputs],
            output_names=[port.name for port in graph.outputs],
            # onnxruntime does so when it loads a file, in a fraction of the time
            optimize=False,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise InputError(f"torch {torch.__version__} cannot export this method: {one_line(error)}") from error


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f'exporting needs {error.name}: pip install "handlit[export]"') from error


def _free(port: Port) -> dict[int, Any]:
    """The free sizes of an input, as torch takes them."""
    dimensions = {name: torch.export.Dim(name) for name in (BATCH, HYPOTHESES)}
    return {axis: dimensions[size] for axis, size in enumerate(port.shape) if isinstance(size, str)}


def _metadata(method: HandMethod[Any], graph: HandGraph, hand_model: str) -> dict[str, str]:
    return {
        "method": type(method).__name__,
        "conventions": "OpenCV camera axes (x right, y down, z forward), metres, radians, pixels; pixel (0, 0) is the "
        "centre of the top-left pixel; right hands",
        "joints": json.dumps(JOINTS),
        "inputs": json.dumps([asdict(port) for port in graph.inputs]),
        "outputs": json.dumps([asdict(port) for port in graph.outputs]),
        "sampling": graph.sampling,
        "hand_model": hand_model,
    }


@torch.no_grad()
def _check(graph: HandGraph, file: Path, path: Path) -> dict[str, float]:
    """Largest differences of a file's outputs from the graph's.

    Raises:
        InputError: One is larger than `TOLERANCE`, or no number.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    worst = dict.fromkeys((port.name for port in graph.outputs), 0.0)
    for sizes in CHECKED:
        inputs = graph.example(*sizes)
        feed = {port.name: value.numpy() for port, value in zip(graph.inputs, inputs, strict=True)}
        for name, value, expected in zip(worst, session.run(list(worst), feed), graph(*inputs), strict=True):
            difference = np.abs(value - expected.numpy())
            # false for what is no number, too
            if not (difference <= TOLERANCE * (1 + np.abs(expected.numpy()))).all():
                raise InputError(
                    f"{path} is not written: its output {name} differs from torch's by up to {difference.max():.2g} "
                    f"(allowed: {TOLERANCE} of 1 plus the value); try another version of torch or onnxruntime"
                )
            worst[name] = max(worst[name], float(difference.max()))
    return worst


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's notes on its own progress."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)
