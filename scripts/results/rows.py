"""The methods of the yardstick: what is trained, under which name, and about how long it takes."""

from dataclasses import dataclass
from pathlib import Path

from handlit.cli.configs import config_folder

#: What the table calls a method after its calibration.
CALIBRATED = "+calibrated"


@dataclass(frozen=True)
class Row:
    """A method of the table.

    Attributes:
        name: Its class, with what sets it apart where a class has two rows; the key in ``docs/results.json``.
        config: Name of its experiment.
        labels: What it learns from.
        minutes: About how long a run takes on two cores, until one is recorded: a guess.
        options: Of `fit`, beside the experiment.
    """

    name: str
    config: str
    labels: str
    minutes: float
    options: tuple[str, ...] = ()

    @property
    def config_file(self) -> Path:
        """The experiment's file."""
        return config_folder() / "experiment" / f"{self.config}.yaml"

    def folder(self, out: Path, seed: int) -> Path:
        """The run folder of a seed."""
        return out / self.name.lower().replace("-", "_") / f"seed{seed}"


#: In the order of the table's columns.
ROWS = {
    row.name: row
    for row in (
        Row("AMVUR", "results_amvur", "meshes", 13),
        Row("AMVUR-spread", "results_amvur_spread", "meshes", 13),
        Row("AMVUR-weak", "results_amvur_weak", "2D joints, cameras", 13),
        Row("Deterministic", "results_deterministic", "meshes", 11),
        Row("MHEntropy", "results_mhentropy", "visible 2D joints", 13),
        Row(
            "MHEntropy-no-entropy",
            "results_mhentropy",
            "visible 2D joints",
            13,
            ("--model.init_args.weights.entropy=0",),
        ),
        Row("PixelLift", "results_pixel_lift", "all labels; pretrained lifting", 13),
        Row("MeanHand", "results_mean_hand", "meshes", 4),
    )
}
