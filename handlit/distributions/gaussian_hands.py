"""A Gaussian over meshes as a method's prediction: hands are drawn with their joints and projections."""

import torch
from torch import Tensor
from torch.distributions import Normal

from handlit.distributions.cameras import Camera
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.geometry.cameras import normalised_to_crop
from handlit.skeleton import WRIST
from handlit.types import Hypotheses


class GaussianHands(MeshGaussian):
    """A `MeshGaussian` that implements `HandDistribution` and `KnownJointDensity`.

    Args:
        mesh: Distribution of the vertices, wrist at the origin.
        joint_matrix: (21, 778), `HandLayer.joint_matrix`.
        camera: Projects root-relative points to [-1, 1] over the crop.
        image_size: Side of the square crops, pixels.
    """

    def __init__(self, mesh: MeshGaussian, joint_matrix: Tensor, camera: Camera, image_size: int) -> None:
        super().__init__(mesh.mean, mesh.own_scale, mesh.factor)
        self.joint_matrix = joint_matrix
        self.camera = camera
        self.image_size = image_size

    def joint_density(self, temperature: float = 1.0) -> Normal:
        """See `KnownJointDensity.joint_density`."""
        return self.tempered(temperature).marginal(self.joint_matrix, relative_to=WRIST)

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        """See `HandDistribution.hypotheses`; joints and projections are those of the drawn mesh.

        Joints have the drawn mesh's wrist at the origin. The vertices are those that the density is of: their own wrist
        scatters about the origin, by their scale.

        The density is that of the mesh, at temperature 1 whatever the temperature of the draw.
        """
        drawn = self.tempered(temperature).rsample(torch.Size((count,)))
        with torch.autocast(drawn.device.type, enabled=False):
            # one matrix product; that of each mesh has three columns only, which takes twice as long
            coordinates = drawn.mT.reshape(-1, drawn.shape[-2]) @ self.joint_matrix.float().T
        joints = coordinates.unflatten(0, (*drawn.shape[:2], 3)).permute(1, 0, 3, 2)
        joints = joints - joints[:, :, WRIST, None]
        points = joints.flatten(1, 2)
        projected = self.camera.project(Normal(points, torch.zeros_like(points), validate_args=False)).mean
        return Hypotheses(
            joints_root=joints,
            joints_2d=normalised_to_crop(projected, self.image_size).unflatten(1, joints.shape[1:3]),
            vertices_root=drawn.transpose(0, 1) if vertices else None,
            log_prob=self.log_prob(drawn).T if density else None,
        )
