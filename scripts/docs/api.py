"""Pages of the Python API: one for each package, with every public class and function of its modules."""

from pathlib import Path

import handlit

_PACKAGE = Path(handlit.__file__).parent


def api_pages() -> dict[str, str]:
    """Markdown for mkdocstrings, by place in the site."""
    packages = sorted({path.parent for path in _PACKAGE.rglob("*.py")}, key=lambda path: path.parts)
    pages = {f"reference/api/{_dotted(package)}.md": _page(package) for package in packages}
    names = [_dotted(package) for package in packages]
    index = ["# Python API", "", "From the docstrings, with shapes, units and frames. Most work needs only", ""]
    index += ["- [`handlit.Reconstructor`][handlit.reconstruct.reconstructor.Reconstructor]: images to hands,"]
    index += ["- [`handlit.load_method`][handlit.cli.run_method.load_method]: the method of a run,"]
    index += [
        "- the contracts [`HandBatch`][handlit.types.HandBatch] and [`HandPrediction`][handlit.types.HandPrediction].",
        "",
    ]
    index += [f"- [{name}]({name}.md)" for name in names]
    return {"reference/api/index.md": "\n".join(index) + "\n", **pages}


def _page(package: Path) -> str:
    modules = sorted(path for path in package.glob("*.py") if not path.name.startswith("_"))
    lines = [f"# {_dotted(package)}", "", f"::: {_dotted(package)}", "    options:", "      show_root_heading: false"]
    lines += ["      show_root_toc_entry: false"]
    for module in modules:
        lines += ["", f"::: {_dotted(module.with_suffix(''))}"]
    return "\n".join(lines) + "\n"


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(_PACKAGE.parent).parts)
