"""What a prediction looks like: a contact sheet of a dataset's crops, and full exports of photographs."""

import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
import trimesh
from torch import Tensor

from handlit.geometry.cameras import fit_root, flip_opengl, project
from handlit.render import overlays as drawing
from handlit.types import HandBatch, HandPrediction, Photographs

log = logging.getLogger(__name__)

SHEET = "predictions.png"
TITLES = ("crop", "2D joints", "mesh", "mesh, from the side", "scale (yellow: 30 mm)")
CELL = 224

CONVENTIONS = (
    "OpenCV camera axes (x right, y down, z forward), metres, radians, pixels with (0, 0) at the centre of the "
    "top-left pixel. Joints: wrist, then thumb, index, middle, ring, pinky from base to tip. vertices_cam, joints_cam: "
    "in the frame of the camera given by intrinsics. root_cam is fitted to the predicted 2D joints with "
    "these intrinsics: its depth is as good as the focal length (intrinsics_assumed tells whether it was assumed). "
    "pose: 16 rotation vectors, global first, a flat hand is zero; betas: shape. hand tells the side: a left hand's "
    "pose belongs to the right-hand model mirrored in x. *_scale: standard deviation per coordinate, metres."
)


def _photographs(trainer: pl.Trainer) -> Photographs | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, Photographs) else None


class PredictionPictures(pl.Callback):
    """While predicting, draws a contact sheet of a few hands; for photographs, exports every hand.

    Writes ``predictions.png`` into the run folder. For photographs, each hand also gets an overlay on its picture
    (png), its mesh (obj, in OpenGL axes so that viewers show it upright) and every number (npz, with its conventions).

    Args:
        count: Hands on the contact sheet, spread evenly over the dataset.
        out: Folder; ``photos`` in the run folder for photographs and the run folder itself otherwise.
    """

    def __init__(self, count: int = 8, out: str | None = None) -> None:
        self.count = count
        self.out = out
        self.rows: dict[int, list[np.ndarray]] = {}
        self.chosen: set[int] = set()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start an empty sheet and choose its hands."""
        size = len(trainer.predict_dataloaders.dataset)  # type: ignore[union-attr]
        self.rows = {}
        self.chosen = set(np.linspace(0, size - 1, min(self.count, size)).round().astype(int).tolist())

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: HandBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and export the batch."""
        photographs = _photographs(trainer)
        if not trainer.is_global_zero:
            return
        hand_layer: Any = pl_module.hand
        faces = hand_layer.faces.cpu()
        for row, index in enumerate(batch.index.tolist()):
            if photographs is None and index not in self.chosen:
                continue
            hand = PredictedHand(outputs.prediction, batch, row, faces)
            if index in self.chosen:
                self.rows[index] = hand.sheet_row()
            if photographs is not None:
                picture = photographs.source_image(hand.key).numpy()
                export(hand, picture, photographs.camera_assumed(hand.key), self._folder(trainer))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the contact sheet."""
        if trainer.is_global_zero and self.rows:
            path = self._folder(trainer) / SHEET
            rows = [self.rows[index] for index in sorted(self.rows)]
            write_image(path, drawing.contact_sheet(rows, TITLES, CELL))
            print(f"pictures of the predictions: {path}")

    def _folder(self, trainer: pl.Trainer) -> Path:
        inside = "photos" if _photographs(trainer) is not None else ""
        folder = Path(self.out or Path(trainer.default_root_dir) / inside)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class PredictedHand:
    """One hand of a predicted batch, on the CPU.

    The crop may be a mirrored left hand: ``*_crop`` quantities live in the (mirrored) crop, ``*_cam`` ones in the
    camera of the source picture, mirrored back.

    Args:
        prediction: Of the whole batch.
        batch: The batch.
        row: Which hand.
        faces: (1538, 3).
    """

    def __init__(self, prediction: HandPrediction, batch: HandBatch, row: int, faces: Tensor) -> None:
        def pick(values: Tensor) -> Tensor:
            return values[row].detach().float().cpu()

        self.key = batch.key[row]
        self.image = batch.image[row].permute(1, 2, 0).cpu().numpy()
        self.intrinsics_crop = pick(batch.intrinsics)
        self.transform = pick(batch.crop_transform).double()
        self.vertices_root = pick(prediction.vertices_root)
        self.joints_root = pick(prediction.joints_root)
        self.joints_2d = pick(prediction.joints_2d)
        self.vertex_scale = pick(prediction.vertex_scale)
        self.joint_scale = pick(prediction.joint_scale)
        self.pose = None if prediction.pose is None else pick(prediction.pose)
        self.betas = None if prediction.betas is None else pick(prediction.betas)
        # a crop that turns the picture's orientation round shows a left hand, mirrored
        self.side = "left" if torch.linalg.det(self.transform[:, :2]) < 0 else "right"
        self.mirror = torch.tensor([-1.0 if self.side == "left" else 1.0, 1.0, 1.0])
        self.faces_crop = faces
        self.faces = faces.flip(1) if self.side == "left" else faces
        self.root_crop = fit_root(self.joints_root, self.joints_2d, self.intrinsics_crop)
        self.root_cam = self.root_crop * self.mirror

    @property
    def intrinsics(self) -> Tensor:
        """(3, 3) of the source picture: the crop's camera with the crop undone."""
        to_crop = torch.cat([self.transform, self.transform.new_tensor([[0, 0, 1]])])
        return (torch.linalg.inv(to_crop) @ self.intrinsics_crop.double() * self.mirror.double()).float()

    @property
    def vertices_cam(self) -> Tensor:
        """(778, 3) in the source picture's camera, metres."""
        return self.vertices_root * self.mirror + self.root_cam

    @property
    def joints_cam(self) -> Tensor:
        """(21, 3) in the source picture's camera, metres."""
        return self.joints_root * self.mirror + self.root_cam

    def enlarged(self, side: int) -> tuple[np.ndarray, Tensor]:
        """The crop as a picture (side, side, 3), and the matrix (3, 3) from crop pixels to its pixels."""
        grow = side / self.image.shape[0]
        crop = cv2.resize(self.image, (side, side), interpolation=cv2.INTER_CUBIC)
        # pixel centres: (u + 0.5) grows, not u
        return crop, torch.tensor([[grow, 0, (grow - 1) / 2], [0, grow, (grow - 1) / 2], [0, 0, 1]])

    def sheet_row(self) -> list[np.ndarray]:
        """The hand's pictures for a contact sheet, in the order of `TITLES`."""
        crop, to_cell = self.enlarged(CELL)
        intrinsics = to_cell @ self.intrinsics_crop
        vertices = self.vertices_root + self.root_crop
        blank = np.full_like(crop, drawing.BACKGROUND)
        turned, unit_intrinsics = drawing.side_view(self.vertices_root)
        side_intrinsics = unit_intrinsics * unit_intrinsics.new_tensor([[CELL], [CELL], [1]])
        colours = drawing.scale_colours(self.vertex_scale)
        return [
            crop,
            drawing.draw_skeleton(crop, apply_affine(to_cell, self.joints_2d).numpy()),
            drawing.draw_mesh(crop, vertices, self.faces_crop, intrinsics),
            drawing.draw_mesh(blank, turned, self.faces_crop, side_intrinsics, opacity=1),
            drawing.draw_mesh(blank, vertices, self.faces_crop, intrinsics, colours, opacity=1),
        ]

    def numbers(self) -> dict[str, Tensor]:
        """Everything in the source picture's camera and pixels, by the names of `CONVENTIONS`."""
        numbers = {
            "vertices_cam": self.vertices_cam,
            "joints_cam": self.joints_cam,
            "joints_2d": project(self.joints_cam, self.intrinsics),
            "root_cam": self.root_cam,
            "intrinsics": self.intrinsics,
            "vertex_scale": self.vertex_scale,
            "joint_scale": self.joint_scale,
            "faces": self.faces,
        }
        if self.pose is not None:
            # mirroring x keeps the x of a rotation vector and turns its y and z round
            turned = torch.tensor([1.0, -1.0, -1.0]) if self.side == "left" else torch.ones(3)
            numbers["pose"] = (self.pose.view(16, 3) * turned).view(48)
        if self.betas is not None:
            numbers["betas"] = self.betas
        return numbers


def apply_affine(matrix: Tensor, points_2d: Tensor) -> Tensor:
    """Points (..., 2) moved by an affine matrix (3, 3)."""
    return points_2d @ matrix[:2, :2].T + matrix[:2, 2]


def file_stem(key: str) -> str:
    """Name for the files of the hand with this key."""
    return key.replace("/", "_").replace("#", "_")


def export(hand: PredictedHand, picture: np.ndarray, intrinsics_assumed: bool, folder: Path) -> None:
    """Write one hand of a photograph: overlay (png), mesh (obj) and every number (npz).

    Args:
        hand: The predicted hand.
        picture: (H, W, 3) uint8 RGB, the whole source picture.
        intrinsics_assumed: The camera was not known but assumed.
        folder: Where to write; names come from the hand's key.
    """
    stem = file_stem(hand.key)
    overlay = drawing.draw_mesh(picture, hand.vertices_cam, hand.faces, hand.intrinsics)
    overlay = drawing.draw_skeleton(overlay, project(hand.joints_cam, hand.intrinsics).numpy())
    write_image(folder / f"{stem}.png", overlay)
    # OpenCV to OpenGL axes is a rotation, so the faces keep their orientation
    mesh = trimesh.Trimesh(flip_opengl(hand.vertices_cam).numpy(), hand.faces.numpy(), process=False)
    _write(folder / f"{stem}.obj", str(mesh.export(file_type="obj")).encode())
    write_numbers(
        folder / f"{stem}.npz",
        hand=hand.side,
        intrinsics_assumed=intrinsics_assumed,
        conventions=CONVENTIONS,
        **{name: value.numpy() for name, value in hand.numbers().items()},
    )


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 RGB as png; the file appears when it is whole."""
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise RuntimeError(f"{path}: the picture cannot be encoded")
    _write(path, data.tobytes())


def write_numbers(path: Path, **arrays: Any) -> None:
    """Write arrays as npz; the file appears when it is whole."""
    partial = path.with_name(f".{path.stem}.part.npz")
    np.savez_compressed(partial, **arrays)
    os.replace(partial, path)


def _write(path: Path, data: bytes) -> None:
    """Write under a temporary name first: a file with the final name is whole."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data)
    os.replace(partial, path)
