"""The command that packs a dataset. Wiring only."""

import argparse
from pathlib import Path
from typing import Any

from handlit.cli.configs import find_config
from handlit.cli.verb_parser import VerbParser
from handlit.errors import InputError
from handlit.formats.packed import PACKED
from handlit.formats.registry import recognise
from handlit.program import program


def pack(arguments: list[str]) -> None:
    """Pack a dataset once for fast loading and streaming; `--verify DIR` compares a packed one with its checksums.

    Settings of the dataset follow as `--data.NAME VALUE`: crops and augmentation are those that are packed for.
    """
    parser = VerbParser(pack, allow_abbrev=False)
    parser.add_argument("root", nargs="?", type=Path, metavar="ROOT", help="the dataset, as it was unpacked")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write; an interrupted run resumes there")
    parser.add_argument("--verify", metavar="DIR", help="a packed dataset (folder or URL) to check, nothing else")
    parser.add_argument("--allow_http", action="store_true", help="with --verify: fetch unencrypted, from http://")
    parser.add_argument("--endpoint", metavar="URL", help="with --verify s3://...: the server, if not Amazon's")
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

        packed = Pack(options.verify, allow_http=options.allow_http, endpoint=options.endpoint)
        print(f"{packed.root}: {packed.verify()} files are as they were packed")
        return
    if options.out is None:
        raise InputError("--out DIR is missing: the folder to write the packed dataset to")
    _pack(options, settings)


def _pack(options: argparse.Namespace, settings: list[str]) -> None:
    from handlit.cli.config_parser import ConfigParser
    from handlit.data.loading.datamodule import HandDataModule
    from handlit.data.packing.write import pack as run

    parser = ConfigParser(f"{program()} pack")
    parser.add_subclass_arguments(HandDataModule, "data")
    if options.data is not None:
        given = [f"--data={find_config(options.data)}"]
    else:
        dataset = recognise(options.root)
        if dataset is PACKED:
            raise InputError(f"{options.root} is packed already: give the original dataset")
        implied = [f"--data.init_args.{name}={value}" for name, value in dataset.settings.items()]
        given = [f"--data={dataset.data}", *implied]
    module: Any = parser.instantiate_classes(
        parser.parse_args([*given, f"--data.init_args.root={options.root}", *settings])
    ).data
    kept = ("out", "stages", "on_error", "max_errors", "workers", "quality")
    run(module, **{name: getattr(options, name) for name in kept})
    print(f"{options.out} is ready: use it with configs/data/packed.yaml and --data.init_args.root={options.out}")
