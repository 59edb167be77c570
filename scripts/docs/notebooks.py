"""Runs the notebooks of the site and keeps their outputs: ``python -m scripts.docs.notebooks [FILE ...]``."""

import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from scripts.docs.links import ROOT

FOLDER = ROOT / "docs" / "notebooks"
#: Seconds that a cell may take on a busy machine.
_TIMEOUT = 600
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def run(path: Path) -> Any:
    """A notebook with the outputs of a run in a fresh kernel, which starts at the top of the repository.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=_TIMEOUT, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    )
    # notebooks may leave that folder
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = _plain(cell.outputs)
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    return notebook


def _plain(outputs: list[Any]) -> list[Any]:
    """Outputs as pages show them: text without colours, each run of it in one piece, or an image."""
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and output.name == "stderr":
            continue
        data = output.get("data", {})
        text = _COLOURS.sub("", output.get("text", data.get("text/plain", "")))
        if any(kind.startswith("image/") for kind in data):
            kept.append(output)
        elif kept and kept[-1].output_type == "stream":
            kept[-1].text += text
        elif text.strip():
            kept.append(nbformat.v4.new_output("stream", name="stdout", text=text))
    return kept


def main() -> None:
    """Run all and write them."""
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(run(path), path)
        print(path)


if __name__ == "__main__":
    main()
