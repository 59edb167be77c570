"""Pages of the site made of notebooks: their texts, code and the outputs that they were saved with."""

import base64
import json
from pathlib import Path
from typing import Any

from scripts.docs.links import rebased

#: Kinds of outputs, the first that is there is shown; with the ending of its file.
_IMAGES = {"image/svg+xml": "svg", "image/png": "png", "image/jpeg": "jpg"}


def notebook_page(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as a page.

    Args:
        path: The notebook; links in its texts are relative to it.

    Returns:
        Markdown, and the images that it shows by their names beside the page.
    """
    images: dict[str, bytes] = {}
    parts: list[str] = []
    for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(rebased(source, f"docs/notebooks/{path.name}", f"notebooks/{path.stem}.md"))
            continue
        parts.append(f"```python\n{source}\n```")
        for place, output in enumerate(cell["outputs"]):
            parts.append(_shown(output, f"{path.stem}_{number}_{place}", images))
    title, rest = parts[0].split("\n", 1)
    note = f"*This page is a notebook: [download it]({path.name}){{download={path.name}}}.*"
    return "\n\n".join([title, note, rest.strip(), *parts[1:]]) + "\n", images


def _shown(output: dict[str, Any], name: str, images: dict[str, bytes]) -> str:
    """An output as Markdown; an image goes to `images`."""
    data = output.get("data", {})
    for kind, ending in _IMAGES.items():
        if kind in data:
            content = "".join(data[kind])
            file = f"{name}.{ending}"
            images[file] = content.encode() if ending == "svg" else base64.b64decode(content)
            return f"![what the cell above shows]({file})"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```"
