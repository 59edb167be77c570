"""Labels of a batch in the form on which methods that predict a mesh are trained."""

from dataclasses import dataclass

import torch
from torch import Tensor

from handlit.geometry.cameras import project
from handlit.types import HandBatch


@dataclass
class MeshLabels:
    """Root-relative labels and their validity.

    Attributes:
        vertices_root: (B, 778, 3) metres, the dataset's wrist at the origin.
        vertices_valid: (B,) bool.
        joints_root: (B, 21, 3) metres, wrist at the origin.
        joints_valid: (B,) bool.
        joints_2d: (B, 21, 2) crop pixels.
        joints_2d_valid: (B,) bool.
        joints_2d_weight: (B, 21) from 0 to 1: 1 where the mesh gives them, otherwise `HandBatch.weight_2d`.
    """

    vertices_root: Tensor
    vertices_valid: Tensor
    joints_root: Tensor
    joints_valid: Tensor
    joints_2d: Tensor
    joints_2d_valid: Tensor
    joints_2d_weight: Tensor

    @property
    def any_valid(self) -> Tensor:
        """(B,) bool, images with a label of any kind."""
        return self.vertices_valid | self.joints_valid | self.joints_2d_valid


def mesh_labels(batch: HandBatch, joint_matrix: Tensor) -> MeshLabels:
    """Labels for a network whose joints are regressed from its mesh.

    Where the mesh is known, its joints and their projections are regressed from it with the network's own matrix.
    The dataset's joints may be defined otherwise (those of HO-3D are the joints that the fingers rotate about, 3 mm
    away on average): a perfect mesh would then still have a loss. Images without a mesh are trained on the dataset's
    joints. A mesh that reaches behind the camera has no projection.

    Args:
        batch: Images and labels.
        joint_matrix: (21, 778), `HandLayer.joint_matrix`.

    Returns:
        Labels.
    """
    vertices_valid = batch.valid["vertices_cam"] & batch.valid["root_cam"]
    with torch.autocast(batch.image.device.type, enabled=False):
        regressed = joint_matrix @ batch.vertices_cam
        joints_cam = torch.where(vertices_valid[:, None, None], regressed, batch.joints_cam)
        # nothing behind a pinhole camera has an image, and unknown meshes are zeros
        in_front = (regressed[..., 2] > 0).all(1)
        projectable = vertices_valid & in_front
        joints_2d = torch.where(projectable[:, None, None], project(regressed, batch.intrinsics), batch.joints_2d)
        weight_2d = torch.where(vertices_valid[:, None], in_front[:, None].to(batch.confidence), batch.weight_2d)
    return MeshLabels(
        vertices_root=batch.vertices_cam - batch.root_cam[:, None],
        vertices_valid=vertices_valid,
        joints_root=joints_cam - joints_cam[:, :1],
        joints_valid=vertices_valid | batch.valid["joints_cam"],
        joints_2d=joints_2d,
        joints_2d_valid=(weight_2d > 0).any(1),
        joints_2d_weight=weight_2d,
    )


@dataclass
class ImageLabels:
    """Labels that the image alone provides.

    Attributes:
        joints_2d: (B, 21, 2) crop pixels.
        weight: (B, 21) from 0 to 1; 0 for a joint that is not labelled.
    """

    joints_2d: Tensor
    weight: Tensor

    @property
    def valid(self) -> Tensor:
        """(B, 21) bool, joints that are labelled."""
        return self.weight > 0

    @property
    def any_valid(self) -> Tensor:
        """(B,) bool, images with a labelled joint."""
        return self.valid.any(1)


def image_labels(batch: HandBatch, visible_only: bool = False) -> ImageLabels:
    """The dataset's own 2D joints; no 3D label is read.

    Args:
        batch: Images and labels.
        visible_only: Leave out joints that are not visible; images without visibility keep all.

    Returns:
        Labels.
    """
    weight = batch.weight_2d
    if visible_only:
        weight = weight * (batch.visible | ~batch.valid["visible"][:, None])
    return ImageLabels(batch.joints_2d, weight)
