"""One renderer for all synthetic scenes: a batch of hands with arms and objects at once, on any device.

The sequences on disk are drawn a frame at a time, and their files must not depend on how. So every colour is computed
by additions, multiplications, divisions and square roots, which round alike wherever a value lies in a tensor, unlike
vectorised powers and matrix products; the curve of sRGB is read from a table.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from handlit.data.synthesis.arm import arm_faces, arm_rings, arm_vertices, rotate
from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.scene import Person
from handlit.data.synthesis.solids import Solid
from handlit.render import Fragments, TorchRasterizer, vertex_normals
from handlit.render.shading import interpolate_covered

#: What a covered pixel shows.
HAND, ARM, OBJECT = 1, 2, 3
#: Light that enters skin leaves it around the corner, red more than blue: by how much shading wraps, per channel; cloth
#: and skin alike, objects less.
SKIN_WRAP, OBJECT_WRAP = (0.35, 0.2, 0.14), (0.05, 0.05, 0.05)
#: Strength of the highlight of hand, arm and object.
GLOSS = (0.1, 0.05, 0.22)
#: Over this length of the arm the colours of the wrist become the arm's, metres.
SKIN_FADE = 0.12
#: A surface this far behind its neighbourhood in the image lies in its shade, metres.
SHADE_DEPTH = 0.03
#: Depth of the background where it may cast a shade: nothing lies behind it.
FAR_M = 2.0
#: Steps of the table of sRGB values, over the root of linear light.
CURVE_STEPS = 4096


class PlacedObject(NamedTuple):
    """Objects in the camera frame.

    Attributes:
        vertices: (B, V, 3) metres.
        normals: (B, V, 3) outward unit normals.
        uv: (B, V, 2) texture coordinates in [0, 1]; a leading dimension of 1 for all images.
        faces: (B, F, 3) triangles, -1 for rows that are not there; a leading dimension of 1 for all images.
    """

    vertices: Tensor
    normals: Tensor
    uv: Tensor
    faces: Tensor


@dataclass(frozen=True)
class Placed:
    """A batch of scenes in the camera frame: the vertices of hand, arm and object one after the other.

    Attributes:
        vertices: (B, V, 3) metres.
        normals: (B, V, 3).
        faces: (B, F, 3); those that show their back are -1.
        uv: (B, V', 2) texture coordinates of the object's vertices; a leading dimension of 1 for all images.
    """

    vertices: Tensor
    normals: Tensor
    faces: Tensor
    uv: Tensor

    def frame(self, number: int) -> "Placed":
        """One scene of a batch that shares its object, as a batch of one."""
        one = slice(number, number + 1)
        return replace(self, vertices=self.vertices[one], normals=self.normals[one], faces=self.faces[one])


class Drawing(NamedTuple):
    """What the pixels that see a surface show; P counts them over all images.

    Attributes:
        fragments: Which pixels these are, and their surfaces.
        parts: (P,) int64: `HAND`, `ARM` or `OBJECT`.
        colours: (3, P) sRGB in 0..1.
    """

    fragments: Fragments
    parts: Tensor
    colours: Tensor


class SceneRenderer(nn.Module):
    """Draws hands with arms and objects.

    Args:
        model: The hand model.
    """

    wrist: Tensor
    body_faces: Tensor
    curve: Tensor
    wrap: Tensor
    gloss: Tensor

    def __init__(self, model: HandModel) -> None:
        super().__init__()
        self.rasterise = TorchRasterizer()
        hand_faces = torch.tensor(model.asset.faces).long()
        self.num_hand_faces = len(hand_faces)
        self.num_hand_vertices = len(model.asset.template)
        arm = torch.from_numpy(arm_faces(model.wrist, self.num_hand_vertices))
        wrap = torch.tensor([SKIN_WRAP, SKIN_WRAP, OBJECT_WRAP]).t()
        buffers = {
            "wrist": torch.from_numpy(model.wrist),
            "body_faces": torch.cat([hand_faces, arm]),
            "curve": (torch.linspace(0, 1, CURVE_STEPS, dtype=torch.float64) ** (2 / 2.2)).float(),
            # diffuse light is (cosine + wrap) / (1 + wrap): a factor and a constant
            "wrap": torch.cat([1 / (1 + wrap), wrap / (1 + wrap)]),
            "gloss": torch.tensor(GLOSS),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values, persistent=False)

    def place(self, hand: Tensor, orientation: Tensor, person: Person, item: PlacedObject) -> Placed:
        """Join hands, their arms and objects.

        Args:
            hand: (B, 778, 3) posed hands, camera frame, metres.
            orientation: (B, 3, 3) their global rotation.
            person: Whose hands; a batch, or one person's.
            item: The object that is beside or in each.
        """
        arm = arm_vertices(hand[:, self.wrist], orientation, person.bend, person.girth, person.sleeve_from)
        body = torch.cat([hand, arm], dim=1)
        vertices = torch.cat([body, item.vertices], dim=1)
        normals = torch.cat([vertex_normals(body, self.body_faces), item.normals], dim=1)
        object_faces = torch.where(item.faces < 0, -1, item.faces + body.shape[1])
        faces = [part.expand(len(hand), -1, -1) for part in (self.body_faces, object_faces)]
        return Placed(vertices, normals, _facing(vertices, torch.cat(faces, dim=1)), item.uv)

    def draw(
        self,
        placed: Placed,
        person: Person,
        light: Tensor,
        textures: Tensor,
        intrinsics: Tensor,
        size: tuple[int, int],
        reach: tuple[int, int],
    ) -> Drawing:
        """Draw.

        Args:
            placed: A batch of scenes.
            person: Their persons.
            light: (B, 4, 3) of `sample_light`.
            textures: (B, 3, h, w) of the objects, linear.
            intrinsics: (B, 3, 3) without skew, pixels.
            size: Height and width, pixels.
            reach: How far a nearer surface casts a shade beside it, pixels: its core and its rim.
        """
        fragments = self.rasterise(placed.vertices, placed.faces, intrinsics, size)
        image = torch.div(fragments.pixels, size[0] * size[1], rounding_mode="floor")
        face = fragments.faces % fragments.num_faces
        part = (face >= self.num_hand_faces).long() + (face >= len(self.body_faces))
        colours = torch.cat([self._albedo(person), nn.functional.pad(placed.uv, (0, 1))], dim=1)
        attributes = torch.cat([placed.normals, colours.expand(len(placed.normals), -1, -1)], dim=2)
        normal, albedo = interpolate_covered(fragments, placed.faces, attributes).t().split(3)
        albedo = torch.where(part == 2, _look_up(textures, albedo, image), albedo)
        lights = torch.cat([light, _halfway(placed.vertices, light[:, 0])[:, None]], dim=1).flatten(1).t()
        colour = self._shade(normal, albedo, _of(lights, image), part)
        colour = (colour * _openness(fragments, reach)).clamp(0, 1)
        step = (colour.sqrt() * (CURVE_STEPS - 1) + 0.5).int()
        return Drawing(fragments, part + 1, self.curve.take(step.long()))

    def _albedo(self, person: Person) -> Tensor:
        """(B, V, 3) of hands and arms; the wrist's own colours fade into the arm's."""
        distance, cloth, _ = arm_rings(person.sleeve_from)
        fade = (distance / SKIN_FADE).clamp(max=1)[..., None, None]
        wrist = person.skin[:, None, self.wrist]
        bare = wrist + fade * (person.arm_skin[:, None, None] - wrist)
        arm = torch.where(cloth[..., None, None], person.cloth[:, None, None], bare).flatten(1, 2)
        return torch.cat([person.skin, arm, arm[:, -1:]], dim=1)

    def _shade(self, normal: Tensor, albedo: Tensor, light: Tensor, part: Tensor) -> Tensor:
        """Linear colours (3, P) of surfaces.

        Args:
            normal: (3, P) of any length.
            albedo: (3, P).
            light: (15, P) or, for one image, (15, 1): of `sample_light` and `_halfway`.
            part: (P,) less 1.
        """
        to_light, lamp, sky, ground, halfway = light.split(3)
        normal = normal / (_dot(normal, normal).sqrt() + 1e-9)
        cosine = _dot(normal, to_light)
        factor, constant = self.wrap.index_select(1, part).split(3)
        diffuse = (cosine * factor + constant).clamp(min=0)
        ambient = ground + (sky - ground) * (0.5 - 0.5 * normal[1])
        shine = self.gloss.index_select(0, part) * _power_22(_dot(normal, halfway).clamp(min=0)) * (cosine > 0)
        return albedo * (ambient + lamp * diffuse) + lamp * shine


def place_object(solid: Solid, rotation: Tensor, translation: Tensor) -> PlacedObject:
    """One object in several frames.

    Args:
        solid: The object.
        rotation: (B, 3, 3).
        translation: (B, 3) of its centre, metres.
    """
    vertices, normals, uv, faces = (
        torch.from_numpy(values)[None] for values in (solid.vertices, solid.normals, solid.uv, solid.faces)
    )
    turned = rotate(vertices.float(), rotation)
    return PlacedObject(turned + translation[:, None], rotate(normals.float(), rotation), uv.float(), faces.long())


def _of(values: Tensor, image: Tensor) -> Tensor:
    """Columns (C, P) of values (C, B) for pixels that lie in images (P,); (C, 1) of a single image."""
    return values if values.shape[1] == 1 else values.index_select(1, image)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _halfway(vertices: Tensor, to_light: Tensor) -> Tensor:
    """(B, 3) unit vectors half-way between the directions to lamp and camera, from the middle of each scene."""
    middle = vertices.mean(dim=1)
    halfway = to_light - middle / (middle * middle).sum(dim=1, keepdim=True).sqrt()
    return halfway / (halfway * halfway).sum(dim=1, keepdim=True).sqrt().clamp(min=1e-9)


def _power_22(values: Tensor) -> Tensor:
    """By multiplications; see the module's docstring."""
    square = values * values
    fourth = square * square
    eighth = fourth * fourth
    return eighth * eighth * fourth * square


def _look_up(textures: Tensor, uv: Tensor, image: Tensor) -> Tensor:
    """Colours (3, P) of textures (B, 3, h, w) at coordinates (2 or more, P), clamped to 0..1."""
    _, _, height, width = textures.shape
    column = (uv[0].clamp(0, 1) * (width - 1) + 0.5).long()
    row = (uv[1].clamp(0, 1) * (height - 1) + 0.5).long()
    return textures.transpose(0, 1).flatten(1).index_select(1, (image * height + row) * width + column)


def _openness(fragments: Fragments, reach: tuple[int, int]) -> Tensor:
    """(P,) share of the light that reaches a pixel past nearer surfaces beside it; a cheap contact shadow."""
    _, height, width = fragments.size
    depth = fragments.spread(fragments.depths, FAR_M)
    # means over squares are as good from every other pixel and line
    half = nn.functional.pad(depth, (0, width % 2, 0, height % 2), mode="replicate")[:, ::2, ::2]
    line = torch.div(fragments.pixels, width, rounding_mode="floor")
    image = torch.div(line, height, rounding_mode="floor")
    row, column = line - image * height, fragments.pixels - line * width
    place = (image * half.shape[1] + (row >> 1)) * half.shape[2] + (column >> 1)
    shade = torch.zeros_like(fragments.depths)
    for pixels in reach:
        around = _box_mean(half, pixels // 2).flatten().index_select(0, place)
        behind = ((fragments.depths - around) / SHADE_DEPTH).clamp(min=0)
        # what is far behind is another object, not a fold: let the shade fade out again
        shade += 2 * behind / (1 + behind * behind)
    return 1 - 0.3 * shade


def _box_mean(images: Tensor, reach: int) -> Tensor:
    """Mean of the square around each pixel of images (B, H, W), `reach` pixels to either side."""
    side = 2 * reach + 1
    wide = nn.functional.pad(images, (reach + 1, reach, reach + 1, reach), mode="replicate")
    sums = wide.cumsum(dim=2)
    sums = (sums[..., side:] - sums[..., :-side]).cumsum(dim=1)
    return (sums[:, side:] - sums[:, :-side]) / (side * side)


def _facing(vertices: Tensor, faces: Tensor) -> Tensor:
    """Faces (B, F, 3) with -1 for those that show their back: all surfaces are closed, so these are never seen."""
    rows = torch.arange(len(vertices), device=vertices.device)[:, None]
    first, second, third = (vertices[rows, faces[..., corner].clamp(min=0)] for corner in range(3))
    towards = (torch.linalg.cross(second - first, third - first) * first).sum(dim=2) < 0
    return torch.where(towards[..., None], faces, -1)
