"""What detected joints do to a run's hypotheses: measured as drawn, and reweighted by how well they explain the joints.

    python -m scripts.benchmarks.importance RUN/config.yaml
    python -m scripts.benchmarks.importance RUN/config.yaml --visible_only --noise 0.03 --figure weights.jpg

The images are those of the run's test split. In place of a detector's joints it takes the true ones with Gaussian noise
(a share of the hand's box, `--detector_noise`), all of them or those that are seen. Prints every measure of `test` but
those of meshes, and the effective number of the 200 hypotheses.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from handlit.callbacks.output.hand_of_hypotheses import HandOfHypotheses
from handlit.cli import run_trainer
from handlit.distributions.importance import NOISE, ReweightedHands, effective_sample_size, log_weights
from handlit.formats.hand_files import write_image
from handlit.methods.method import HandMethod
from handlit.metrics.hypotheses import HypothesisTable, measure
from handlit.metrics.measure import Drawn
from handlit.render.figures import contact_sheet
from handlit.render.overlays import SCALE_RANGE_M
from handlit.scoring.hypotheses.run import HypothesisRun
from handlit.scoring.hypotheses.summary import Summary, comparison_table
from handlit.scoring.table import print_table
from handlit.types import HandBatch, HandPrediction

HYPOTHESES = 200
TITLES = ("as drawn", "from the side", "reweighted", "from the side")
#: Hands of the figure, and hypotheses that it shows of each.
SHOWN, DRAWN = 3, 50


@dataclass
class Contest:
    """A run's images, as drawn and reweighted.

    Attributes:
        summaries: Of both.
        effective: (N,) number of the hypotheses that the weighted ones are worth.
        rows: Of the figure.
    """

    summaries: list[Summary]
    effective: Tensor
    rows: list[list[Any]]


def detections(batch: HandBatch, noise: float, visible_only: bool) -> tuple[Tensor, Tensor]:
    """Joints (B, 21, 2) as a detector of this noise might give them, and their confidences (B, 21), 1 or 0."""
    box = (batch.joints_2d.amax(1) - batch.joints_2d.amin(1)).amax(-1)[:, None, None]
    detected = batch.joints_2d + noise * box * torch.randn_like(batch.joints_2d)
    return detected, (batch.visible if visible_only else torch.ones_like(batch.visible)).float()


def reweighted(prediction: HandPrediction, batch: HandBatch, args: argparse.Namespace) -> tuple[HandPrediction, Tensor]:
    """The prediction that knows of the joints, and the effective size (B,) of hypotheses that do not."""
    given = detections(batch, args.detector_noise, args.visible_only)
    plain = prediction.distribution.hypotheses(HYPOTHESES)
    effective = effective_sample_size(log_weights(plain.joints_2d, *given, args.noise))
    return replace(prediction, distribution=ReweightedHands(prediction.distribution, *given, args.noise)), effective


def drawn_joints(prediction: HandPrediction, batch: HandBatch) -> Drawn:
    """Hypotheses without meshes, which would take nearly all of the time."""
    drawn = prediction.distribution.hypotheses(HYPOTHESES)
    no_error = torch.full(drawn.joints_root.shape[:2], torch.nan)
    no_mesh = torch.full_like(batch.vertices_cam, torch.nan)
    return Drawn(prediction, batch, drawn.joints_root, drawn.joints_2d, no_error, no_mesh)


def figure_row(method: HandMethod[Any], predictions: Sequence[HandPrediction], batch: HandBatch) -> list[Any]:
    """Images of a batch's first hand, in the order of `TITLES`."""
    images = []
    for prediction in predictions:
        drawn = prediction.distribution.hypotheses(DRAWN, vertices=True)
        hand = HandOfHypotheses(prediction, drawn, batch, 0, method.hand.faces, 1.0)
        images += [hand.skeletons(SCALE_RANGE_M), hand.skeletons_from_the_side(SCALE_RANGE_M)]
    return images


@torch.no_grad()
def contest(method: HandMethod[Any], data: Any, args: argparse.Namespace) -> Contest:
    """Draw and measure."""
    tables, sizes = [HypothesisTable(), HypothesisTable()], []
    keys: dict[int, str] = {}
    rows: list[list[Any]] = []
    for loaded in data.test_dataloader():
        batch = data.on_after_batch_transfer(loaded, 0)
        prediction = method(method.observe(batch))
        informed, effective = reweighted(prediction, batch, args)
        sizes.append(effective)
        for table, contestant in zip(tables, (prediction, informed), strict=True):
            table.update(measure(drawn_joints(contestant, batch)), batch)
        if args.figure and len(rows) < SHOWN:
            rows.append(figure_row(method, (prediction, informed), batch))
        keys |= dict(zip(batch.index.tolist(), batch.key, strict=True))
        if len(keys) >= args.images:
            break
    summaries = []
    for label, table in zip(("as drawn", "reweighted"), tables, strict=True):
        columns = {name: values.numpy() for name, values in table.compute().items()}
        names = [keys[index] for index in columns["index"].tolist()]
        summaries.append(Summary(HypothesisRun(label, np.array(names), columns, {})))
    return Contest(summaries, torch.cat(sizes), rows)


def main(arguments: Sequence[str] | None = None) -> Contest:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config.yaml of a run")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--detector_noise", type=float, default=0.015, help="of the given joints, share of the box")
    parser.add_argument("--visible_only", action="store_true", help="give only joints that are seen")
    parser.add_argument("--noise", type=float, default=NOISE, help="that the weights assume, share of the box")
    parser.add_argument("--figure", type=Path, help="image of the first hypotheses")
    args = parser.parse_args(arguments)
    cli = run_trainer(["test", "--config", args.config], load_only=True)
    cli.datamodule.setup("test")
    torch.manual_seed(0)
    result = contest(cli.trained_method().eval(), cli.datamodule, args)
    print_table(comparison_table(result.summaries), Console(width=100))
    low, middle, high = torch.quantile(result.effective, torch.tensor([0.1, 0.5, 0.9])).tolist()
    print(
        f"effective number of {HYPOTHESES} hypotheses: mean {result.effective.mean():.1f}, median {middle:.1f}, "
        f"10 to 90 % {low:.1f} to {high:.1f}"
    )
    if args.figure:
        write_image(args.figure, contact_sheet(result.rows, TITLES))
    return result


if __name__ == "__main__":
    main()
