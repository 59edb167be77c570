"""One hand of a predicted batch: in its crop, in the source image's camera, as images and as numbers."""

import cv2
import numpy as np
import torch
from torch import Tensor

from handlit.files import file_stem
from handlit.geometry.cameras import fit_root, project
from handlit.geometry.mirroring import mirrored_points, mirrored_rotation_vectors
from handlit.render.figures import BACKGROUND, side_view
from handlit.render.overlays import SCALE_RANGE_M, draw_mesh, draw_skeleton, scale_colours
from handlit.types import HandBatch, HandPrediction

#: Columns of a contact sheet of hands, and the side of its cells, pixels.
TITLES = ("crop", "2D joints", "mesh", "mesh, from the side", f"scale (yellow: {1000 * SCALE_RANGE_M:g} mm)")
CELL = 224

CONVENTIONS = (
    "OpenCV camera axes (x right, y down, z forward), metres, radians, pixels with (0, 0) at the centre of the "
    "top-left pixel. Joints: wrist, then thumb, index, middle, ring, pinky from base to tip. vertices_cam, joints_cam: "
    "in the frame of the camera given by intrinsics. root_cam is fitted to the predicted 2D joints with "
    "these intrinsics: its depth is as good as the focal length (intrinsics_assumed says whether it was assumed). "
    "pose: 16 rotation vectors, global first, a flat hand is zero; betas: shape. hand is the side: a left hand's "
    "pose belongs to the right-hand model mirrored in x. *_scale: standard deviation per coordinate, metres."
)


class PredictedHand:
    """One hand of a predicted batch, on the CPU.

    The crop may be a mirrored left hand: ``*_crop`` quantities live in the (mirrored) crop, ``*_cam`` ones in the
    camera of the source image, mirrored back.

    Args:
        prediction: Of the whole batch.
        batch: The batch.
        row: Position of the hand in the batch.
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
        # a crop that reverses the image's orientation shows a left hand, mirrored
        self.side = "left" if torch.linalg.det(self.transform[:, :2]) < 0 else "right"
        self.faces_crop = faces
        self.faces = faces.flip(1) if self.side == "left" else faces
        self.root_crop = fit_root(self.joints_root, self.joints_2d, self.intrinsics_crop)

    @property
    def file_stem(self) -> str:
        """Name for the hand's files, which no other hand has."""
        return file_stem(self.key)

    @property
    def intrinsics(self) -> Tensor:
        """(3, 3) of the source image: the crop's camera with the crop undone."""
        to_crop = torch.cat([self.transform, self.transform.new_tensor([[0, 0, 1]])])
        return self._from_crop(torch.linalg.inv(to_crop) @ self.intrinsics_crop.double()).float()

    @property
    def root_cam(self) -> Tensor:
        """(3,) wrist in the source image's camera, metres."""
        return self._from_crop(self.root_crop)

    @property
    def vertices_cam(self) -> Tensor:
        """(778, 3) in the source image's camera, metres."""
        return self._from_crop(self.vertices_root) + self.root_cam

    @property
    def joints_cam(self) -> Tensor:
        """(21, 3) in the source image's camera, metres."""
        return self._from_crop(self.joints_root) + self.root_cam

    def _from_crop(self, points: Tensor) -> Tensor:
        """Mirror a left hand back, or columns of a camera that projects it."""
        return mirrored_points(points) if self.side == "left" else points

    def enlarged(self, side: int) -> tuple[np.ndarray, Tensor]:
        """The crop at another size (side, side, 3), and the matrix (3, 3) from crop pixels to its pixels."""
        grow = side / self.image.shape[0]
        crop = cv2.resize(self.image, (side, side), interpolation=cv2.INTER_CUBIC)
        # pixel centres: (u + 0.5) grows, not u
        return crop, torch.tensor([[grow, 0, (grow - 1) / 2], [0, grow, (grow - 1) / 2], [0, 0, 1]])

    def sheet_row(self) -> list[np.ndarray]:
        """The hand's images for a contact sheet, in the order of `TITLES`."""
        crop, to_cell = self.enlarged(CELL)
        intrinsics = to_cell @ self.intrinsics_crop
        vertices = self.vertices_root + self.root_crop
        blank = np.full_like(crop, BACKGROUND)
        turned, unit_intrinsics = side_view(self.vertices_root)
        side_intrinsics = unit_intrinsics * unit_intrinsics.new_tensor([[CELL], [CELL], [1]])
        colours = scale_colours(self.vertex_scale)
        return [
            crop,
            draw_skeleton(crop, apply_affine(to_cell, self.joints_2d).numpy()),
            draw_mesh(crop, vertices, self.faces_crop, intrinsics),
            draw_mesh(blank, turned, self.faces_crop, side_intrinsics, opacity=1),
            draw_mesh(blank, vertices, self.faces_crop, intrinsics, colours, opacity=1),
        ]

    def numbers(self) -> dict[str, Tensor]:
        """Everything in the source image's camera and pixels, by the names of `CONVENTIONS`."""
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
            numbers["pose"] = mirrored_rotation_vectors(self.pose) if self.side == "left" else self.pose
        if self.betas is not None:
            numbers["betas"] = self.betas
        return numbers


def apply_affine(matrix: Tensor, points_2d: Tensor) -> Tensor:
    """Points (..., 2) moved by an affine matrix (3, 3)."""
    return points_2d @ matrix[:2, :2].T + matrix[:2, 2]
