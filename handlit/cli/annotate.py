"""The verb ``annotate``. Wiring only."""

from pathlib import Path

from handlit.annotation.annotate import annotate as run
from handlit.cli.verb_parser import VerbParser


def annotate(arguments: list[str]) -> None:
    """Find the hands of photographs and videos, and write them as a folder of own data; docs/how_to/annotate.md.

    An interrupted command resumes when it is given again.
    """
    parser = VerbParser(annotate, allow_abbrev=False)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="images, videos, folders of them")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to write")
    parser.add_argument("--every", type=int, default=10, metavar="N", help="of a video one frame in N (10)")
    parser.add_argument("--person", metavar="REGEX", help=r"who a file shows by its path: 'person(\d+)'; people split")
    parser.add_argument("--val", type=float, default=0.1, help="share of files or people for validation (0.1)")
    parser.add_argument("--test", type=float, default=0.1, help="share for testing (0.1)")
    parser.add_argument("--lift", action="store_true", help="also 3D joints, lifted from the 2D ones: pseudo-labels")
    done = run(**vars(parser.parse_args(arguments)))
    hands = ", ".join(f"{count} {split}" for split, count in done.hands.items())
    print(f"{done.path}: {sum(done.hands.values())} hands ({hands}) in {done.images} images of {done.files} files")
    if done.incomplete:
        print(f"left out, all or in part: {done.incomplete} files, {done.left_out} first")
    if not done.hands["val"]:
        print("no hand validates, which `fit` needs: give more files or people, or a larger --val")
