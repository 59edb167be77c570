"""The frame of handlit's HTML pages: one file, readable offline and without scripts."""

from collections.abc import Sequence
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222;
       background: #f4f4f2; margin: 0; }
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1.25rem 3rem; }
h1 { font-size: 1.6rem; margin: .4rem 0 .2rem; } h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
h3 { font-size: .95rem; margin: 1.1rem 0 .3rem; }
section { background: #fff; border: 1px solid #e2e2de; border-radius: 10px; padding: 1rem 1.25rem 1.15rem;
          margin-top: 1.1rem; }
p { margin: .4rem 0; max-width: 52rem; } .note { color: #5c5c58; font-size: .86rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .4rem 0; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e8e8e4; white-space: nowrap; }
th { font-weight: 600; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
tr:last-child td { border-bottom: 0; }
td.side { color: #6a6a66; font-size: .84em; padding-left: 0; text-align: left; }
td.text { text-align: left; white-space: normal; }
.head td { font-size: 1.02rem; } .unit { color: #777; font-size: .84em; }
.wide { overflow-x: auto; } .charts { display: flex; flex-wrap: wrap; gap: .6rem 1.4rem; align-items: flex-start; }
svg { max-width: 100%; height: auto; font-family: inherit; }
.key { margin: .6rem 0 0; } .key span { margin-right: 1.3rem; white-space: nowrap; }
i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .4rem;
    vertical-align: -.06rem; }
.shots { display: grid; gap: 3px 8px; justify-content: start; font-size: .82rem; align-items: start; }
.shots img { display: block; width: 100%; height: auto; border-radius: 6px; } .shots div { min-width: 0; }
.shots .name { grid-column: 1 / -1; margin-top: .5rem; color: #5c5c58; } .shots b { overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; } details + details { margin-top: .5rem; }
.error { color: #a40000; } .warning { color: #7a5200; } code { font-size: .84em; overflow-wrap: anywhere; }
"""


def page(title: str, opening: str, sections: Sequence[str]) -> str:
    """A whole HTML document with inline style; empty sections are left out."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><main>\n<h1>{escape(title)}</h1>{opening}\n"
        + "\n".join(filter(None, sections))
        + "\n</main></body></html>\n"
    )


def section(title: str, content: str) -> str:
    """A headed block; nothing without content."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def small_print(text: str) -> str:
    """Small print."""
    return f'<p class="note">{escape(text)}</p>'


def colour_key(labels: Sequence[str], colours: Sequence[str]) -> str:
    """Which colour stands for which label."""
    items = [
        f'<span><i style="background:{fill}"></i>{escape(label)}</span>'
        for label, fill in zip(labels, colours, strict=True)
    ]
    return f'<p class="key">{"".join(items)}</p>'
