"""Which points of a scene an image shows."""

import torch
from torch import Tensor

from handlit.render.ragged import expand, runs
from handlit.render.rasterizer import flat_corners, to_screen
from handlit.render.shading import vertex_normals

#: Vertices nearest to a joint that stand for the skin around it.
SKIN_VERTICES = 32
#: Share of the skin around a joint on the camera's side that must be seen.
SEEN_SHARE = 0.5
#: Pairs of a face and a point that are looked at together; bounds the memory, at about 50 bytes each.
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
        vertices_cam: (B, V, 3) camera frame, metres: the scene, i.e. the hand, joined with whatever may hide it.
        faces: (F, 3) or (B, F, 3) of the scene; rows with a negative entry are padding.
        intrinsics: (B, 3, 3) pixels.
        image_size: Height and width, pixels; the image reaches half a pixel beyond the outer pixel centres.
        tolerance_m: How far behind a surface a point still counts as seen, metres: about a millimetre for vertices
            (meshes in contact overlap a little), about a finger's radius for joints. Above 0.
        near: Faces with a vertex nearer than this hide nothing, points nearer than this are not seen, metres.

    Returns:
        (B, N) bool.
    """
    if not tolerance_m > 0:
        raise ValueError(f"tolerance_m is {tolerance_m}; expected a positive length in metres, e.g. 0.001 for vertices")
    (batch, num_points, _), (height, width) = points_cam.shape, image_size
    point, seen = to_screen(points_cam.float(), intrinsics.float(), near)
    u, v, inverse_z = point
    seen = seen & (u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5)
    limit = 1 / (1 / inverse_z - tolerance_m).clamp(min=1e-9)

    # the points of each image from top to bottom: those between a face's top and bottom are then consecutive
    ordered, order = torch.where(seen, v, torch.inf).view(batch, num_points).sort(dim=1)
    order = (order + torch.arange(batch, device=order.device)[:, None] * num_points).reshape(-1)
    screen, usable = to_screen(vertices_cam.float(), intrinsics.float(), near)
    corners, hides = flat_corners(faces, batch, vertices_cam.shape[1])
    triangle = screen.index_select(1, corners.reshape(-1)).view(3, 3, -1)
    low, high = triangle.aminmax(dim=1)
    first = torch.searchsorted(ordered, low[1].view(batch, -1).contiguous())
    last = torch.searchsorted(ordered, high[1].view(batch, -1).contiguous(), right=True)
    for corner in corners:
        hides = hides & usable.index_select(0, corner)
    counts = (last - first).view(-1) * hides
    first = (first + torch.arange(batch, device=first.device)[:, None] * num_points).view(-1)
    u_range_and_depth = torch.stack([low[0], high[0], high[2]])

    for part in runs(counts, PAIRS_AT_ONCE):
        face, place = expand(counts[part])
        number = order.index_select(0, first[part].index_select(0, face) + place)
        left, right, nearest = u_range_and_depth[:, part].index_select(1, face)
        column = u.index_select(0, number)
        possible = (column >= left) & (column <= right) & (nearest > limit.index_select(0, number))
        possible = possible.nonzero().squeeze(1)
        face, number = face.index_select(0, possible), number.index_select(0, possible)
        corner_table = triangle[..., part].flatten(0, 1).index_select(1, face)
        inverse_depth = _crossing(corner_table, point.index_select(1, number))
        hidden = number[inverse_depth > limit.index_select(0, number)]
        seen[hidden] = False
    return seen.view(batch, num_points)


def joints_seen(joints_cam: Tensor, vertices_cam: Tensor, faces: Tensor, vertices_seen: Tensor) -> Tensor:
    """Joints with at least half of the skin before them in view.

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
    # twice the areas that the point makes with each side; the sign tells the side it lies on
    areas = [u[i] * v[j] - v[i] * u[j] for i, j in ((1, 2), (2, 0), (0, 1))]
    area = areas[0] + areas[1] + areas[2]
    low, high = torch.stack(areas).aminmax(dim=0)
    inside = ((low >= 0) | (high <= 0)) & (area != 0)
    total = areas[0] * inverse_z[0] + areas[1] * inverse_z[1] + areas[2] * inverse_z[2]
    return torch.where(inside, total / area, 0)
