"""Errors of every joint in every frame, for the breakdowns that need them one by one."""

from typing import Literal

import numpy as np
import torch

from handlit.geometry.alignment import align_root, procrustes

#: Kinds of `Evaluation.errors` that are broken down by joint and frame.
JointErrorKind = Literal["joints_root", "joints_procrustes"]


def joint_errors(predicted: np.ndarray, true: np.ndarray, kind: JointErrorKind) -> np.ndarray:
    """Distance of every joint, as `handlit.scoring.official.evaluation.evaluate` measures it.

    Args:
        predicted: (N, 21, 3) metres.
        true: (N, 21, 3) metres, in the same axes and joint order.
        kind: Wrist on wrist, or Procrustes with mirror images as the official scripts fit it.

    Returns:
        (N, 21) metres, float64.
    """
    source, target = (torch.from_numpy(np.asarray(array, dtype=np.float64)) for array in (predicted, true))
    if kind == "joints_root":
        return (align_root(source) - align_root(target)).norm(dim=-1).numpy()
    return (procrustes(source, target, reflections=True) - target).norm(dim=-1).numpy()
