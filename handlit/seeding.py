"""Where randomness comes from: the run's seed and the place in the run, so that nothing needs to be remembered."""

import os

import numpy as np
import torch


def run_seed() -> int:
    """The run's ``seed_everything``, which Lightning hands to every process; 0 without one."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def seed_step(seed: int, epoch: int, batch_idx: int, rank: int) -> None:
    """Seed torch for the noise of one training step.

    Args:
        seed: The run's.
        epoch: From 0.
        batch_idx: In the epoch, from 0.
        rank: Of the process: no two draw the same.
    """
    mixed = np.random.SeedSequence([seed, epoch, batch_idx, rank]).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(mixed >> 1))
