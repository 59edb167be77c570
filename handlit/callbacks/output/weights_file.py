"""Writes the weights of a lifting network as the package ships them."""

import pytorch_lightning as pl
from typing_extensions import override

from handlit import __version__
from handlit.callbacks.trainer_parts import run_folder
from handlit.errors import InputError
from handlit.models.lift import LiftNetwork
from handlit.models.lift_weights import write_lift
from handlit.seeding import run_seed


class WeightsFile(pl.Callback):
    """Saves ``lift.safetensors`` in the run folder when training ends: half precision, with what it is of inside."""

    @override
    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse other methods before they are trained.

        Raises:
            InputError: The method has no lifting network.
        """
        if not isinstance(getattr(pl_module, "network", None), LiftNetwork):
            raise InputError(f"WeightsFile writes the weights of Lift, not of {type(pl_module).__name__}")

    @override
    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            network = pl_module.network
            assert isinstance(network, LiftNetwork)
            card = {"handlit": __version__, "seed": str(run_seed()), "steps": str(trainer.global_step)}
            write_lift(network, run_folder(trainer).path / "lift.safetensors", card)
