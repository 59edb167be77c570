"""The verb that fetches the hand detector's networks."""

from pathlib import Path

from handlit.cli.verb_parser import VerbParser
from handlit.landmarks import model_files


def fetch_detector(arguments: list[str]) -> None:
    """Fetch the networks that find hands in images, once, out of the wheel of MediaPipe, which is not installed."""
    parser = VerbParser(fetch_detector)
    parser.add_argument("--wheel", type=Path, metavar="FILE", help=f"the wheel {model_files.PACKAGE}, if it is at hand")
    wheel = parser.parse_args(arguments).wheel
    if model_files.are_fetched():
        print(f"the hand detector's networks are in {model_files.folder()} already")
        return
    if wheel is None:
        print(f"downloading {model_files.PACKAGE} (35 MB) by pip", flush=True)
    for path in model_files.fetch(wheel):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
