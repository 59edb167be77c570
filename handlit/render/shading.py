"""From what each pixel sees to an image: attributes, normals and light."""

import torch
from torch import Tensor

from handlit.render.rasterizer import Fragments, flat_corners


def interpolate(fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
    """Attributes of the visible surface, interpolated with perspective.

    Args:
        fragments: What each pixel sees.
        faces: (F, 3) or (B, F, 3), as given to the rasteriser.
        attributes: (B, V, D) of each vertex.

    Returns:
        (B, H, W, D); 0 on the background. Differentiable in the attributes and, through the weights, in the vertices.
    """
    return fragments.spread(interpolate_covered(fragments, faces, attributes))


def interpolate_covered(fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
    """`interpolate` for the covered pixels alone.

    Args:
        fragments: What each pixel sees.
        faces: (F, 3) or (B, F, 3), as given to the rasteriser.
        attributes: (B, V, D) of each vertex.

    Returns:
        (P, D), in the order of ``fragments.pixels``.
    """
    batch, num_vertices, channels = attributes.shape
    corners, _ = flat_corners(faces, batch, num_vertices)
    corners = corners.index_select(1, fragments.faces)
    table = attributes.permute(2, 0, 1).reshape(channels, -1)
    weights = fragments.weights.t().to(attributes.dtype)
    parts = [table.index_select(1, corner) * weight for corner, weight in zip(corners, weights, strict=True)]
    return (parts[0] + parts[1] + parts[2]).t()


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Smooth unit normals: the mean of the normals of the faces around each vertex, weighted by their areas.

    Args:
        vertices: (B, V, 3).
        faces: (F, 3) or (B, F, 3), counter-clockwise seen from outside; rows with a negative entry are padding.

    Returns:
        (B, V, 3) pointing outwards; 0 for a vertex without a face of non-zero area.
    """
    batch, num_vertices, _ = vertices.shape
    corners, used = flat_corners(faces, batch, num_vertices)
    table = vertices.permute(2, 0, 1).reshape(3, -1)
    a, b, c = (table.index_select(1, corner) for corner in corners)
    # twice the area times the unit normal
    weighted = torch.linalg.cross(b - a, c - a, dim=0) * used
    normals = torch.zeros_like(table)
    for corner in corners:
        normals = normals.index_add(1, corner, weighted)
    # faces are about 1e-5 m^2: the guard against division by zero must lie far below
    return torch.nn.functional.normalize(normals, dim=0, eps=1e-20).view(3, batch, num_vertices).permute(1, 2, 0)


def lambert(colours: Tensor, normals: Tensor, to_light: Tensor, ambient: float = 0.5, diffuse: float = 0.3) -> Tensor:
    """A matt surface under one light: ``colour * (ambient + diffuse * max(0, n . l))``.

    The defaults are the light of AMVUR's released renderer (https://github.com/ZhehengJiangLancaster/AMVUR at commit
    991150e).

    Args:
        colours: (..., C).
        normals: (..., 3) of the surface, any length but 0.
        to_light: (..., 3) from the surface towards the light, any length; broadcast against the normals.
        ambient: Share of light that comes from everywhere.
        diffuse: Share of light that comes from the one light.

    Returns:
        (..., C).
    """
    # the lengths are divided out in one go; below the clamp there is no direction, and no gradient
    lengths = (_dot(normals, normals) * _dot(to_light, to_light)).clamp(min=1e-30).sqrt()
    cosine = (_dot(normals, to_light) / lengths).clamp(min=0)
    return colours * (ambient + diffuse * cosine)[..., None]


def render_lambert(
    fragments: Fragments,
    faces: Tensor,
    vertices_cam: Tensor,
    colours: Tensor,
    light_position: tuple[float, float, float] = (0.0, 0.0, -2.0),
    ambient: float = 0.5,
    diffuse: float = 0.3,
) -> Tensor:
    """Image of a coloured mesh under a point light, with normals and light computed at every pixel.

    Args:
        fragments: What each pixel sees.
        faces: (F, 3) or (B, F, 3), as given to the rasteriser, counter-clockwise seen from outside.
        vertices_cam: (B, V, 3) as given to the rasteriser, camera frame, metres.
        colours: (B, V, C) of each vertex.
        light_position: Camera frame, metres; the default, two metres behind the camera, is AMVUR's.
        ambient: Share of light that comes from everywhere.
        diffuse: Share of light that comes from the point light.

    Returns:
        (B, H, W, C); 0 on the background. Differentiable in colours and vertices.
    """
    channels = colours.shape[2]
    attributes = torch.cat([colours, vertex_normals(vertices_cam, faces), vertices_cam], dim=2)
    values = interpolate_covered(fragments, faces, attributes)
    colour, normal, point = values.split([channels, 3, 3], dim=1)
    # by component: a light made into a tensor would be sent to the device, which waits for it
    to_light = torch.stack([at - p for at, p in zip(light_position, point.unbind(1), strict=True)]).t()
    return fragments.spread(lambert(colour, normal, to_light, ambient, diffuse))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Products of vectors (..., 3), component by component: quick when they are stored channel by channel."""
    (a_x, a_y, a_z), (b_x, b_y, b_z) = a.unbind(-1), b.unbind(-1)
    return a_x * b_x + a_y * b_y + a_z * b_z
