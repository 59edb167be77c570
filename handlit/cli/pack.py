"""The command that packs a dataset. Wiring only."""

import argparse
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from handlit.cli.configs import find_config
from handlit.errors import InputError
from handlit.program import program


def pack(arguments: list[str]) -> None:
    """Pack a dataset once for fast loading and streaming; `--verify DIR` compares a packed one with its checksums.

    Settings of the dataset follow as `--data.NAME VALUE`: crops and augmentation are those that are packed for.
    """
    parser = argparse.ArgumentParser(f"{program()} pack", description=pack.__doc__, allow_abbrev=False)
    parser.add_argument("root", nargs="?", type=Path, metavar="ROOT", help="the dataset, as it was unpacked")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write; that of an interrupted run goes on")
    parser.add_argument("--verify", metavar="DIR", help="a packed dataset (folder or URL) to check, nothing else")
    parser.add_argument("--data", metavar="CONFIG", help="the dataset's config; by default by its files")
    parser.add_argument("--stages", nargs="+", choices=["fit", "predict", "test"], default=["fit", "predict", "test"])
    parser.add_argument("--on_error", choices=["raise", "skip"], default="raise", help="damaged training images")
    parser.add_argument("--max_errors", type=int, default=100, help="with skip: how many")
    parser.add_argument("--workers", type=int, help="processes, one a core without it; the files do not depend on it")
    parser.add_argument("--quality", type=int, default=90, help="of the JPEGs")
    options, settings = parser.parse_known_args(arguments)
    if (options.verify is None) == (options.root is None):
        raise InputError("give either ROOT and --out DIR to pack, or --verify DIR")
    if options.verify is not None:
        from handlit.data.packing.read import Pack

        print(f"{options.verify}: {Pack(options.verify).verify()} files are as they were packed")
        return
    if options.out is None:
        raise InputError("--out DIR is missing: the folder to write the packed dataset to")
    _pack(options, settings)


def _pack(options: argparse.Namespace, settings: list[str]) -> None:
    from handlit.data.loading.datamodule import HandDataModule
    from handlit.data.packing.write import pack as run

    config, extra = (find_config(options.data), []) if options.data is not None else recognise(options.root)
    parser = ArgumentParser(f"{program()} pack")
    parser.add_subclass_arguments(HandDataModule, "data")
    module: Any = parser.instantiate_classes(
        parser.parse_args([f"--data={config}", f"--data.init_args.root={options.root}", *extra, *settings])
    ).data
    kept = ("out", "stages", "on_error", "max_errors", "workers", "quality")
    run(module, **{name: getattr(options, name) for name in kept})
    print(f"{options.out} is ready: use it with configs/data/packed.yaml and --data.init_args.root={options.out}")


def recognise(root: Path) -> tuple[Path, list[str]]:
    """The config of a dataset by the files in its root, and settings on top.

    Raises:
        FileNotFoundError: There is no such folder.
        InputError: The files are of no dataset that is known.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is missing: expected the folder of a dataset")
    if (root / "training_K.json").is_file():
        return find_config("data/freihand"), []
    if (root / "train.txt").is_file() or (root / "evaluation.txt").is_file():
        png = next(root.glob("*/*/rgb/*.png"), None) is not None
        return find_config("data/ho3d_v3"), [f"--data.init_args.version={'v2' if png else 'v3'}"]
    raise InputError(f"{root} is neither HO-3D (train.txt) nor FreiHAND (training_K.json): name its config by --data")
