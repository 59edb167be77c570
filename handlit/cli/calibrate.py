"""The verb ``calibrate``. Wiring only."""

from handlit.cli import run_trainer
from handlit.cli.verb_parser import VerbParser
from handlit.program import program


def calibrate(arguments: list[str]) -> None:
    """Fit, on the validation split alone, how far a method's spread is to be trusted; docs/calibration.md.

    Further settings are those of `validate`: `--data.init_args.batch_size 8`, `--ckpt_path FILE`, ...
    """
    parser = VerbParser(calibrate, allow_abbrev=False)
    parser.add_argument("--config", required=True, metavar="RUN/config.yaml", help="of the run that is calibrated")
    parser.add_argument("--hypotheses", type=int, default=50, metavar="S", help="drawn of each validation image")
    options, settings = parser.parse_known_args(arguments)

    import pytorch_lightning as pl

    from handlit.calibration.conformal import conformal_radii
    from handlit.calibration.file import write_calibration
    from handlit.calibration.fit import fit_calibration
    from handlit.calibration.report import report
    from handlit.callbacks.output.validation_errors import ValidationErrors

    errors = ValidationErrors(options.hypotheses)
    loaded = run_trainer(["validate", "--config", options.config, *settings], load_only=True)
    method, origin, path = loaded.trained_method(), loaded.origin(), loaded.calibration_file()
    trainer = pl.Trainer(
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[errors],
        default_root_dir=path.parent,
    )
    trainer.validate(method, datamodule=loaded.datamodule, verbose=False)
    hands = errors.hands()
    calibration, radii = fit_calibration(hands), conformal_radii(hands.distances)
    validation = {
        "images": len(hands.distances),
        "hypotheses": options.hypotheses,
        "data": str(getattr(loaded.datamodule, "root", type(loaded.datamodule).__name__)),
    }
    write_calibration(path, calibration, radii, origin, validation)
    print("\n".join(report(calibration, radii, len(hands.distances))))
    print(f"{path}: used by `{program()} test`, `predict` and `demo` with --calibrated")
