"""Run a network's file: image in, arrays out."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from handlit.errors import InputError

#: A network: image (H, W, 3) float32 RGB in [0, 1] of its size, to its outputs without the batch's dimension.
Engine = Callable[[np.ndarray], list[np.ndarray]]


def load(content: bytes, threads: int) -> Engine:
    """A TFLite network in the engine LiteRT.

    Args:
        content: Of a file that was checked (`model_files.read`).
        threads: CPU threads of a call.

    Returns:
        The network; one call at a time.

    Raises:
        InputError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise InputError(
            'hands are found by LiteRT, which is missing: pip install "handlit[detect]", or pip install ai-edge-litert'
        ) from error
    with _without_notes():
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    exits = [detail["index"] for detail in interpreter.get_output_details()]

    def run(image: np.ndarray) -> list[np.ndarray]:
        interpreter.set_tensor(entry, image[None])
        interpreter.invoke()
        return [interpreter.get_tensor(index)[0] for index in exits]

    return run


@contextmanager
def _without_notes() -> Iterator[None]:
    """Keep off the terminal what LiteRT says of its own start; everything else written meanwhile is passed on."""
    try:
        terminal = os.dup(2)
    except OSError:
        # there is none
        yield
        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            written.seek(0)
            for line in written:
                if not line.startswith(b"INFO: "):
                    os.write(2, line)
