"""Writes hands as textured meshes while predicting."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
import trimesh
from torch import Tensor

from handlit.callbacks.output.pictures import PredictedHand
from handlit.errors import InputError
from handlit.geometry.cameras import flip_opengl
from handlit.types import HandBatch, TexturedMethod


class TexturedMeshes(pl.Callback):
    """While predicting, writes chosen hands as meshes with a colour for every vertex.

    Hidden parts of the hand have the colours that the network completes. Meshes are in OpenGL axes and metres, in the
    camera frame of the source picture, so that viewers show them upright; a left hand is mirrored back. The colours are
    computed for the batches that hold a chosen hand only, by one more forward of the network.

    Args:
        count: Hands, spread evenly over the dataset.
        format: ``"glb"`` (binary glTF: viewers, browsers), ``"ply"`` or ``"obj"`` (colours follow the coordinates of
            each vertex).
        out: Folder; ``meshes`` in the run folder by default.
    """

    def __init__(self, count: int = 8, format: Literal["glb", "ply", "obj"] = "glb", out: str | None = None) -> None:
        if count < 1:
            raise InputError(f"count of the textured meshes is {count}; expected at least 1")
        self.count = count
        self.format = format
        self.out = out
        self.chosen: set[int] = set()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the hands.

        Raises:
            InputError: The method has no colours.
        """
        if not isinstance(pl_module, TexturedMethod):
            raise InputError(f"{type(pl_module).__name__} does not colour its meshes: remove TexturedMeshes")
        size = len(trainer.predict_dataloaders.dataset)  # type: ignore[union-attr]
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
        """Write the chosen hands of the batch."""
        rows = [row for row, index in enumerate(batch.index.tolist()) if index in self.chosen]
        if not rows:
            return
        method: Any = pl_module
        colours = method.colours(batch).cpu()
        faces = method.hand.faces.cpu()
        folder = Path(self.out or Path(trainer.default_root_dir) / "meshes")
        folder.mkdir(parents=True, exist_ok=True)
        for row in rows:
            hand = PredictedHand(outputs.prediction, batch, row, faces)
            name = hand.key.replace("/", "_").replace("#", "_")
            write_mesh(folder / f"{name}.{self.format}", hand, colours[row])

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say where they are."""
        if trainer.is_global_zero:
            print(f"textured meshes: {Path(self.out or Path(trainer.default_root_dir) / 'meshes')}")


def write_mesh(path: Path, hand: PredictedHand, colours: Tensor) -> None:
    """Write one coloured hand.

    Args:
        path: The file; its suffix names the format.
        hand: The predicted hand.
        colours: (778, 3) RGB in [0, 1].
    """
    rgb = (colours.clamp(0, 1) * 255).round().byte().numpy()
    # OpenCV to OpenGL axes is a rotation, so the faces keep their orientation
    vertices = flip_opengl(hand.vertices_cam).numpy()
    mesh = trimesh.Trimesh(vertices, hand.faces.numpy(), vertex_colors=rgb, process=False)
    written: Any = mesh.export(file_type=path.suffix[1:])
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(written.encode() if isinstance(written, str) else written)
    os.replace(partial, path)
