"""The verb ``verify-data``: what of a dataset is there, missing or damaged, and whether its labels fit together."""

from pathlib import Path
from typing import get_args

from rich.console import Console

from handlit.cli.verb_parser import VerbParser
from handlit.data.verification import verify
from handlit.errors import InputError
from handlit.files import check_writable
from handlit.skeleton import TipConvention


def verify_data(arguments: list[str]) -> None:
    """Check a dataset on disk: exit code 0 without problems, 1 with some. Nothing is written into its folder."""
    parser = VerbParser(verify_data)
    parser.add_argument(
        "root", type=Path, metavar="ROOT", help="HO-3D, FreiHAND, own images, packed or registered dataset"
    )
    parser.add_argument("--full", action="store_true", help="decode every image, not a sample")
    parser.add_argument("--sample", type=int, default=500, metavar="N", help="frames of a split to decode otherwise")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--mano_path", help="MANO file or folder; without it real joints and meshes are not compared")
    parser.add_argument("--tips", choices=get_args(TipConvention), default="manopth", help="of own images' labels")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; one a core without it")
    parser.add_argument("--out", type=Path, metavar="FILE", help="report to write: NAME.json, and NAME.txt beside it")
    options = vars(parser.parse_args(arguments))
    out = options.pop("out")
    if out is not None:
        if out.suffix != ".json":
            raise InputError(
                f"--out {out}: the report must be named NAME.json; its text is written beside it as NAME.txt"
            )
        check_writable(out, is_file=True)
    report = verify(**options)
    report.print(Console())
    if out is not None:
        text = report.write(out)
        print(f"report: {out}, {text}")
    if report.problems:
        raise SystemExit(1)
