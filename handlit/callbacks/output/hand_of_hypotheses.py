"""One hand of a predicted batch with its hypotheses: as images and as numbers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handlit.callbacks.output.predicted_hand import CONVENTIONS, PredictedHand, apply_affine
from handlit.errors import InputError
from handlit.metrics.diversity import deviation
from handlit.render.figures import BACKGROUND, add_colour_bar, add_legend, side_view
from handlit.render.overlays import (
    HIDDEN,
    SEEN,
    draw_mesh,
    draw_skeletons,
    scale_colours,
    spread_colours,
    visibility_colours,
)
from handlit.types import HandBatch, HandPrediction, Hypotheses

#: Side of the images of a hand, pixels.
SIDE = 448
_OF_A_HAND = ("vertices_root", "joints_root", "joints_2d", "pose", "betas")

HYPOTHESIS_CONVENTIONS = (
    CONVENTIONS + " Arrays named point_* are the point estimate. vertices_cam, joints_cam, joints_2d, root_cam, pose, "
    "betas: one row for each of the S hypotheses, in the order they were drawn, each placed by its own root_cam. "
    "joints_2d_crop: the method's own projection of each hypothesis, pixels of the crop; joints_2d: through the "
    "pinhole camera intrinsics, pixels of the source image. crop_transform: affine map from source image pixels to "
    "crop pixels, which mirrors a left hand. camera: weak perspective (s, tx, ty) of the point estimate: crop pixel = "
    "s (m x, y) + (tx, ty) of its wrist-relative joints, m = -1 for a left hand, else 1. log_prob: log-density of what "
    "was drawn, nats, in the method's own space (pose coefficients of a flow at the given temperature, vertices of a "
    "Gaussian at temperature 1); comparable between the hypotheses of one image only; NaN where there is none. "
    "temperature: factor on the spread of what was drawn. vertex_scale, joint_scale: stated by the method, for "
    "temperature 1. visible: 1 seen, 0 hidden, -1 not known. index: position in the dataset."
)


class HandOfHypotheses:
    """One hand of a predicted batch with its hypotheses, on the CPU.

    It is drawn as in its crop: a left hand is mirrored.

    Args:
        prediction: Of the whole batch.
        drawn: Hypotheses of the whole batch, with meshes.
        batch: The batch.
        row: Position of the hand in the batch.
        faces: (1538, 3).
        temperature: Factor on the spread with which `drawn` was sampled.
    """

    def __init__(
        self,
        prediction: HandPrediction,
        drawn: Hypotheses,
        batch: HandBatch,
        row: int,
        faces: Tensor,
        temperature: float,
    ) -> None:
        if drawn.vertices_root is None:
            raise InputError("the hypotheses come without meshes; expected them drawn with vertices=True")

        def hand(pick: Callable[[Tensor], Tensor]) -> PredictedHand:
            values = {name: getattr(drawn, name) for name in _OF_A_HAND}
            picked = {name: None if value is None else pick(value) for name, value in values.items()}
            return PredictedHand(replace(prediction, **picked), batch, row, faces)  # type: ignore[arg-type]

        self.point = PredictedHand(prediction, batch, row, faces)
        count = drawn.joints_root.shape[1]
        self.hypotheses = [hand(lambda values, number=number: values[:, number]) for number in range(count)]  # type: ignore[misc]
        self.mean = hand(lambda values: values.mean(1))
        self.key = self.point.key
        self.index = int(batch.index[row])
        self.camera = prediction.camera[row].detach().float().cpu()
        self.log_prob = None if drawn.log_prob is None else drawn.log_prob[row].detach().float().cpu()
        self.visible = batch.visible[row].cpu().numpy() if bool(batch.valid["visible"][row]) else None
        self.temperature = temperature
        self.crop, self._from_crop = self.point.enlarged(SIDE)

    def skeletons(self, range_m: float) -> np.ndarray:
        """All skeletons over the crop: by visibility where it is known, else by the spread of each joint."""
        joints = torch.stack([hand.joints_2d for hand in self.hypotheses])
        joints = apply_affine(self._from_crop, joints)
        return draw_skeletons(self.crop, joints.numpy(), self._bone_colours(range_m))

    def skeletons_from_the_side(self, range_m: float) -> np.ndarray:
        """The same, turned by 90 degrees about the vertical axis, with a legend of the colours."""
        joints = torch.stack([hand.joints_root for hand in self.hypotheses])
        turned, intrinsics = side_view(joints.flatten(0, 1))
        # a margin, and room for the legend
        to_image = torch.tensor([[0.85 * SIDE, 0, 0.075 * SIDE], [0, 0.85 * SIDE, 0.03 * SIDE], [0, 0, 1]])
        points = apply_affine(to_image, (turned @ intrinsics.T)[:, :2] / turned[:, 2:]).unflatten(0, joints.shape[:2])
        image = draw_skeletons(self._blank(), points.numpy(), self._bone_colours(range_m))
        if self.visible is None:
            return add_colour_bar(image, range_m)
        return add_legend(image, (("seen", SEEN), ("hidden", HIDDEN)))

    def mean_by_scale(self, range_m: float) -> np.ndarray:
        """The mean of the hypotheses, coloured by the scale that the method states for each vertex."""
        colours = scale_colours(self.mean.vertex_scale, range_m)
        image = self._mesh(self._blank(), self.mean, colours, opacity=1)
        return add_colour_bar(image, range_m)

    def mesh_over_crop(self, hypothesis: PredictedHand) -> np.ndarray:
        """A hypothesis's mesh over the crop."""
        return self._mesh(self.crop, hypothesis, None, opacity=0.85)

    def numbers(self) -> dict[str, Any]:
        """What is written as npz; see `HYPOTHESIS_CONVENTIONS`."""
        point = self.point.numbers()
        shared = ("faces", "intrinsics", "vertex_scale", "joint_scale")
        tensors = {name: point.pop(name) for name in shared}
        tensors |= {f"point_{name}": value for name, value in point.items()}
        each = [hand.numbers() for hand in self.hypotheses]
        tensors |= {name: torch.stack([numbers[name] for numbers in each]) for name in each[0] if name not in shared}
        tensors["joints_2d_crop"] = torch.stack([hand.joints_2d for hand in self.hypotheses])
        tensors["log_prob"] = torch.full((len(each),), torch.nan) if self.log_prob is None else self.log_prob
        tensors |= {"camera": self.camera, "crop_transform": self.point.transform}
        visible = np.full(21, -1, np.int8) if self.visible is None else self.visible.astype(np.int8)
        return {
            "key": self.key,
            "index": self.index,
            "hand": self.point.side,
            "temperature": self.temperature,
            "visible": visible,
            "conventions": HYPOTHESIS_CONVENTIONS,
            **{name: value.numpy() for name, value in tensors.items()},
        }

    def _bone_colours(self, range_m: float) -> np.ndarray:
        if self.visible is not None:
            return visibility_colours(self.visible)
        spread = deviation(torch.stack([hand.joints_root for hand in self.hypotheses])[None])[0]
        return spread_colours(spread, range_m)

    def _mesh(self, image: np.ndarray, hand: PredictedHand, colours: Tensor | None, opacity: float) -> np.ndarray:
        intrinsics = self._from_crop @ hand.intrinsics_crop
        return draw_mesh(image, hand.vertices_root + hand.root_crop, hand.faces_crop, intrinsics, colours, opacity)

    def _blank(self) -> np.ndarray:
        return np.full_like(self.crop, BACKGROUND)
