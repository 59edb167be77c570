"""Figures that are typed into pages and come from a file: ``.89<!-- calibration.json honest.coverage_90 -->``.

The mark names the file in ``docs/figures`` and the place in it; a test compares. ``python -m scripts.docs.figures``
types all of them anew, with as many digits as they have. ``--quickstart FOLDER`` first makes ``quickstart.json`` of
what ``make quickstart`` wrote into a folder, ``runs/quickstart`` by default.
"""

import argparse
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

from handlit.files import write_text
from scripts.docs.links import ROOT

FOLDER = ROOT / "docs" / "figures"
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
MARK = re.compile(r"(?P<figure>-?\d*\.?\d+)(?P<unit>[^<\n\d]*)<!-- (?P<file>\w+\.json) (?P<key>[\w.]+) -->")


def read_figures() -> dict[str, Any]:
    """Every file of figures by its name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")}


def right_figure(match: re.Match[str], files: dict[str, Any]) -> str:
    """What should be typed where a `MARK` is: the file's number with as many digits as there are.

    Raises:
        KeyError: There is no such file or no such place in it.
    """
    value = reduce(lambda part, key: part[key], match["key"].split("."), files[match["file"]])
    rounded = str(Decimal(repr(value)).quantize(Decimal(match["figure"])))
    return rounded.replace("0.", ".", 1) if match["figure"].startswith((".", "-.")) else rounded


def wrong_figures(text: str, files: dict[str, Any]) -> Iterator[str]:
    """The marked figures of a text that differ from their file."""
    for match in MARK.finditer(text):
        right = right_figure(match, files)
        if match["figure"] != right:
            yield f"{match['figure']} is typed, {match['file']} {match['key']} is {right}"


def retyped(text: str, files: dict[str, Any]) -> str:
    """A text with its marked figures as their files have them."""

    def typed(match: re.Match[str]) -> str:
        return f"{right_figure(match, files)}{match[0].removeprefix(match['figure'])}"

    return MARK.sub(typed, text)


def quickstart_figures(scores: dict[str, Any]) -> dict[str, Any]:
    """Each prediction's main errors, the model's over the mean hand's, and what made them.

    Args:
        scores: What ``score`` wrote of the predictions ``amvur`` and ``mean_hand``.
    """
    errors = {
        prediction["label"].replace(" ", "_"): {
            name: round(estimate["value"], 4) for name, estimate in prediction["headline"].items()
        }
        for prediction in scores["predictions"]
    }
    (made,) = (p["card"]["code_version"] for p in scores["predictions"] if p["label"] == "amvur")
    ratio = {name: round(errors["amvur"][name] / value, 4) for name, value in errors["mean_hand"].items()}
    return {"images": scores["num_images"], "made_by": made, **errors, "ratio": ratio}


def main(arguments: list[str] | None = None) -> None:
    """Type the figures of all pages."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--quickstart", type=Path, nargs="?", const=ROOT / "runs" / "quickstart", metavar="FOLDER")
    run = parser.parse_args(arguments).quickstart
    if run is not None:
        scores = json.loads((run / "scores" / "scores.json").read_text(encoding="utf-8"))
        write_text(FOLDER / "quickstart.json", json.dumps(quickstart_figures(scores), indent=2) + "\n")
    files = read_figures()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (right := retyped(text, files)) != text:
            write_text(page, right)
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
