"""Draws predictions: a contact sheet of a dataset's crops, and full exports of photographs."""

from pathlib import Path

import cv2
import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from handlit.callbacks.output.chosen_hands import ChosenHands
from handlit.callbacks.output.predicted_hand import CELL, CONVENTIONS, TITLES, PredictedHand
from handlit.callbacks.trainer_parts import gathered, hand_data, hand_faces, run_folder
from handlit.formats.hand_files import write_image, write_mesh, write_numbers
from handlit.geometry.cameras import project
from handlit.render.figures import contact_sheet
from handlit.render.overlays import draw_mesh, draw_skeleton
from handlit.types import HandBatch, HandPrediction, Photographs

SHEET = "predictions.png"
#: Of an overlay, pixels.
MAX_SIDE = 4096


class PredictionPictures(ChosenHands):
    """While predicting, draws a contact sheet of a few hands; for photographs, exports every hand.

    Writes ``predictions.png`` into the run folder. For photographs, each hand also gets an overlay on its image (png),
    its mesh (obj, in OpenGL axes so that viewers show it upright) and every number (npz, with its conventions).

    Args:
        count: Hands on the contact sheet, spread evenly over the dataset.
        out: Folder; ``photos`` in the run folder for photographs and the run folder itself otherwise.
    """

    def __init__(self, count: int = 8, out: str | None = None) -> None:
        super().__init__(count, 0, out)
        self.photographs: Photographs | None = None
        self.rows: dict[int, list[np.ndarray]] = {}

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_predict_start(trainer, pl_module)
        data = hand_data(trainer)
        self.photographs = data if isinstance(data, Photographs) else None
        self.rows = {}

    @override
    def chosen_rows(self, batch: HandBatch) -> list[int]:
        return super().chosen_rows(batch) if self.photographs is None else list(range(len(batch)))

    @override
    def show(
        self, trainer: Trainer, method: LightningModule, prediction: HandPrediction, batch: HandBatch, rows: list[int]
    ) -> None:
        faces = hand_faces(method)
        for row in rows:
            hand, index = PredictedHand(prediction, batch, row, faces), int(batch.index[row])
            if index in self.chosen:
                self.rows[index] = hand.sheet_row()
            if self.photographs is not None:
                image = self.photographs.source_image(hand.key).numpy()
                export(hand, image, self.photographs.camera_assumed(hand.key), self._folder(trainer))

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rows = {index: row for part in gathered(self.rows) for index, row in part.items()}
        if rows and trainer.is_global_zero:
            path = self._folder(trainer) / SHEET
            write_image(path, contact_sheet([rows[index] for index in sorted(rows)], TITLES, CELL))
            print(f"drawings of the predictions: {path}")

    def _folder(self, trainer: Trainer) -> Path:
        run = run_folder(trainer)
        return self.out or (run.path if self.photographs is None else run.photos)


def _reduced(image: np.ndarray) -> tuple[np.ndarray, Tensor]:
    """An image of at most `MAX_SIDE` pixels a side, and the matrix (3, 3) from the pixels of the whole one to its."""
    factor = -(-max(image.shape[:2]) // MAX_SIDE)
    if factor > 1:
        width, height = (max(1, side // factor) for side in image.shape[1::-1])
        image = cv2.resize(image[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA)
    # pixel centres: (u + 0.5) shrinks, not u
    offset = (1 / factor - 1) / 2
    return image, torch.tensor([[1 / factor, 0, offset], [0, 1 / factor, offset], [0, 0, 1]])


def export(hand: PredictedHand, image: np.ndarray, intrinsics_assumed: bool, folder: Path) -> None:
    """Write one hand of a photograph: overlay (png), mesh (obj) and every number (npz).

    The overlay of a larger image than `MAX_SIDE` is a half, a third ... of its size.

    Args:
        hand: The predicted hand.
        image: (H, W, 3) uint8 RGB, the whole source image.
        intrinsics_assumed: The camera was not known but assumed.
        folder: Where to write; names come from the hand's key.
    """
    image, to_overlay = _reduced(image)
    intrinsics = to_overlay @ hand.intrinsics
    overlay = draw_mesh(image, hand.vertices_cam, hand.faces, intrinsics)
    overlay = draw_skeleton(overlay, project(hand.joints_cam, intrinsics).numpy())
    write_image(folder / f"{hand.file_stem}.png", overlay)
    write_mesh(folder / f"{hand.file_stem}.obj", hand.vertices_cam, hand.faces)
    write_numbers(
        folder / f"{hand.file_stem}.npz",
        key=hand.key,
        hand=hand.side,
        intrinsics_assumed=intrinsics_assumed,
        conventions=CONVENTIONS,
        **{name: value.numpy() for name, value in hand.numbers().items()},
    )
