"""A drawn hand whose joints show their errors, as SVG text."""

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from handlit.skeleton import BONES, FINGERS, JOINTS

#: The back of a right hand, thumb on the left: positions of the joints in units of the drawing.
_PLACES: dict[str, Sequence[tuple[float, float]]] = {
    "thumb": ((108, 268), (74, 230), (48, 196), (27, 165)),
    "index": ((103, 165), (92, 115), (86, 80), (82, 48)),
    "middle": ((142, 156), (141, 98), (141, 60), (141, 26)),
    "ring": ((179, 165), (187, 112), (191, 75), (195, 43)),
    "pinky": ((212, 184), (230, 144), (240, 116), (249, 88)),
}
_WRIST = (150, 312)
_WIDTH, _HEIGHT = 280, 352
#: Pixels: two hands in two alignments fit side by side.
_SHOWN = 232
#: Radii for no error and for the largest one.
_RADII = (8.5, 15.5)
#: From small to large error; dark enough at the end for white figures.
_SCALE = ((255, 237, 180), (253, 174, 97), (226, 84, 54), (150, 20, 60))


def hand_chart(title: str, colour: str, errors_mm: Sequence[float], largest_mm: float) -> Markup:
    """The 21 joints on a hand, each a disc that grows and darkens with its error, with the error in it.

    Args:
        title: Heading.
        colour: Of the mark before the heading: the prediction's in the other charts.
        errors_mm: Of the joints in handlit's order.
        largest_mm: Error of the largest disc, shared by hands that are compared.

    Returns:
        An ``<svg>`` element.
    """
    places = _joint_places()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 -24 {_WIDTH} {_HEIGHT + 24}" width="{_SHOWN}" '
        f'height="{_SHOWN * (_HEIGHT + 24) // _WIDTH}" role="img" aria-label="{escape(title)}" fill="#222">',
        f'<rect x="4" y="-19" width="10" height="10" rx="2" fill="{colour}"/>',
        f'<text x="20" y="-10" font-size="14" font-weight="600">{escape(title)}</text>',
        *_skin(places),
    ]
    for parent, child in BONES:
        (x1, y1), (x2, y2) = places[parent], places[child]
        parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#a89484" stroke-width="2"/>')
    for name, (x, y), error in zip(JOINTS, places, errors_mm, strict=True):
        share = min(max(error / largest_mm, 0.0), 1.0) if largest_mm > 0 else 0.0
        radius = _RADII[0] + share**0.5 * (_RADII[1] - _RADII[0])
        ink = "#fff" if share > 0.45 else "#222"
        parts.append(
            f'<circle cx="{x}" cy="{y}" r="{radius:.1f}" fill="{_shade(share)}" stroke="#fff" stroke-width="1.5">'
            f"<title>{escape(f'{name}: {error:.2f} mm')}</title></circle>"
            f'<text x="{x}" y="{y + 3.9:.1f}" text-anchor="middle" font-size="11" font-weight="600" fill="{ink}">'
            f"{error:.0f}</text>"
        )
    return Markup("".join([*parts, "</svg>"]))


def _joint_places() -> list[tuple[float, float]]:
    by_name = {f"{finger}_{i + 1}": place for finger in FINGERS for i, place in enumerate(_PLACES[finger])}
    by_name["wrist"] = _WRIST
    return [by_name[name] for name in JOINTS]


def _skin(places: Sequence[tuple[float, float]]) -> list[str]:
    """The hand's outline: thick round lines along the fingers over a palm."""
    lines = []
    for finger in FINGERS:
        first = JOINTS.index(f"{finger}_1")
        points = " ".join(f"{x},{y}" for x, y in places[first : first + 4])
        width = 36 if finger == "thumb" else 33
        lines.append(f'<polyline points="{points}" stroke-width="{width}"/>')
    palm = "108,268 103,165 142,156 179,165 212,184 196,258 186,340 120,340"
    lines.append(f'<polygon points="{palm}" stroke-width="34" fill="#f3e7dc"/>')
    return [f'<g fill="none" stroke="#f3e7dc" stroke-linecap="round" stroke-linejoin="round">{"".join(lines)}</g>']


def _shade(share: float) -> str:
    position = share * (len(_SCALE) - 1)
    step = min(int(position), len(_SCALE) - 2)
    mixed = (a + (position - step) * (b - a) for a, b in zip(_SCALE[step], _SCALE[step + 1], strict=True))
    return "#" + "".join(f"{round(channel):02x}" for channel in mixed)
