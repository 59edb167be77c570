"""HTML pages from templates: one file each, readable offline and without scripts; text is always escaped."""

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=PackageLoader("handlit.scoring.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: object) -> str:
    """A whole HTML document.

    Args:
        template: Name of the file in ``templates/`` without ``.html.j2``.
        values: What it shows. Text is escaped; drawings are `markupsafe.Markup`.
    """
    return _TEMPLATES.get_template(f"{template}.html.j2").render(**values)
