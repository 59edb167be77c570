"""Which face each pixel sees: a z-buffer over scan lines, without a loop over faces, pixels or images.

Every face is cut into the pixel rows whose centre line it crosses, every row into the pixels between its two edges.
The pixels of all faces and images form one flat list and compete by an integer minimum. Nothing here is
differentiable: `TorchRasterizer` recomputes depth and weights of the visible faces with gradients.

Coverage is half-open, like a graphics card's: a pixel centre on a left or top edge belongs to the face, one on a right
or bottom edge does not. An edge's crossing with a row is computed from the edge alone, by the same operations for both
faces that share it, so neighbours leave no hole between them and never draw a pixel twice, whatever the rounding.
"""

import torch
from torch import Tensor

from handlit.render.flat_lists import expand, runs

#: Pixels of the faces' bounding boxes that are processed at once; bounds the memory, at about 40 bytes each. A CPU is
#: fastest while they stay in its cache, a GPU with few large steps.
PIXELS_AT_ONCE_CPU, PIXELS_AT_ONCE_GPU = 1_000_000, 32_000_000
_FURTHEST = torch.iinfo(torch.int64).max


def visible_faces(screen: Tensor, corners: Tensor, drawn: Tensor, size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Find the nearest face at every pixel centre.

    Where two surfaces have equal depth, the face that comes first is seen.

    Args:
        screen: (3, N) float32, vertices of all images: pixel coordinates u and v, and the inverse depth 1/z.
        corners: (3, M) int64, columns of ``screen``: the faces of all images, as many for each image.
        drawn: (M,) bool, faces to draw: their vertices must be finite and in front of the camera.
        size: Images, height, width.

    Returns:
        The covered pixels (P,), ascending positions in the flattened (images, height, width), and the face that each
        of them sees (P,), a column of ``corners``.
    """
    batch, height, width = size
    u, v, inverse_z = (axis.index_select(0, corners.reshape(-1)).view(3, -1) for axis in screen)
    drawn = drawn & (u.amax(dim=0) >= 0) & (u.amin(dim=0) <= width - 1)
    reach = (u.amax(dim=0).clamp(0, width) - u.amin(dim=0).clamp(0, width)).nan_to_num()
    top, middle, bottom = _sort_by_row(torch.stack([u, v, inverse_z]))

    # rows j with top <= j < middle lie between the edges top-bottom and top-middle, the others reach middle-bottom
    bounds = [point[1].ceil().nan_to_num().clamp(0, height) for point in (top, middle, bottom)]
    first_row = torch.stack(bounds[:2], dim=1)
    rows = (torch.stack(bounds[1:], dim=1) - first_row) * drawn[:, None]
    long_edge = _edge(top, bottom)
    short_edge = torch.stack([_edge(top, middle), _edge(middle, bottom)], dim=2)
    image_start = torch.arange(batch, device=screen.device).repeat_interleave(corners.shape[1] // batch) * height

    nearest = torch.full((batch * height * width,), _FURTHEST, device=screen.device)
    owners: list[Tensor] = []
    num_lines = 0
    at_once = PIXELS_AT_ONCE_CPU if screen.device.type == "cpu" else PIXELS_AT_ONCE_GPU
    for part in runs(rows.sum(dim=1) * (reach + 2), at_once):
        lines = _Lines(long_edge[:, part], short_edge[:, part], first_row[part], rows[part].long(), width)
        line, pixel, depth = lines.pixels(image_start[part])
        # floats above 0 sort as their bits do: large inverse depths first, then the line, which follows the face
        rank = (line + num_lines).sub_(depth.view(torch.int32).long() << 32)
        nearest.scatter_reduce_(0, pixel, rank, reduce="amin")
        owners.append(lines.face + part.start)
        num_lines += len(lines.face)
    covered = (nearest != _FURTHEST).nonzero().squeeze(1)
    line = nearest.index_select(0, covered) & 0xFFFFFFFF
    return covered, torch.cat(owners).index_select(0, line)


class _Lines:
    """The scan lines of some faces: (L,) each, face by face and from top to bottom."""

    def __init__(self, long_edge: Tensor, short_edge: Tensor, first_row: Tensor, rows: Tensor, width: int) -> None:
        """Cut faces into lines.

        Args:
            long_edge: (6, M) the edge from each face's top to its bottom vertex, see `_edge`.
            short_edge: (6, M, 2) the edges from top to middle and from middle to bottom.
            first_row: (M, 2) float, first pixel row of each short edge.
            rows: (M, 2) int64, number of pixel rows of each short edge.
            width: Of the image, pixels.
        """
        self.width = width
        part, position = expand(rows.reshape(-1))
        self.face = part >> 1
        self.row = first_row.reshape(-1).index_select(0, part) + position
        whole_a, x_a, inverse_z_a = _cross(long_edge.index_select(1, self.face), self.row)
        whole_b, x_b, inverse_z_b = _cross(short_edge.flatten(1).index_select(1, part), self.row)
        column_a, column_b = whole_a + x_a.ceil(), whole_b + x_b.ceil()
        self.first = torch.minimum(column_a, column_b).clamp(0, width)
        self.count = torch.maximum(column_a, column_b).clamp(0, width) - self.first
        # along the line the inverse depth is linear; measured from edge a, never beyond the values of the two edges
        length = (whole_b - whole_a) + (x_b - x_a)
        length = torch.where(length == 0, 1, length)
        change = inverse_z_b - inverse_z_a
        share = (((self.first - whole_a) - x_a) / length).clamp(0, 1)
        self.inverse_z = inverse_z_a + share * change
        self.step = change / length

    def pixels(self, image_start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The lines' pixels.

        Args:
            image_start: (M,) int64, row of the flattened images at which the face's image starts.

        Returns:
            (C,) each: the line, the position in the flattened images, and the inverse depth.
        """
        line, position = expand(self.count.long())
        row = self.row.long() + image_start.index_select(0, self.face)
        first = row * self.width + self.first.long()
        pixel = first.index_select(0, line) + position
        further = self.step.index_select(0, line) * position
        return line, pixel, further.add_(self.inverse_z.index_select(0, line))


def _sort_by_row(corners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Order the corners of faces (3 values, 3 corners, M) by their v: top, middle, bottom, (3, M) each."""
    a, b, c = corners.unbind(dim=1)
    a, b = _exchange(a, b)
    b, c = _exchange(b, c)
    a, b = _exchange(a, b)
    return a, b, c


def _exchange(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    swap = a[1] > b[1]
    return torch.where(swap, b, a), torch.where(swap, a, b)


def _edge(start: Tensor, end: Tensor) -> Tensor:
    """Table of downward edges for `_cross`: v, height, u as whole and rest, run, 1/z and its change.

    Both faces of an edge have the same start here, its upper end.
    """
    u, v, inverse_z = start
    run, height, change = end - start
    whole = u.floor()
    return torch.stack([v, height, whole, u - whole, run, inverse_z, change])


def _cross(edge: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where edges cross rows: a whole column, the rest to be added to it (exact far from the origin), and 1/z there."""
    v, height, whole, rest, run, inverse_z, change = edge
    share = (row - v) / height
    # two operations each, not addcmul: fused and unfused code would round differently at different places of a tensor
    return whole, rest + share * run, inverse_z + share * change
