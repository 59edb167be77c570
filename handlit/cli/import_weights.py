"""The verb that converts released weights."""

from pathlib import Path
from typing import get_args

from handlit.cli.verb_parser import VerbParser
from handlit.models.published.importing import WeightPart, WeightSource, import_file


def import_weights(arguments: list[str]) -> None:
    """Convert released weights to a file that handlit loads, with an account of every key."""
    parser = VerbParser(import_weights)
    parser.add_argument("file", type=Path, metavar="FILE", help="the released file")
    parser.add_argument("--from", dest="source", choices=get_args(WeightSource), required=True, help="whose these are")
    parser.add_argument("--out", type=Path, required=True, metavar="CKPT", help="file to write")
    parser.add_argument("--part", choices=get_args(WeightPart), help="AMVUR's whole network (default) or its backbone")
    parser.add_argument("--mano_path", help="MANO file or folder that MHEntropy's weights must agree with")
    import_file(**vars(parser.parse_args(arguments)))
