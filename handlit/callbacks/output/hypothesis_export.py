"""While predicting, writes the hypotheses of chosen hands: to look at, and as numbers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed
from torch import Tensor

from handlit.callbacks.output.meshes import write_mesh
from handlit.callbacks.output.pictures import (
    CONVENTIONS,
    PredictedHand,
    apply_affine,
    file_stem,
    write_image,
    write_numbers,
)
from handlit.errors import InputError
from handlit.metrics.diversity import deviation
from handlit.render import overlays as drawing
from handlit.types import HandBatch, HandPrediction, Hypotheses

SHEET = "hypotheses.png"
#: Side of the pictures of a hand, and of a cell of the contact sheet, pixels.
SIDE, CELL = 448, 224
_OF_A_HAND = ("vertices_root", "joints_root", "joints_2d", "pose", "betas")

HYPOTHESIS_CONVENTIONS = (
    CONVENTIONS + " Arrays named point_* are the point estimate. vertices_cam, joints_cam, joints_2d, root_cam, pose, "
    "betas: one row for each of the S hypotheses, in the order they were drawn, each placed by its own root_cam. "
    "joints_2d_crop: the method's own projection of each hypothesis, pixels of the crop; joints_2d: through the "
    "pinhole camera intrinsics, pixels of the source picture. crop_transform: affine map from source picture pixels to "
    "crop pixels, which mirrors a left hand. camera: weak perspective (s, tx, ty) of the point estimate: crop pixel = "
    "s (m x, y) + (tx, ty) of its wrist-relative joints, m = -1 for a left hand, else 1. log_prob: log-density of what "
    "was drawn, nats, in the method's own space (pose coefficients of a flow at the given temperature, vertices of a "
    "Gaussian at temperature 1); comparable between the hypotheses of one image only; NaN where there is none. "
    "temperature: factor on the spread of what was drawn. vertex_scale, joint_scale: stated by the method, for "
    "temperature 1. visible: 1 seen, 0 hidden, -1 not known. index: position in the dataset."
)


class HypothesisExport(pl.Callback):
    """While predicting, draws hypotheses of chosen hands and writes what they look like and every number of them.

    A folder for each hand holds the crop, all skeletons over it and from the side, the mean hand coloured by the
    stated scale of its vertices, mean hand and first hypotheses as meshes, and ``hypotheses.npz``.
    ``hypotheses.png`` is a contact sheet of all chosen hands. Works for every method and every dataset, photographs
    included. Without a chosen hand it does nothing.

    Args:
        count: Hands, spread evenly over the dataset.
        keys: Further hands by key, as in the data: ``SEQUENCE/FRAME``, or ``PICTURE#NUMBER`` of an own folder.
        indices: Further hands by position in the dataset, from 0.
        num_hypotheses: Drawn for each hand.
        num_meshes: The first of them also become mesh files.
        temperature: Factor on the spread of what is drawn.
        mesh_format: ``"obj"``, ``"ply"`` or ``"glb"``; in the axes of the other meshes that ``predict`` writes.
        scale_range_mm: What the brightest colour of a scale stands for.
        out: Folder; ``hypotheses`` in the run folder by default.
    """

    def __init__(
        self,
        count: int = 0,
        keys: Sequence[str] = (),
        indices: Sequence[int] = (),
        num_hypotheses: int = 50,
        num_meshes: int = 5,
        temperature: float = 1.0,
        mesh_format: Literal["obj", "ply", "glb"] = "obj",
        scale_range_mm: float = 1000 * drawing.SCALE_RANGE_M,
        out: str | None = None,
    ) -> None:
        for name, value, least in (("count", count, 0), ("num_hypotheses", num_hypotheses, 1)):
            if value < least:
                raise InputError(f"{name} of the hypothesis export is {value}; expected at least {least}")
        if not 0 <= num_meshes <= num_hypotheses:
            raise InputError(f"num_meshes is {num_meshes}; expected 0 to num_hypotheses, {num_hypotheses}")
        if scale_range_mm <= 0:
            raise InputError(f"scale_range_mm is {scale_range_mm}; expected a positive number")
        self.count = count
        self.keys = frozenset(keys)
        self.indices = list(indices)
        self.num_hypotheses = num_hypotheses
        self.num_meshes = num_meshes
        self.temperature = temperature
        self.mesh_format = mesh_format
        self.scale_range_m = scale_range_mm / 1000
        self.out = out
        self.chosen: set[int] = set()
        self.rows: dict[int, list[np.ndarray]] = {}
        self.found: set[str] = set()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the hands.

        Raises:
            InputError: An index lies outside the dataset.
        """
        size = len(trainer.predict_dataloaders.dataset)  # type: ignore[union-attr]
        outside = [index for index in self.indices if not 0 <= index < size]
        if outside:
            raise InputError(f"hand {outside[0]} was asked for; the dataset has hands 0 to {size - 1}")
        spread = np.linspace(0, size - 1, min(self.count, size)).round().astype(int).tolist()
        self.chosen = {*spread, *self.indices}
        self.rows, self.found = {}, set()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and write the chosen hands of the batch; a batch without any costs nothing."""
        names = list(zip(batch.index.tolist(), batch.key, strict=True))
        rows = [row for row, (index, key) in enumerate(names) if index in self.chosen or key in self.keys]
        if not rows:
            return
        prediction: HandPrediction = outputs.prediction
        drawn = prediction.distribution.hypotheses(self.num_hypotheses, self.temperature, vertices=True)
        hand_layer: Any = pl_module.hand
        faces = hand_layer.faces.cpu()
        for row in rows:
            hand = HandOfHypotheses(prediction, drawn, batch, row, faces, self.temperature)
            self.rows[names[row][0]] = self._write(self._folder(trainer) / file_stem(hand.key), hand)
            self.found.add(hand.key)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the contact sheet of all processes' hands.

        Raises:
            InputError: A key was asked for that the dataset does not have.
        """
        if not self.chosen and not self.keys:
            return
        parts = [(self.rows, self.found)] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(parts, (self.rows, self.found))
        rows = {index: row for part, _ in parts for index, row in part.items()}
        if rows and trainer.is_global_zero:
            path = self._folder(trainer) / SHEET
            titles = (
                "crop",
                f"{self.num_hypotheses} hypotheses",
                "the same from the side",
                "mean hand, scale of each vertex",
                *(f"hypothesis {number}" for number in range(self.num_meshes)),
            )
            write_image(path, drawing.contact_sheet([rows[index] for index in sorted(rows)], titles, CELL))
            print(f"hypotheses of {len(rows)} hands: {path.parent}")
        missing = sorted(self.keys.difference(*(found for _, found in parts)))
        if missing:
            raise InputError(
                f"the dataset has no hand with the key {missing[0]}: keys are SEQUENCE/FRAME or FILE#NUMBER"
            )

    def _folder(self, trainer: pl.Trainer) -> Path:
        folder = Path(self.out or Path(trainer.default_root_dir) / "hypotheses")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write(self, folder: Path, hand: "HandOfHypotheses") -> list[np.ndarray]:
        """Write everything of one hand; returns its row of the contact sheet."""
        folder.mkdir(exist_ok=True)
        pictures = {
            "crop": hand.crop,
            "skeletons": hand.skeletons(self.scale_range_m),
            "skeletons_side": hand.skeletons_from_the_side(self.scale_range_m),
            "mean_scale": hand.mean_by_scale(self.scale_range_m),
        }
        for name, picture in pictures.items():
            write_image(folder / f"{name}.png", picture)
        suffix = self.mesh_format
        write_mesh(
            folder / f"mean.{suffix}", hand.mean, drawing.scale_colours(hand.mean.vertex_scale, self.scale_range_m)
        )
        skin = torch.tensor(drawing.SKIN).expand(len(hand.mean.vertices_root), 3)
        shown = hand.hypotheses[: self.num_meshes]
        for number, hypothesis in enumerate(shown):
            write_mesh(folder / f"hypothesis_{number}.{suffix}", hypothesis, skin)
        write_numbers(folder / "hypotheses.npz", **hand.numbers())
        return [*pictures.values(), *(hand.mesh_over_crop(hypothesis) for hypothesis in shown)]


class HandOfHypotheses:
    """One hand of a predicted batch with its hypotheses, on the CPU.

    Pictures are those of the crop: a left hand is mirrored in them.

    Args:
        prediction: Of the whole batch.
        drawn: Hypotheses of the whole batch, with meshes.
        batch: The batch.
        row: Which hand.
        faces: (1538, 3).
        temperature: That the hypotheses were drawn at.
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
        self.crop, self._to_picture = self.point.enlarged(SIDE)

    def skeletons(self, range_m: float) -> np.ndarray:
        """All skeletons over the crop: by visibility where it is known, else by the spread of each joint."""
        joints = torch.stack([hand.joints_2d for hand in self.hypotheses])
        joints = apply_affine(self._to_picture, joints)
        return drawing.draw_skeletons(self.crop, joints.numpy(), self._bone_colours(range_m))

    def skeletons_from_the_side(self, range_m: float) -> np.ndarray:
        """The same, turned by 90 degrees about the vertical axis, with a key to the colours."""
        joints = torch.stack([hand.joints_root for hand in self.hypotheses])
        turned, intrinsics = drawing.side_view(joints.flatten(0, 1))
        # a margin, and room for the key
        place = torch.tensor([[0.85 * SIDE, 0, 0.075 * SIDE], [0, 0.85 * SIDE, 0.03 * SIDE], [0, 0, 1]])
        points = apply_affine(place, (turned @ intrinsics.T)[:, :2] / turned[:, 2:]).unflatten(0, joints.shape[:2])
        picture = drawing.draw_skeletons(self._blank(), points.numpy(), self._bone_colours(range_m))
        if self.visible is None:
            return drawing.add_colour_bar(picture, range_m)
        return drawing.add_legend(picture, (("seen", drawing.SEEN), ("hidden", drawing.HIDDEN)))

    def mean_by_scale(self, range_m: float) -> np.ndarray:
        """The mean of the hypotheses, coloured by the scale that the method states for each vertex."""
        colours = drawing.scale_colours(self.mean.vertex_scale, range_m)
        picture = self._mesh(self._blank(), self.mean, colours, opacity=1)
        return drawing.add_colour_bar(picture, range_m)

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
            return drawing.visibility_colours(self.visible)
        spread = deviation(torch.stack([hand.joints_root for hand in self.hypotheses])[None])[0]
        return drawing.spread_colours(spread, range_m)

    def _mesh(self, image: np.ndarray, hand: PredictedHand, colours: Tensor | None, opacity: float) -> np.ndarray:
        intrinsics = self._to_picture @ hand.intrinsics_crop
        return drawing.draw_mesh(
            image, hand.vertices_root + hand.root_crop, hand.faces_crop, intrinsics, colours, opacity
        )

    def _blank(self) -> np.ndarray:
        return np.full_like(self.crop, drawing.BACKGROUND)
