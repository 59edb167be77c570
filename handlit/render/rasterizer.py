"""A batched, differentiable rasteriser of triangle meshes in plain torch, on CPU and GPU.

`scanline` finds the visible face of every pixel, without gradients. Depth and barycentric weights are then computed
from the vertices for the covered pixels alone, differentiably.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from handlit.render.scanline import visible_faces


@dataclass(frozen=True, eq=False)
class Fragments:
    """What the pixels of a batch of images see.

    Most pixels of a hand image see no surface, so the P covered pixels of all images are stored as a list; the
    properties spread it over the images.

    Attributes:
        size: Number of images, height, width.
        num_faces: Length F of each image's face list.
        pixels: (P,) int64, ascending positions in the flattened (B, H, W).
        faces: (P,) int64, ``image * F + row`` of the face that each covered pixel sees.
        depths: (P,) z of the visible surface, metres. Differentiable in the vertices.
        weights: (P, 3) perspective-correct barycentric weights of the face's corners, at least 0 with sum 1.
            Differentiable in the vertices.
    """

    size: tuple[int, int, int]
    num_faces: int
    pixels: Tensor
    faces: Tensor
    depths: Tensor
    weights: Tensor

    @classmethod
    def from_images(cls, pix_to_face: Tensor, depth: Tensor, barycentric: Tensor, num_faces: int) -> "Fragments":
        """Fragments from dense images, as other rasterisers give them.

        Args:
            pix_to_face: (B, H, W) row of the visible face in the image's face list, negative on the background.
            depth: (B, H, W) metres.
            barycentric: (B, H, W, 3) perspective-correct.
            num_faces: Length of each image's face list.
        """
        batch, height, width = pix_to_face.shape
        face = pix_to_face.reshape(-1)
        pixels = (face >= 0).nonzero().squeeze(1)
        faces = face[pixels] + torch.div(pixels, height * width, rounding_mode="floor") * num_faces
        size = (batch, height, width)
        return cls(size, num_faces, pixels, faces, depth.reshape(-1)[pixels], barycentric.reshape(-1, 3)[pixels])

    @cached_property
    def pix_to_face(self) -> Tensor:
        """(B, H, W) int64, row of the visible face in the image's face list; -1 on the background."""
        return self.spread(self.faces % self.num_faces, background=-1)

    @cached_property
    def mask(self) -> Tensor:
        """(B, H, W) bool, pixels that see a surface."""
        return self.spread(torch.ones_like(self.pixels, dtype=torch.bool))

    @cached_property
    def depth(self) -> Tensor:
        """(B, H, W) z of the visible surface, metres; 0 on the background. Differentiable in the vertices."""
        return self.spread(self.depths)

    @cached_property
    def barycentric(self) -> Tensor:
        """(B, H, W, 3) weights of the face's corners; 0 on the background. Differentiable in the vertices."""
        return self.spread(self.weights)

    def spread(self, values: Tensor, background: float = 0) -> Tensor:
        """Put values of the covered pixels into images.

        Args:
            values: (P,) or (P, D), of each covered pixel.
            background: Value of the other pixels.

        Returns:
            (B, H, W) or (B, H, W, D), stored channel by channel. Differentiable in the values.
        """
        batch, height, width = self.size
        # one plane at a time: scattering whole rows of few channels is three times slower on CPU
        channels = values[None] if values.dim() == 1 else values.t()
        planes = channels.new_full((len(channels), batch * height * width), background)
        planes = planes.scatter(1, self.pixels.expand(len(channels), -1), channels)
        images = planes.view(-1, batch, height, width)
        return images[0] if values.dim() == 1 else images.permute(1, 2, 3, 0)


class Rasterizer(Protocol):
    """Interface of all rasteriser backends."""

    def __call__(
        self, vertices_cam: Tensor, faces: Tensor, intrinsics: Tensor, image_size: tuple[int, int]
    ) -> Fragments:
        """Rasterise one mesh an image; arguments and result as for `TorchRasterizer`."""


class TorchRasterizer:
    """Rasteriser in plain torch: hard z-buffer, one face a pixel, both sides of a face drawn.

    A pixel sees a face where its centre, (u, v) = (column, row), lies inside the projected triangle; a centre exactly
    on an edge belongs to the face on the edge's right or lower side. Visibility is decided in float32. Faces that have
    a vertex nearer than ``near`` or a coordinate that is not finite are not drawn, faces without area cover nothing.
    Gradients are those of weights and depths at fixed visibility: silhouettes do not move.

    Args:
        near: Smallest depth that is drawn, metres; above 0.
    """

    def __init__(self, near: float = 0.01) -> None:
        if not near > 0:
            raise ValueError(f"near is {near}; expected a depth in front of the camera, in metres, e.g. 0.01")
        self.near = near

    def __call__(
        self, vertices_cam: Tensor, faces: Tensor, intrinsics: Tensor, image_size: tuple[int, int]
    ) -> Fragments:
        """Rasterise one mesh an image; several meshes are drawn together by joining their vertices and faces.

        Args:
            vertices_cam: (B, V, 3) OpenCV camera frame, metres. Half precision is raised to float32.
            faces: (F, 3) of all images, or (B, F, 3) of each; rows with a negative entry are padding.
            intrinsics: (B, 3, 3) pixels, with (0, 0, 1) as last row.
            image_size: Height and width, pixels.

        Returns:
            What each pixel sees, in the precision of the vertices.
        """
        batch, num_vertices, _ = vertices_cam.shape
        height, width = image_size
        size = (batch, height, width)
        dtype = torch.promote_types(vertices_cam.dtype, torch.float32)
        screen, usable = to_screen(vertices_cam.to(dtype), intrinsics.to(dtype), self.near)
        corners, drawn = flat_corners(faces, batch, num_vertices)
        with torch.no_grad():
            for corner in corners:
                drawn = drawn & usable.index_select(0, corner)
            pixels, visible = visible_faces(screen.detach().float(), corners, drawn, size)
        depths, weights = _surface(screen, corners, pixels, visible, size)
        return Fragments(size, corners.shape[1] // batch, pixels, visible, depths, weights)


def to_screen(points_cam: Tensor, intrinsics: Tensor, near: float) -> tuple[Tensor, Tensor]:
    """Project points; those that cannot be projected get harmless coordinates and no gradient.

    Written out, not as a matrix product, so that neither autocast nor TF32 lowers the precision.

    Args:
        points_cam: (B, N, 3) camera frame, metres, float32 or float64.
        intrinsics: (B, 3, 3) pixels.
        near: Smallest depth that can be projected, metres.

    Returns:
        (3, B*N) pixel u, v and inverse depth 1/z; and (B*N,) bool, whether a point is finite and not too near.
    """
    x, y, z = points_cam.unbind(-1)
    usable = points_cam.isfinite().all(dim=-1) & (z >= near)
    x, y, z = torch.where(usable, x, 0), torch.where(usable, y, 0), torch.where(usable, z, 1)
    inverse_z = 1 / z
    x, y = x * inverse_z, y * inverse_z
    k = intrinsics[..., None]
    u = k[:, 0, 0] * x + k[:, 0, 1] * y + k[:, 0, 2]
    v = k[:, 1, 0] * x + k[:, 1, 1] * y + k[:, 1, 2]
    return torch.stack([u, v, inverse_z]).flatten(1), usable.reshape(-1)


def flat_corners(faces: Tensor, batch: int, num_vertices: int) -> tuple[Tensor, Tensor]:
    """Faces of a batch of meshes as one list over the joined vertices.

    Args:
        faces: (F, 3) of all meshes or (B, F, 3) of each; rows with a negative entry are padding.
        batch: Number of meshes.
        num_vertices: Of each mesh.

    Returns:
        (3, B*F) int64 vertex numbers in the flattened (B, V), and (B*F,) bool, False for padding.
    """
    faces = faces.long().expand(batch, -1, 3)
    corners = faces.clamp(min=0) + num_vertices * torch.arange(batch, device=faces.device)[:, None, None]
    return corners.view(-1, 3).t().contiguous(), (faces >= 0).all(dim=2).reshape(-1)


def _surface(
    screen: Tensor, corners: Tensor, pixels: Tensor, visible: Tensor, size: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Depth (P,) and perspective-correct weights (P, 3) at pixel centres inside projected triangles.

    On the screen, weights and inverse depth are linear: their coefficients are computed per face, not per pixel.
    Positions are relative to the face's first corner, because absolute ones would cost digits. Tables have a value a
    row: gathering columns, and summing their gradients, is several times faster on CPU than gathering short rows.
    """
    _, height, width = size
    u, v, inverse_z = screen.index_select(1, corners.reshape(-1)).view(3, 3, -1)
    u_1, u_2, v_1, v_2 = u[1] - u[0], u[2] - u[0], v[1] - v[0], v[2] - v[0]
    area = u_1 * v_2 - v_1 * u_2
    # a face of no area covers no pixel, but must not spoil the gradient of its vertices
    scale = 1 / torch.where(area.abs() > 1e-12, area, torch.ones_like(area))
    table = torch.stack([u[0], v[0], v_2 * scale, u_2 * scale, v_1 * scale, u_1 * scale, *inverse_z])
    u_0, v_0, v_2, u_2, v_1, u_1, *inverse_depths = table.index_select(1, visible).unbind(0)

    line = torch.div(pixels, width, rounding_mode="floor")
    right, down = (pixels - line * width) - u_0, line % height - v_0
    weight_1 = right * v_2 - down * u_2
    weight_2 = down * u_1 - right * v_1
    # rounding may leave the triangle by a little, or by much where it is a sliver
    flat = [weight.clamp(min=0) for weight in (1 - weight_1 - weight_2, weight_1, weight_2)]
    parts = [weight * inverse_depth for weight, inverse_depth in zip(flat, inverse_depths, strict=True)]
    total = parts[0] + parts[1] + parts[2]
    depths = (flat[0] + flat[1] + flat[2]) / total
    return depths, (torch.stack(parts) / total).t()
