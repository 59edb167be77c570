"""How many parameters a training learns, in one line."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelSummary
from typing_extensions import override


class ModelSize(ModelSummary):
    """Takes the place of Lightning's table; ``--trainer.enable_model_summary false`` leaves it out.

    The table also counts operations and modes of layers, of a network whose parts are named in the configuration.
    """

    @override
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            print(describe(pl_module), flush=True)


def describe(module: pl.LightningModule) -> str:
    """A method's name and its numbers of parameters, e.g. ``AMVUR: 3.41 M parameters, 2.98 M of them trained``."""
    counts: dict[bool, int] = {True: 0, False: 0}
    for parameter in module.parameters():
        counts[parameter.requires_grad] += parameter.numel()
    trained, total = counts[True], sum(counts.values())
    words = "all of them trained" if trained == total else f"{_short(trained)} of them trained"
    return f"{type(module).__name__}: {_short(total)} parameters, {words}"


def _short(number: int) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e5 else str(number)
