"""Writes hands as textured meshes while predicting."""

from pathlib import Path

from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from handlit.callbacks.output.chosen_hands import ChosenHands
from handlit.callbacks.output.predicted_hand import PredictedHand
from handlit.callbacks.trainer_parts import hand_faces, run_folder
from handlit.errors import InputError, check_choice
from handlit.formats.hand_files import MeshFormat, write_mesh
from handlit.types import HandBatch, HandPrediction, TexturedMethod


class TexturedMeshes(ChosenHands):
    """While predicting, writes chosen hands as meshes with a colour for every vertex.

    Hidden parts of the hand have the colours that the network completes. Meshes are in OpenGL axes and metres, in the
    camera frame of the source image, so that viewers show them upright; a left hand is mirrored back. The colours are
    computed only for batches with a chosen hand, by one more forward pass of the network.

    Args:
        count: Hands, spread evenly over the dataset.
        format: ``"glb"`` (binary glTF: viewers, browsers), ``"ply"`` or ``"obj"`` (colours follow the coordinates of
            each vertex).
        out: Folder; ``meshes`` in the run folder by default.
    """

    def __init__(self, count: int = 8, format: MeshFormat = "glb", out: str | None = None) -> None:
        super().__init__(count, 1, out)
        check_choice("format", format, MeshFormat)
        self.format = format

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose the hands.

        Raises:
            InputError: The method has no colours.
        """
        if not isinstance(pl_module, TexturedMethod):
            raise InputError(f"{type(pl_module).__name__} does not colour its meshes: remove TexturedMeshes")
        super().on_predict_start(trainer, pl_module)

    @override
    def show(
        self, trainer: Trainer, method: LightningModule, prediction: HandPrediction, batch: HandBatch, rows: list[int]
    ) -> None:
        if not isinstance(method, TexturedMethod):
            return
        colours, faces = method.colours(batch).cpu(), hand_faces(method)
        for row in rows:
            hand = PredictedHand(prediction, batch, row, faces)
            path = self._folder(trainer) / f"{hand.file_stem}.{self.format}"
            write_mesh(path, hand.vertices_cam, hand.faces, colours[row])

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            print(f"textured meshes: {self._folder(trainer)}")

    def _folder(self, trainer: Trainer) -> Path:
        return self.out or run_folder(trainer).meshes
