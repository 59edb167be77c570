"""While predicting, writes the hypotheses of chosen hands: to look at, and as numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from handlit.callbacks.output.chosen_hands import ChosenHands
from handlit.callbacks.output.hand_of_hypotheses import HandOfHypotheses
from handlit.callbacks.trainer_parts import gathered, hand_faces, num_predicted, run_folder
from handlit.errors import InputError, check_choice, check_number
from handlit.formats.hand_files import MeshFormat, write_image, write_mesh, write_numbers
from handlit.render.figures import contact_sheet
from handlit.render.overlays import SCALE_RANGE_M, SKIN, scale_colours
from handlit.types import HandBatch, HandPrediction

SHEET = "hypotheses.png"
#: Side of a cell of the contact sheet, pixels.
CELL = 224


class HypothesisExport(ChosenHands):
    """While predicting, draws hypotheses of chosen hands and writes drawings and every number of them.

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
        mesh_format: MeshFormat = "obj",
        scale_range_mm: float = 1000 * SCALE_RANGE_M,
        out: str | None = None,
    ) -> None:
        super().__init__(count, 0, out)
        check_number("num_hypotheses of the hypothesis export", num_hypotheses, least=1, whole=True)
        check_number("num_meshes", num_meshes, least=0, most=num_hypotheses, whole=True)
        check_number("temperature", temperature, least=0)
        check_number("scale_range_mm", scale_range_mm, above=0)
        check_choice("mesh_format", mesh_format, MeshFormat)
        self.keys = frozenset(keys)
        self.indices = list(indices)
        self.num_hypotheses = num_hypotheses
        self.num_meshes = num_meshes
        self.temperature = temperature
        self.mesh_format = mesh_format
        self.scale_range_m = scale_range_mm / 1000
        #: Of the hands written by this process: rows of the contact sheet by index, and keys.
        self.rows: dict[int, list[np.ndarray]] = {}
        self.written: set[str] = set()

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the hands.

        Raises:
            InputError: An index lies outside the dataset.
        """
        super().on_predict_start(trainer, pl_module)
        size = num_predicted(trainer)
        outside = [index for index in self.indices if not 0 <= index < size]
        if outside:
            raise InputError(f"hand {outside[0]} was asked for; the dataset has hands 0 to {size - 1}")
        self.chosen |= set(self.indices)
        self.rows, self.written = {}, set()

    @override
    def chosen_rows(self, batch: HandBatch) -> list[int]:
        by_key = [row for row, key in enumerate(batch.key) if key in self.keys]
        return sorted({*super().chosen_rows(batch), *by_key})

    @override
    def show(
        self, trainer: Trainer, method: LightningModule, prediction: HandPrediction, batch: HandBatch, rows: list[int]
    ) -> None:
        drawn = prediction.distribution.hypotheses(self.num_hypotheses, self.temperature, vertices=True, density=True)
        faces = hand_faces(method)
        for row in rows:
            hand = HandOfHypotheses(prediction, drawn, batch, row, faces, self.temperature)
            self.rows[hand.index] = self._write(self._folder(trainer) / hand.point.file_stem, hand)
            self.written.add(hand.key)

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the contact sheet of all processes' hands.

        Raises:
            InputError: A key was asked for that the dataset does not have.
        """
        if not self.chosen and not self.keys:
            return
        parts = gathered((self.rows, self.written))
        rows = {index: row for part, _ in parts for index, row in part.items()}
        if rows and trainer.is_global_zero:
            titles = (
                "crop",
                f"{self.num_hypotheses} hypotheses",
                "the same from the side",
                "mean hand, scale of each vertex",
                *(f"hypothesis {number}" for number in range(self.num_meshes)),
            )
            sheet = contact_sheet([rows[index] for index in sorted(rows)], titles, CELL)
            write_image(self._folder(trainer) / SHEET, sheet)
            print(f"hypotheses of {len(rows)} hands: {self._folder(trainer)}")
        missing = sorted(self.keys.difference(*(written for _, written in parts)))
        if missing:
            raise InputError(
                f"the dataset has no hand with the key {missing[0]}: keys are SEQUENCE/FRAME or FILE#NUMBER"
            )

    def _folder(self, trainer: Trainer) -> Path:
        return self.out or run_folder(trainer).hypotheses

    def _write(self, folder: Path, hand: HandOfHypotheses) -> list[np.ndarray]:
        """Write everything of one hand; returns its row of the contact sheet."""
        images = {
            "crop": hand.crop,
            "skeletons": hand.skeletons(self.scale_range_m),
            "skeletons_side": hand.skeletons_from_the_side(self.scale_range_m),
            "mean_scale": hand.mean_by_scale(self.scale_range_m),
        }
        for name, image in images.items():
            write_image(folder / f"{name}.png", image)
        suffix = self.mesh_format
        mean, mean_colours = hand.mean, scale_colours(hand.mean.vertex_scale, self.scale_range_m)
        write_mesh(folder / f"mean.{suffix}", mean.vertices_cam, mean.faces, mean_colours)
        skin = torch.tensor(SKIN).expand(len(hand.mean.vertices_root), 3)
        shown = hand.hypotheses[: self.num_meshes]
        for number, hypothesis in enumerate(shown):
            write_mesh(folder / f"hypothesis_{number}.{suffix}", hypothesis.vertices_cam, hypothesis.faces, skin)
        write_numbers(folder / "hypotheses.npz", **hand.numbers())
        return [*images.values(), *(hand.mesh_over_crop(hypothesis) for hypothesis in shown)]
