"""Averages of the weights over the steps of training."""

import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from torch import Tensor

from handlit.errors import check_number


class MovingAverage(EMAWeightAveraging):
    """Lightning's exponential moving average, including batch statistics, with constants left exactly as they are.

    Validation, ``best.ckpt`` and the end of a run use the average; a checkpoint also holds the weights that training
    resumes from. Lightning's own rule would let constants, such as the hand model's arrays, drift by rounding, which no
    resumed run could repeat.

    Args:
        decay: Share of the average that each step leaves as it was.
    """

    def __init__(self, decay: float = 0.999) -> None:
        check_number("decay", decay, least=0, below=1)
        super().__init__(use_buffers=True, decay=decay)
        self.decay = decay
        self._kwargs["avg_fn"] = self._average

    def _average(self, averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        # lerp of equal numbers is that number, exactly
        return torch.lerp(averaged, current, 1 - self.decay) if current.is_floating_point() else current
