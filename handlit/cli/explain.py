"""``test``, ``compare`` and ``score --explain [MEASURE]``: the definitions of the measures that a command shows."""

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from handlit.errors import InputError
from handlit.formats.registry import benchmarks
from handlit.metrics.measure import Measure, PointMeasure
from handlit.metrics.registry import measures
from handlit.scoring.official.measures import HEADLINES, official_measure

#: Commands that show measures.
EXPLAINED = ("test", "compare", "score")


def explain(command: str, arguments: list[str]) -> None:
    """Print definitions, and nothing else.

    Args:
        command: The command that shows the measures.
        arguments: After it; the word behind ``--explain`` names one measure by its key or short name.

    Raises:
        InputError: The command shows no measures, or none of that name.
    """
    if command not in EXPLAINED:
        raise InputError(f"--explain belongs to {', '.join(EXPLAINED)}: {command} shows no measures")
    shown = shown_by(command)
    position = arguments.index("--explain") + 1
    if name := " ".join(arguments[position:]):
        named = [measure for measure in shown if name in (measure.key, measure.short)]
        if not named:
            raise InputError(f"{command} shows no measure '{name}': choose one of {', '.join(m.key for m in shown)}")
        shown = named
    console = Console(highlight=False)
    for measure in shown:
        facts = ", ".join(filter(None, (measure.unit, measure.goal)))
        console.print(f"[bold]{escape(measure.short)}[/] ({measure.key}){f': {facts}' if facts else ''}")
        title = f"{measure.title}: " if measure.title not in (measure.short, measure.key) else ""
        for text in (title + measure.explanation, measure.reference):
            if text:
                console.print(Padding(escape(text), (0, 0, 0, 4)))


def shown_by(command: str) -> list[Measure]:
    """The measures that a command shows, in the order of its tables."""
    if command == "score":
        official = {
            key: official_measure(benchmark, key) for benchmark in benchmarks().values() for key in benchmark.keys
        }
        return [*HEADLINES, *official.values()]
    return [m for m in measures(Measure) if command == "test" or not isinstance(m, PointMeasure)]
