"""The verb ``score``. Wiring only."""

import argparse
from pathlib import Path
from typing import Any

from handlit.cli.verb_parser import VerbParser
from handlit.formats.registry import benchmarks


def score(arguments: list[str]) -> None:
    """Score predictions (pred.json or pred.zip) against a dataset's public ground truth, as the official scripts do."""
    parser = VerbParser(score, epilog="--explain [MEASURE] defines what the tables show.")
    parser.add_argument("predictions", nargs="+", metavar="PRED", help="pred.json or pred.zip, or NAME=path")
    parser.add_argument("ground_truth", type=Path, metavar="GT", help="dataset root, folder or zip with the JSONs")
    parser.add_argument("--protocol", choices=["auto", *benchmarks()], default="auto")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for scores.txt, scores.json and report.html")
    parser.add_argument("--reference", metavar="NAME", help="prediction that errors are divided by (mean_hand)")
    parser.add_argument(
        "--by_visibility",
        action=argparse.BooleanOptionalAction,
        help="errors of visible and hidden joints apart; by default for up to 2,000 images of a whole dataset",
    )
    parser.add_argument("--mano_path", help="MANO file or folder; its triangles show and hide real hands")
    parser.add_argument("--lint", action="store_true", help="only look for mistakes; exit code 1 for an error")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    # what scores takes longer to import than the options to list
    from handlit.scoring.score import lint_files
    from handlit.scoring.score import score as run

    if options.pop("lint"):
        kept = ("predictions", "ground_truth", "protocol")
        if not lint_files(**{name: options[name] for name in kept}):
            raise SystemExit(1)
    else:
        run(options.pop("predictions"), **options)
