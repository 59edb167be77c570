"""The verb ``demo``. Wiring only."""

from pathlib import Path

import torch

from handlit.cli.verb_parser import VerbParser
from handlit.demo.given_boxes import read_boxes
from handlit.demo.records import Records
from handlit.demo.run import Demo
from handlit.demo.summary import summary
from handlit.demo.viewer import write_viewer
from handlit.errors import InputError, check_number
from handlit.files import sha256
from handlit.formats.media import find_media
from handlit.landmarks import HandDetector, HandTracker
from handlit.reconstruct import Reconstructor
from handlit.reconstruct.reconstructor import HandPredictor, camera_of


def demo(arguments: list[str]) -> None:
    """Turn photographs, videos and webcams into 3D hands with their uncertainty: drawings, meshes and numbers."""
    options = _parser().parse_args(arguments)
    check_number("--hands", options.hands, least=1, whole=True)
    if options.max_frames is not None:
        check_number("--max_frames", options.max_frames, least=1, whole=True)
    if options.viewer and options.lines_only:
        raise InputError("--viewer shows what --lines_only leaves out: give one of them")
    if options.calibrated and options.ckpt_path is None:
        raise InputError("--calibrated needs the run that was calibrated: --ckpt_path RUN")
    camera_of((1, 1), options.focal_px, options.fov_deg)
    media = find_media(options.inputs, leave_out=options.out)
    check_number("--threads", options.threads, least=1, whole=True)
    # hands are small: more threads wait for each other longer than they compute
    torch.set_num_threads(options.threads)
    boxes = {} if options.boxes is None else read_boxes(options.boxes)
    detector = HandDetector(options.threads)
    names = ("ckpt_path", "mano_path", "focal_px", "fov_deg", "hands", "smoothing", "max_frames")
    digest = None if options.boxes is None else sha256(options.boxes)
    settings = {**{name: getattr(options, name) for name in names}, "boxes": digest}
    # folders that were begun without the option can be resumed
    settings["calibrated"] = options.calibrated or None
    records = Records(options.out, settings)
    task = Demo(
        options.out,
        Reconstructor(_method(options.ckpt_path, options.calibrated), options.mano_path, detector=detector),
        lambda: HandTracker(detector, hands=options.hands),
        focal_px=options.focal_px,
        fov_deg=options.fov_deg,
        smoothing=options.smoothing,
        files=not options.lines_only,
        max_frames=options.max_frames,
        boxes=boxes,
    )
    try:
        task.run(media, records)
    except KeyboardInterrupt as stop:
        print("\n".join(["stopped; the same command resumes", *summary(task, media, records)]))
        raise SystemExit(130) from stop
    print("\n".join(summary(task, media, records)))
    numbers = sorted((options.out / "numbers").glob("*.npz"))
    if options.viewer and numbers:
        page = options.out / "viewer.html"
        print(f"{write_viewer(page, numbers)} of {len(numbers)} hands to turn with the mouse: {page}")


def _parser() -> VerbParser:
    parser = VerbParser(demo)
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="images, videos, folders of them, or webcam:0")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write, or to resume")
    parser.add_argument("--ckpt_path", metavar="RUN", help="run of another method; the detector then only gives boxes")
    parser.add_argument("--calibrated", action="store_true", help="with the spread that `calibrate` found for RUN")
    parser.add_argument("--mano_path", help="MANO file or folder; the stand-in hand without it")
    parser.add_argument("--fov_deg", type=float, help="field of view across the longer side, degrees; 60 is assumed")
    parser.add_argument("--focal_px", type=float, help="focal length, pixels, in place of it")
    parser.add_argument("--boxes", type=Path, metavar="JSON", help="where the hands of images are: docs/how_to/demo.md")
    parser.add_argument("--hands", type=int, default=2, metavar="N", help="hands that are followed in a video")
    parser.add_argument(
        "--no-smoothing", dest="smoothing", action="store_false", help="each frame of a video by itself"
    )
    parser.add_argument("--viewer", action="store_true", help="one HTML file with the hands in 3D")
    parser.add_argument("--lines_only", action="store_true", help="hands.jsonl alone: no drawings, meshes and numbers")
    parser.add_argument("--max_frames", type=int, metavar="N", help="of each video")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the networks")
    return parser


def _method(run: str | None, calibrated: bool) -> HandPredictor | None:
    if run is None:
        return None
    # brings Lightning along
    from handlit.cli.run_method import load_method

    return load_method(run, calibrated)
