"""Rasterising meshes that a camera of any kind has already projected, and what they hide."""

import torch
from torch import Tensor

from handlit.geometry.crops import inside
from handlit.render.rasterizer import Fragments, Rasterizer, flat_corners


def rasterize_screen(
    rasterizer: Rasterizer, points_2d: Tensor, depths: Tensor, faces: Tensor, image_size: tuple[int, int]
) -> Fragments:
    """Rasterise vertices that are given on the screen.

    Every vertex is put on its line of sight at its depth, in front of a camera of unit intrinsics, so that a rasteriser
    with a pinhole draws any projection. For a weak perspective add a distance to the depths that is large compared with
    the object: faces are drawn where they were projected, and the weights inside a face differ from those of an exactly
    parallel projection by its depth range over that distance.

    Args:
        rasterizer: Any backend.
        points_2d: (B, V, 2) pixels.
        depths: (B, V) metres; nothing nearer than the rasteriser's ``near`` is drawn.
        faces: (F, 3) or (B, F, 3); rows with a negative entry are padding.
        image_size: Height and width, pixels.

    Returns:
        What each pixel sees; differentiable in points and depths.
    """
    vertices = torch.cat([points_2d, torch.ones_like(depths)[..., None]], dim=-1) * depths[..., None]
    unit = torch.eye(3, dtype=vertices.dtype, device=vertices.device).expand(len(vertices), 3, 3)
    return rasterizer(vertices, faces, unit, image_size)


@torch.no_grad()
def depth_test(fragments: Fragments, points_2d: Tensor, depths: Tensor, tolerance_m: float = 0.005) -> Tensor:
    """Points that a rasterised scene does not hide, by a shadow map: quickly, and without waiting for the device.

    A point is seen if it is in front of the camera, inside the image, and the surface at its pixel is not nearer by
    more than the tolerance. `point_visibility` is slower and exact, also between pixels and at grazing angles.

    Args:
        fragments: The scene.
        points_2d: (B, N, 2) pixels, in the camera of the scene; coordinates that are not finite are not seen.
        depths: (B, N) of the points, metres.
        tolerance_m: Largest change in a surface's depth from a point to the centre of its pixel.

    Returns:
        (B, N) bool.
    """
    surface = torch.where(fragments.mask, fragments.depth, torch.inf)
    free = (depths > 0) & (_nearest(surface, points_2d) > depths - tolerance_m)
    _, height, width = fragments.size
    return inside(points_2d, (width, height)) & free


@torch.no_grad()
def shown_at(mask: Tensor, points_2d: Tensor) -> Tensor:
    """Values of a mask at the pixels nearest to points.

    Args:
        mask: (B, H, W) bool.
        points_2d: (B, N, 2) pixels.

    Returns:
        (B, N) bool; False outside the image and for coordinates that are not finite.
    """
    _, height, width = mask.shape
    return inside(points_2d, (width, height)) & _nearest(mask, points_2d)


def faces_seen_whole(fragments: Fragments, faces: Tensor, visible: Tensor) -> Tensor:
    """Pixels whose face has no hidden corner: no invisible vertex contributes to their colour.

    Args:
        fragments: What each pixel sees.
        faces: (F, 3) or (B, F, 3), as given to the rasteriser.
        visible: (B, V) bool.

    Returns:
        (B, H, W) bool; False on the background.
    """
    batch, num_vertices = visible.shape
    corners, _ = flat_corners(faces, batch, num_vertices)
    corners = corners.index_select(1, fragments.faces)
    return fragments.spread(visible.flatten().take(corners).all(dim=0))


def _nearest(images: Tensor, points_2d: Tensor) -> Tensor:
    """(B, N) values of images (B, H, W) at the pixels nearest to points (B, N, 2); the border's outside."""
    _, height, width = images.shape
    u, v = points_2d.nan_to_num().round().unbind(-1)
    column, row = u.clamp(0, width - 1).long(), v.clamp(0, height - 1).long()
    return images.flatten(1).gather(1, row * width + column)
