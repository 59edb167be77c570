"""The command line: Lightning's fit/validate/test/predict on config files, and handlit's own verbs. Wiring only."""

import codecs
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from handlit import __version__
from handlit.cli.configs import config_folder
from handlit.cli.plugins import import_plugins
from handlit.errors import InputError, describe
from handlit.program import program

TRAINER_COMMANDS = {
    "fit": "train a method: --config experiment/NAME",
    "validate": "metrics on the held-out training sequences",
    "test": "metrics on the evaluation split with its public ground truth",
    "predict": "write pred.zip for the evaluation split, or images and meshes of your photographs",
}

#: What stands for a character that the console does not have; ? for others.
_SUBSTITUTES = {"−": "-", "–": "-", "±": "+-", "×": "x", "…": "...", "→": "->", "°": " deg", "≤": "<=", "≥": ">="}


def main(args: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        args: Command and its options, perhaps after ``--import MODULE``; ``sys.argv`` when None.

    Raises:
        SystemExit: With 2 after a message when the input is wrong or the operating system refuses a file, 69 when the
            run folder is in use.
    """
    _print_on_any_console()
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        try:
            _check_text(arguments)
            _run(import_plugins(arguments))
        finally:
            sys.stdout.flush()
    except BrokenPipeError as error:
        # who reads the output has seen enough of it, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from error
    except (InputError, OSError, FloatingPointError) as error:
        # names of files may hold line ends
        print("error:", re.sub(r"\s*[\r\n]\s*", " ", describe(error)), file=sys.stderr)
        raise SystemExit(getattr(error, "exit_code", 2)) from error


def _run(arguments: list[str]) -> None:
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(_overview())
    elif command == "--version":
        print(f"handlit {__version__}")
    elif "--explain" in arguments:
        explain = import_module("handlit.cli.explain").explain
        explain(command, arguments[1:])
    elif command in VERBS:
        _run_verb(command, arguments[1:])
    elif command in TRAINER_COMMANDS:
        run_trainer(arguments)
    else:
        known = ", ".join([*TRAINER_COMMANDS, *VERBS])
        raise InputError(f"there is no command '{command}': choose one of {known} ({program()} --help)")


def _check_text(arguments: list[str]) -> None:
    """Refuse names of files that are no text: no result that names them could be written."""
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{word!a} is no text in UTF-8: rename the file") from error


def _print_on_any_console() -> None:
    """Let characters that the console's encoding lacks be substituted, not end the command."""

    def substitute(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        return "".join(_SUBSTITUTES.get(letter, "?") for letter in error.object[error.start : error.end]), error.end

    codecs.register_error("substitute", substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="substitute")


def _overview() -> str:
    lines = [f"  {name:15s} {text}" for name, text in {**TRAINER_COMMANDS, **VERBS}.items()]
    options = "[--import MODULE ...] COMMAND [options]   (COMMAND --help lists its options)"
    usage = f"usage: {program()} {options}\n       {program()} --version"
    explain = "test, compare, score --explain [MEASURE] prints the definitions of the measures that they show"
    return "\n".join([usage, "", *lines, "", explain])


def run_trainer(arguments: list[str], load_only: bool = False) -> Any:
    """Run a Trainer command through LightningCLI, with ``configs/base.yaml`` underneath every config.

    Args:
        arguments: Command and options.
        load_only: Make everything that the command needs and do not run it.

    Returns:
        The `HandlitCLI`.
    """
    base = config_folder() / "base.yaml"
    # Lightning's own call of torch, which torch 2.9 and later warn about at every start
    warnings.filterwarnings("ignore", message="`isinstance\\(treespec, LeafSpec\\)` is deprecated")
    # a folder that holds a run is refused unless the run is resumed
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    for name in ("utilities.rank_zero", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"pytorch_lightning.{name}").addFilter(_worth_saying)
    from pytorch_lightning.utilities.exceptions import MisconfigurationException
    from torch.distributed import DistError

    from handlit.cli.trainer import HandlitCLI, LoadingCLI

    try:
        return (LoadingCLI if load_only else HandlitCLI).run(arguments, base)
    except MisconfigurationException as error:
        raise InputError(str(error)) from error
    except ValueError as error:
        # what Lightning finds out about the launcher has no class of its own
        if "` in Lightning, but the " not in str(error):
            raise
        raise InputError(f"the launcher started other processes than the trainer was set up for: {error}") from error
    except RuntimeError as error:
        # what NCCL and the rendezvous raise has a class of its own; what gloo raises has not
        if not isinstance(error, DistError) and "/gloo/" not in str(error):
            raise
        raise InputError(
            "the processes of this run did not find each other, or one was lost. Look at the other processes' output; "
            "every node needs the same command, MASTER_ADDR and MASTER_PORT, a NODE_RANK of its own, and "
            f"trainer.num_nodes times trainer.devices processes must start (docs/how_to/scaling.md). {error}"
        ) from error


def _worth_saying(line: logging.LogRecord) -> bool:
    """Not what Lightning says at every start (of a service, of our summary) and at every checkpoint."""
    noise = ("litlogger", "model summary callbacks", "`weights_only` was not set")
    return not any(words in line.getMessage() for words in noise)


def _run_verb(name: str, arguments: list[str]) -> None:
    """Run one of handlit's own commands; what it needs is imported when it is asked for."""
    word = name.replace("-", "_")
    getattr(import_module(f"handlit.cli.{word}"), word)(arguments)


#: handlit's own commands. Each is the function of its name in the module of its name beside this one.
VERBS = {
    "demo": "photographs, videos or a webcam to 3D hands with their uncertainty: drawings, meshes, numbers",
    "synth": "write a synthetic dataset in a public dataset's layout, official ground truth included",
    "verify-data": "what of a dataset is there, missing, unreadable or in the wrong axes",
    "pack": "pack a dataset once for fast loading and streaming",
    "import-weights": "released AMVUR, MHEntropy and HRNet weights to handlit's files, with an account of every key",
    "calibrate": "fit on the validation split how far a method's spread is to be trusted: calibration.json",
    "annotate": "photographs and videos to a folder of own data, with a detector's 2D joints",
    "export": "a trained method as an ONNX file, checked against torch",
    "score": "official metrics of anyone's pred.json or pred.zip, locally: table, scores.txt, report",
    "compare": "tested runs side by side: accuracy, diversity, calibration, paired differences, charts",
    "sweep": "trials of a W&B sweep file on this machine: table, results.csv, parallel coordinates",
    "fetch-detector": "fetch, once, the networks that find hands in your photographs and videos",
    "doctor": "what this machine has of what handlit needs, and what to do about each gap",
    "completion": "let your shell complete commands, options and names of configurations",
}
