"""The verb ``synth``. Wiring only."""

from pathlib import Path
from typing import get_args

from handlit.cli.verb_parser import VerbParser
from handlit.data.synthesis import PRESETS, synthesise
from handlit.data.synthesis.generate import Layout
from handlit.data.synthesis.ho3d_writer import SegmentationSize


def synth(arguments: list[str]) -> None:
    """Write a synthetic dataset in a public dataset's on-disk layout."""
    parser = VerbParser(synth)
    parser.add_argument("--layout", choices=get_args(Layout), default="ho3d_v3")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--train", type=int, required=True, metavar="N", help="training frames")
    parser.add_argument("--evaluation", type=int, required=True, metavar="M", help="evaluation frames")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", choices=list(PRESETS), default="full", help="range of views, poses and objects")
    parser.add_argument("--workers", type=int, default=2, help="processes; the output does not depend on it")
    parser.add_argument("--mano_path", help="MANO file or folder; the stand-in hand without it")
    sizes = get_args(SegmentationSize)
    parser.add_argument("--segmentation", choices=sizes, default=sizes[0], help="size of HO-3D's segmentation images")
    synthesise(**vars(parser.parse_args(arguments)))
