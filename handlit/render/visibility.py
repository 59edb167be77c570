"""Visibility of points of a scene in an image."""

import torch
from torch import Tensor

from handlit.geometry.crops import inside
from handlit.render.flat_lists import expand, runs
from handlit.render.rasterizer import flat_corners, to_screen
from handlit.render.shading import vertex_normals

#: Vertices nearest to a joint that stand for the skin around it.
SKIN_VERTICES = 32
#: Share of the skin around a joint on the camera's side that must be seen.
SEEN_SHARE = 0.5
#: Pairs of a face and a point that are processed at once; bounds the memory, at about 50 bytes each.
PAIRS_AT_ONCE = 250_000


@torch.no_grad()
def point_visibility(
    points_cam: Tensor,
    vertices_cam: Tensor,
    faces: Tensor,
    intrinsics: Tensor,
    image_size: tuple[int, int],
    tolerance_m: float = 0.001,
    near: float = 0.01,
) -> Tensor:
    """Points that the camera sees: in front of it, inside the image, and not hidden by the scene.

    A point is hidden when a face crosses its line of sight nearer to the camera by more than the tolerance (along z).
    Lines of sight are tested exactly, not against a depth image, so the answer does not depend on the resolution and
    is right at silhouettes and on surfaces seen at a grazing angle. The points may be vertices of the scene: the faces
    around a vertex meet its line of sight at the vertex and do not hide it.

    Args:
        points_cam: (B, N, 3) camera frame, metres: a hand's vertices, or joints inside the flesh.
        vertices_cam: (B, V, 3) camera frame, metres: the scene, i.e. the hand, joined with all that may hide it.
        faces: (F, 3) or (B, F, 3) of the scene; rows with a negative entry are padding.
        intrinsics: (B, 3, 3) pixels.
        image_size: Height and width, pixels; the image reaches half a pixel beyond the outer pixel centres.
        tolerance_m: Largest depth behind a surface at which a point still counts as seen, metres: about a millimetre
            for vertices (meshes in contact overlap a little), about a finger's radius for joints. Above 0.
        near: Faces with a vertex nearer than this hide nothing, points nearer than this are not seen, metres.

    Returns:
        (B, N) bool.
    """
    if not tolerance_m > 0:
        raise ValueError(f"tolerance_m is {tolerance_m}; expected a positive length in metres, e.g. 0.001 for vertices")
    (batch, num_points, _), (height, width) = points_cam.shape, image_size
    points, seen = to_screen(points_cam.float(), intrinsics.float(), near)
    seen = seen & inside(points[:2].mT, (width, height))
    limits = 1 / (1 / points[2] - tolerance_m).clamp(min=1e-9)

    screen, usable = to_screen(vertices_cam.float(), intrinsics.float(), near)
    corners, hides = flat_corners(faces, batch, vertices_cam.shape[1])
    for corner in corners:
        hides = hides & usable.index_select(0, corner)
    triangles = screen.index_select(1, corners.reshape(-1)).view(3, 3, -1)
    low, high = triangles.aminmax(dim=1)
    bounds = torch.stack([low[0], high[0], high[2]])
    rows = torch.where(seen, points[1], torch.inf).view(batch, num_points)
    order, first, counts = _points_between(rows, low[1].view(batch, -1), high[1].view(batch, -1))
    counts = counts * hides

    for part in runs(counts, PAIRS_AT_ONCE):
        face, position = expand(counts[part])
        number = order.index_select(0, first[part].index_select(0, face) + position)
        seen[_hidden(triangles[..., part], bounds[:, part], face, points, limits, number)] = False
    return seen.view(batch, num_points)


def _points_between(rows: Tensor, top: Tensor, bottom: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The points that lie on the rows of each face.

    Args:
        rows: (B, N) pixel v of the points of each image.
        top: (B, F) pixel v at which each face begins.
        bottom: (B, F) at which it ends.

    Returns:
        (B * N,) numbers of the points, image by image from top to bottom, where those of a face are consecutive; and
        for each face (B * F,) the position of its first point there and its number of points.
    """
    batch, num_points = rows.shape
    ordered, order = rows.sort(dim=1)
    first = torch.searchsorted(ordered, top.contiguous())
    last = torch.searchsorted(ordered, bottom.contiguous(), right=True)
    image_start = torch.arange(batch, device=rows.device)[:, None] * num_points
    return (order + image_start).reshape(-1), (first + image_start).reshape(-1), (last - first).reshape(-1)


def _hidden(triangles: Tensor, bounds: Tensor, face: Tensor, points: Tensor, limits: Tensor, number: Tensor) -> Tensor:
    """Numbers of the points that a face hides, among pairs of a face and a point.

    Args:
        triangles: (3, 3, F) u, v and inverse depth of each face's corners.
        bounds: (3, F) the lowest and the highest u and the largest inverse depth of each face.
        face: (M,) int64, face of each pair.
        points: (3, N) u, v and inverse depth of the points.
        limits: (N,) inverse depth beyond which a surface hides the point.
        number: (M,) int64, point of each pair.
    """
    left, right, nearest = bounds.index_select(1, face)
    column = points[0].index_select(0, number)
    possible = (column >= left) & (column <= right) & (nearest > limits.index_select(0, number))
    possible = possible.nonzero().squeeze(1)
    face, number = face.index_select(0, possible), number.index_select(0, possible)
    inverse_depth = _crossing(triangles.flatten(0, 1).index_select(1, face), points.index_select(1, number))
    return number[inverse_depth > limits.index_select(0, number)]


def joints_seen(joints_cam: Tensor, vertices_cam: Tensor, faces: Tensor, vertices_seen: Tensor) -> Tensor:
    """Joints of which at least half of the skin on the camera's side is in view.

    Args:
        joints_cam: (B, 21, 3) camera frame, metres.
        vertices_cam: (B, 778, 3) of the hand, the same.
        faces: (1538, 3) of the hand.
        vertices_seen: (B, 778) bool.

    Returns:
        (B, 21) bool.
    """
    nearest = torch.cdist(joints_cam, vertices_cam).topk(SKIN_VERTICES, largest=False).indices
    facing = (vertex_normals(vertices_cam, faces) * vertices_cam).sum(dim=2) < 0
    around = torch.stack([facing, facing & vertices_seen])[:, :, None].expand(-1, -1, joints_cam.shape[1], -1)
    on_this_side, in_view = around.gather(3, nearest.expand(2, -1, -1, -1)).sum(dim=3)
    return (on_this_side > 0) & (in_view >= SEEN_SHARE * on_this_side)


def _crossing(triangle: Tensor, point: Tensor) -> Tensor:
    """Inverse depth (M,) at which lines of sight cross faces; 0 where they pass beside.

    Args:
        triangle: (9, M) pixel u of the three corners, then v, then inverse depth.
        point: (3, M) pixel u, v and inverse depth.
    """
    u, v, inverse_z = triangle.view(3, 3, -1)
    u, v = u - point[0], v - point[1]
    # twice the areas that the point makes with each side; their signs say on which side it lies
    areas = [u[i] * v[j] - v[i] * u[j] for i, j in ((1, 2), (2, 0), (0, 1))]
    area = areas[0] + areas[1] + areas[2]
    low, high = torch.stack(areas).aminmax(dim=0)
    crosses = ((low >= 0) | (high <= 0)) & (area != 0)
    total = areas[0] * inverse_z[0] + areas[1] * inverse_z[1] + areas[2] * inverse_z[2]
    return torch.where(crosses, total / area, 0)
