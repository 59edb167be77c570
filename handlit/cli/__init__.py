"""The command line: Lightning's fit/validate/test/predict on config files, and handlit's own verbs. Wiring only."""

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from handlit.types import InputError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TRAINER_COMMANDS = {
    "fit": "train a method: --config configs/experiment/NAME.yaml",
    "validate": "metrics on the held-out training sequences",
    "test": "metrics on the evaluation split with its public ground truth",
    "predict": "write pred.zip for the evaluation split, or pictures and meshes of your photographs",
}


def main(args: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        args: Command and its options; ``sys.argv`` when None. Tests call it in process.

    Raises:
        SystemExit: With 2 after a message when the input is wrong.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(_overview())
        return
    try:
        if command in VERBS:
            VERBS[command][1](arguments[1:])
        elif command in TRAINER_COMMANDS:
            run_trainer(arguments)
        else:
            raise InputError(f"there is no command '{command}'\n{_overview()}")
    except (InputError, FileNotFoundError, FileExistsError, PermissionError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


def _overview() -> str:
    commands = {**TRAINER_COMMANDS, **{name: text for name, (text, _) in VERBS.items()}}
    lines = [f"  {name:10s} {text}" for name, text in commands.items()]
    return "\n".join(["usage: python main.py COMMAND [options]   (COMMAND --help lists its options)", "", *lines])


def run_trainer(arguments: list[str]) -> None:
    """Run a Trainer command through LightningCLI, with ``configs/base.yaml`` underneath every config."""
    # Lightning's own call of torch, which torch 2.9 and later warn about at every start
    warnings.filterwarnings("ignore", message="`isinstance\\(treespec, LeafSpec\\)` is deprecated")
    # Lightning advertises a service at every start
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(
        lambda line: "litlogger" not in line.getMessage()
    )
    from handlit.cli.trainer import HandlitCLI

    HandlitCLI.run(arguments, CONFIGS / "base.yaml")


def synth(arguments: list[str]) -> None:
    """Write a synthetic dataset in a public dataset's on-disk layout."""
    from handlit.data.synthesis import PRESETS, synthesise

    parser = argparse.ArgumentParser("python main.py synth", description=synth.__doc__)
    parser.add_argument("--layout", choices=["ho3d_v2", "ho3d_v3"], default="ho3d_v3", help="on-disk layout")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--train", type=int, required=True, metavar="N", help="training frames")
    parser.add_argument("--evaluation", type=int, required=True, metavar="M", help="evaluation frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", choices=list(PRESETS), default="full", help="range of views, poses and objects")
    parser.add_argument("--workers", type=int, default=2, help="processes; the output does not depend on it")
    parser.add_argument("--mano_path", help="MANO file or folder; the stand-in hand without it")
    synthesise(**vars(parser.parse_args(arguments)))


def score(arguments: list[str]) -> None:
    """Score predictions (pred.json or pred.zip) against a dataset's public ground truth, as the official scripts do."""
    from handlit.scoring.score import lint_files
    from handlit.scoring.score import score as run

    parser = argparse.ArgumentParser("python main.py score", description=score.__doc__)
    parser.add_argument("predictions", nargs="+", metavar="PRED", help="pred.json or pred.zip, or NAME=path")
    parser.add_argument("ground_truth", type=Path, metavar="GT", help="dataset root, folder or zip with the JSONs")
    parser.add_argument("--protocol", choices=["auto", "ho3d_v2", "ho3d_v3", "freihand"], default="auto")
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
    if options.pop("lint"):
        kept = ("predictions", "ground_truth", "protocol")
        if not lint_files(**{name: options[name] for name in kept}):
            raise SystemExit(1)
    else:
        run(options.pop("predictions"), **options)


def doctor(arguments: list[str]) -> None:
    """Say what this machine has of what handlit needs, and what to do about each gap."""
    from handlit.cli.doctor import doctor as run

    parser = argparse.ArgumentParser("python main.py doctor", description=doctor.__doc__)
    parser.add_argument("--mano_path", help="MANO file or folder to try")
    if not run(**vars(parser.parse_args(arguments))):
        raise SystemExit(1)


VERBS: dict[str, tuple[str, Callable[[list[str]], None]]] = {
    "synth": ("write a synthetic dataset in a public dataset's layout, official ground truth included", synth),
    "score": ("official metrics of anyone's pred.json or pred.zip, locally: table, scores.txt, report", score),
    "doctor": ("what this machine has of what handlit needs, and what to do about each gap", doctor),
}
