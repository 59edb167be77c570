"""Blocks of pages that are rendered from ``docs/results.json``; the text around them is written."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handlit.errors import InputError
from handlit.files import write_text
from handlit.metrics.measure import Measure
from handlit.metrics.registry import measures
from handlit.scoring.official.measures import HEADLINES
from scripts.results.record import Record
from scripts.results.rows import CALIBRATED, ROWS

LAST = "<!-- end of rendered figures -->\n"
NOT_YET = "*Not measured yet: `python -m scripts.results` measures it.*"
_BLOCK = re.compile(rf"(<!-- rendered: (\w+) -->\n).*?{re.escape(LAST)}", re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A measure's row of a table.

    Attributes:
        key: Of the measure, perhaps with ``/visible`` or ``/occluded``.
        digits: After the point.
    """

    key: str
    digits: int = 1


METHODS = (
    *(Line("error_mode_mm"), Line("error_mode_mm/visible"), Line("error_mode_mm/occluded")),
    *(Line("pa_mpjpe_mm"), Line("mpvpe_mm"), Line("pa_mpvpe_mm"), Line("f_al_score_5", 3), Line("f_al_score_15", 3)),
    *(Line("mpjpe_best_of_200_mm"), Line("nll_nats", 2), Line("crps_mm"), Line("scale_mm")),
    *(Line("coverage_90", 2), Line("calibration_error", 2), Line("rank_correlation", 2), Line("ause", 2)),
)
CALIBRATION = (
    *(Line("coverage_90", 2), Line("calibration_error", 2), Line("crps_mm"), Line("nll_nats", 2), Line("scale_mm")),
    *(Line("rank_correlation", 2), Line("ause", 2), Line("mpjpe_best_of_200_mm")),
)
STORY = (Line("error_mode_mm"), Line("pa_mpjpe_mm"), Line("mpjpe_best_of_200_mm"))
ENTROPY = (
    *(Line("spread_px/visible"), Line("spread_px/occluded"), Line("spread_mm/visible"), Line("spread_mm/occluded")),
    *(Line("error_mode_mm"), Line("mpjpe_best_of_200_mm"), Line("pa_mpjpe_mm"), Line("nll_nats", 2)),
    *(Line("published_mpjpe_best_mm"), Line("published_ah_px"), Line("published_pjd_2d_visible_px")),
    *(Line("published_pjd_3d_occluded_mm"), Line("published_rd", 2)),
)
#: The methods that the short table leaves out: variants, and what everybody beats.
ASIDE = ("AMVUR-spread", "MHEntropy-no-entropy", "MeanHand")
#: The methods that the entropy term sets apart.
WITH_AND_WITHOUT = ("MHEntropy", "MHEntropy-no-entropy")

_Table = Mapping[str, Mapping[str, Sequence[float | None]]]


def rendered(page: str, record: Record) -> str:
    """The page with the figures of the record in its blocks.

    Raises:
        InputError: It has no block, or one of a name that there is not.
    """

    def block(found: re.Match[str]) -> str:
        if found[2] not in BLOCKS:
            raise InputError(f"there is no block '{found[2]}' of figures: choose of {', '.join(BLOCKS)}")
        lines = "\n".join(BLOCKS[found[2]](record)) if record.runs else ""
        return f"{found[1]}{lines or NOT_YET}\n{LAST}"

    page, count = _BLOCK.subn(block, page)
    if not count:
        raise InputError("the page has no block of figures, <!-- rendered: NAME -->")
    return page


def render(pages: Sequence[Path], record: Record) -> None:
    """Write the figures of the record into pages."""
    for path in pages:
        write_text(path, rendered(path.read_text(encoding="utf-8"), record))


def _methods(record: Record) -> Iterator[str]:
    names = [name for name in ROWS if name in record.runs]
    if names:
        yield from _head(names)
        yield f"| learns from | {' | '.join(ROWS[name].labels for name in names)} |"
        yield from _rows(METHODS, names, record.table(), _with_deviation)


def _calibration(record: Record) -> Iterator[str]:
    names = _calibrated(record)
    if names:
        yield from _head(names)
        yield from _before_and_after(CALIBRATION, names, record.table())


def _story(record: Record) -> Iterator[str]:
    """What a reader wants to know first: how far off, and whether the method knows it."""
    names = [name for name in _calibrated(record) if name not in ASIDE]
    if names:
        yield from _head(names)
        yield from _rows(STORY, names, record.table(), _mean)
        yield from _before_and_after(CALIBRATION[:1], names, record.table())


def _calibrated(record: Record) -> list[str]:
    return [name for name in ROWS if name in record.runs and name + CALIBRATED in record.runs]


def _before_and_after(lines: Sequence[Line], names: Sequence[str], table: _Table) -> Iterator[str]:
    for line in lines:
        cells = [tuple(_mean(table[key], line) for key in (name, name + CALIBRATED)) for name in names]
        yield _row(line, [f"{before} → {after}" for before, after in cells])


def _entropy(record: Record) -> Iterator[str]:
    names = [name for name in WITH_AND_WITHOUT if name in record.runs]
    if names:
        yield from _head(names)
        yield from _rows(ENTROPY, names, record.table(), _with_deviation)


def _facts(record: Record) -> Iterator[str]:
    """What the figures are of, in sentences."""
    data = record.data
    yield f"Of {data['train']:,} training and {data['evaluation']:,} evaluation images, format {data['format']} of"
    yield f"`synth`. {_seeds(record)}."
    minutes = [run["minutes"] for seeds in record.facts.values() for run in seeds.values() if "train" in run["minutes"]]
    cores = sorted({run["cores"] for seeds in record.facts.values() for run in seeds.values()})
    if minutes:
        trained = sorted(run["train"] for run in minutes)
        whole = sorted(sum(run.values()) for run in minutes)
        yield (
            f"A training took {_range(trained)} minutes, with all measurements {_range(whole)}, on "
            f"{' or '.join(map(str, cores))} CPU cores."
        )


def _range(values: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{value:.0f}" for value in (values[0], values[-1]))
    return " to ".join(ends)


def _seeds(record: Record) -> str:
    """Which seeds each method has, in short where all have the same."""
    of_method = {name: ", ".join(sorted(record.runs[name], key=int)) for name in ROWS if name in record.runs}
    if len(set(of_method.values())) == 1:
        seeds = next(iter(of_method.values()))
        return f"Seeds of the training: {seeds}" + ("; mean ± standard deviation over them" if "," in seeds else "")
    listed = "; ".join(f"{name} {seeds}" for name, seeds in of_method.items())
    return f"Seeds of the training: {listed}. Mean ± standard deviation where there are several"


#: The blocks that a page may have, by name.
BLOCKS: dict[str, Callable[[Record], Iterator[str]]] = {
    "methods": _methods,
    "calibration": _calibration,
    "story": _story,
    "entropy": _entropy,
    "facts": _facts,
}


def _head(names: Sequence[str]) -> Iterator[str]:
    yield f"| | {' | '.join(names)} |"
    yield f"|{'---|' * (len(names) + 1)}"


def _rows(
    lines: Sequence[Line], names: Sequence[str], table: _Table, cell: Callable[[Any, Line], str]
) -> Iterator[str]:
    for line in lines:
        yield _row(line, [cell(table[name], line) for name in names])


def _row(line: Line, cells: Sequence[str]) -> str:
    key, _, split = line.key.partition("/")
    measure = _measure(key)
    name = f"{measure.title}, of {split} joints" if split else measure.title
    unit = f", {measure.unit}" if measure.unit else ""
    nominal = isinstance(measure.target, float)
    goal = f", nominal {measure.goal}" if nominal else f" {measure.goal}" if measure.goal else ""
    return f"| {name}{unit}{goal} | {' | '.join(cells)} |"


def _measure(key: str) -> Measure:
    return next(measure for measure in (*measures(Measure), *HEADLINES) if measure.key == key)


def _mean(figures: Mapping[str, Sequence[float | None]], line: Line) -> str:
    mean = figures[line.key][0] if line.key in figures else None
    return "–" if mean is None else f"{mean:.{line.digits}f}"


def _with_deviation(figures: Mapping[str, Sequence[float | None]], line: Line) -> str:
    deviation = figures[line.key][1] if line.key in figures else None
    text = _mean(figures, line)
    return text if deviation is None else f"{text} ±{deviation:.{line.digits}f}"
