"""The verb ``export``. Wiring only."""

from pathlib import Path

from handlit.cli import run_trainer
from handlit.cli.verb_parser import VerbParser
from handlit.errors import InputError


def export(arguments: list[str]) -> None:
    """Write a trained method as an ONNX file, checked against torch; docs/how_to/export.md.

    Further settings are those of `predict`: `--ckpt_path FILE`, `--model.init_args.answer prior`, ...
    """
    parser = VerbParser(export, allow_abbrev=False)
    parser.add_argument("--config", required=True, metavar="RUN/config.yaml", help="of the run whose weights are kept")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="file to write")
    options, settings = parser.parse_known_args(arguments)
    if options.out.suffix != ".onnx":
        raise InputError(f"--out must name a file that ends in .onnx, got {options.out}")
    loaded = run_trainer(["predict", "--config", options.config, *settings], load_only=True)

    if loaded.config.predict.calibrated:
        raise InputError("the file holds the method's own spread: leave --calibrated out")
    from handlit.methods.onnx_export import export_onnx

    mano = loaded.config.predict.mano_path
    hand_model = "MANO, under its own licence" if mano is not None else "handlit's stand-in hand"
    differences = export_onnx(loaded.trained_method(), options.out, hand_model)
    name = max(differences, key=differences.__getitem__)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB; outputs {', '.join(differences)}")
    print(f"largest difference from torch: {differences[name]:.1g} ({name})")
    if mano is not None:
        print("the file holds numbers of MANO: its licence says who may have them")
