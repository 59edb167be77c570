"""What trained methods make of photographs of people, of which nothing is known in 3D but the states of their fingers.

    python -m scripts.real_people PHOTOS RUN [RUN ...] --out runs/real_people    # then `python -m scripts.docs.figures`

PHOTOS holds DIGIT/personNNN_*.jpg, as `scripts.benchmarks.real_hands` reads them. `annotate` finds the hands, and what
the digit says of the fingers becomes their label ``fingers``. Each run is tested (200 hypotheses an image, crops of its
own size) on a fifth of the people, who are never anybody's training data; docs/figures/real_people.json gets the
figures by the name of the run's folder.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handlit.cli.configs import config_folder
from handlit.errors import InputError
from handlit.files import write_text
from handlit.metrics.finger_measures import FINGER_MEASURES
from handlit.reading import read_json
from handlit.run_folder import RunFolder
from handlit.yaml_files import load_yaml
from scripts.benchmarks.real_hands import STRETCHED
from scripts.docs.figures import FOLDER
from scripts.results.commands import Command, in_a_process

#: Finds who a photograph shows.
PERSON = r"(person\d+)"
#: Shares of the people for validation and for testing.
SHARES = ("0.05", "0.2")
FIGURES = FOLDER / "real_people.json"
#: Significant digits that are kept.
_DIGITS = 4


def fingers_of(digit: int) -> list[str | None]:
    """The label ``fingers`` of a hand that shows a digit; nothing is said of the thumb."""
    words = {True: "stretched", False: "bent", None: "touching"}
    return [None, *(words[state] for state in STRETCHED[digit])]


def add_fingers(annotations: Path) -> None:
    """Give the hands of a list the fingers of the digit that their image's folder names."""
    images = read_json(annotations, "annotations")
    for name, hands in images.items():
        folder = Path(name).parent.name
        if not (folder.isdecimal() and int(folder) < len(STRETCHED)):
            raise InputError(f"{name} lies in no folder DIGIT: which fingers are stretched?")
        for hand in hands:
            hand["fingers"] = fingers_of(int(folder))
    write_text(annotations, json.dumps(images) + "\n")


def annotate(photographs: Path, folder: Path, run: Command, log: Path) -> None:
    """Make own data of the photographs, unless they are there."""
    annotations = folder / "annotations.json"
    if not annotations.exists():
        val, test = SHARES
        options = ("--person", PERSON, "--val", val, "--test", test)
        run(["annotate", str(photographs), "--out", str(folder), *options], log)
    add_fingers(annotations)


def name_of(folder: Path) -> str:
    """What the figures call a run: its folder, or the one above for one of several seeds."""
    folder = folder.absolute()
    return folder.parent.name if folder.name.startswith("seed") else folder.name


def measured(folder: Path, data: Path, out: Path, run: Command, log: Path) -> dict[str, float]:
    """Test a run: figures by the measures' keys.

    Raises:
        FileNotFoundError: The folder holds no run.
    """
    trained, tested = RunFolder(folder), RunFolder(out)
    config: dict[str, Any] = load_yaml(trained.config)
    options = ["--data", str(config_folder() / "data" / "folder.yaml"), "--data.init_args.root", str(data)]
    options += ["--data.init_args.image_size", str(config["data"]["init_args"]["image_size"])]
    options += ["--run_dir", str(out), "--ckpt_path", str(trained.best)]
    run(["test", "--config", str(trained.config), *options, "--trainer.enable_progress_bar=false"], log)
    with np.load(tested.hypothesis_table) as table:
        columns = {measure.key: table[measure.key] for measure in FINGER_MEASURES}
    figures = {key: float(f"{np.nanmean(column):.{_DIGITS}g}") for key, column in columns.items()}
    return {**figures, "images": len(columns["finger_states"])}


def main(arguments: Sequence[str] | None = None, run: Command | None = None, figures: Path = FIGURES) -> None:
    """Annotate, test every run and keep the figures."""
    parser = argparse.ArgumentParser(
        "python -m scripts.real_people", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path, metavar="PHOTOS")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, default=Path("runs/real_people"), metavar="DIR")
    parser.add_argument("--threads", type=int, help="of each process (OMP_NUM_THREADS); all cores by default")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    run, log = run or in_a_process(options.threads), options.out / "log.txt"
    data = options.out / "photographs"
    annotate(options.photographs, data, run, log)
    found = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else {}
    for number, folder in enumerate(options.runs):
        name = name_of(folder)
        found[name] = measured(folder, data, options.out / f"{number}_{name}", run, log)
        print(name, found[name])
        write_text(figures, json.dumps(found, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
