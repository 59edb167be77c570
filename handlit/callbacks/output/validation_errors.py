"""While validating, keeps how hypotheses and true hands differ from the point estimates."""

import pytorch_lightning as pl
import torch
from torch import Tensor
from typing_extensions import override

from handlit.calibration.fit import ValidationHands
from handlit.distributions.calibrated_hands import Differences, differences, stated_scale
from handlit.errors import InputError, check_number
from handlit.types import HandBatch, HandPrediction


class ValidationErrors(pl.Callback):
    """Collects what a calibration is fitted to, of the validation images with 3D joints; for a single process.

    Args:
        num_hypotheses: Drawn for each image.
    """

    def __init__(self, num_hypotheses: int = 50) -> None:
        check_number("num_hypotheses", num_hypotheses, least=10, whole=True)
        self.num_hypotheses = num_hypotheses
        self.parts: list[tuple[Tensor, ...]] = []

    @override
    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: HandPrediction,  # type: ignore[override]
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch.

        Raises:
            InputError: A prediction or a hypothesis is not finite.
        """
        with torch.no_grad():
            drawn = outputs.distribution.hypotheses(self.num_hypotheses).joints_root.float()
        centre, known = outputs.joints_root.float(), batch.valid["joints_cam"]
        checked = {"predicted joints": centre, "hypotheses": drawn, "stated scales": outputs.joint_scale}
        for name, points in checked.items():
            finite = points.isfinite().flatten(1).all(1)
            if not bool(finite.all()):
                key = batch.key[int((~finite).nonzero()[0])]
                raise InputError(f"{name} of validation image {key} hold NaN or infinity, and cannot be calibrated")
        true = (batch.joints_cam - batch.joints_cam[:, :1]).float()
        of_true, of_drawn = differences(true, centre), differences(drawn, centre[:, None])
        distances = (true - centre).norm(dim=-1)
        columns = (*of_true, *of_drawn, stated_scale(outputs.joint_scale), distances)
        self.parts.append(tuple(column[known].cpu() for column in columns))

    def hands(self) -> ValidationHands:
        """All images together."""
        turn, rest, drawn_turn, drawn_rest, scale, distances = map(torch.cat, zip(*self.parts, strict=True))
        return ValidationHands(Differences(turn, rest), Differences(drawn_turn, drawn_rest), scale, distances)
