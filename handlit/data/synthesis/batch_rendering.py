"""Rendering of a batch of `LooseScene` at once, on any device: picture, masks and exact labels."""

from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from handlit.data.synthesis.drawing import GLOSS, HAND, OBJECT, OCCLUSION_DEPTH, SHININESS, SKIN_FADE, SKIN_WRAP
from handlit.data.synthesis.forearm import BEND_LENGTH, RING_THICKNESS, RING_WIDTH, RINGS, Forearm, wrist_loop
from handlit.data.synthesis.loose_scene import NOISE_GRIDS, Collage, LooseScene
from handlit.data.synthesis.solids import SOLID_KINDS, Solid, sample_solid
from handlit.hand.layer import HandLayer
from handlit.render import Fragments, TorchRasterizer, depth_test, vertex_normals
from handlit.render.shading import interpolate_covered
from handlit.render.visibility import joints_seen
from handlit.types import OPTIONAL_LABELS, HandBatch

#: Objects of each kind in the collection; a picture takes one of them and changes its size.
SOLIDS_OF_A_KIND = 8
NUM_SOLIDS = SOLIDS_OF_A_KIND * len(SOLID_KINDS)
#: Side of the tile of sensor noise.
GRAIN_SIDE = 64
#: Height and width of an object's texture.
TEXTURE_SIZE = (96, 144)
#: What a surface may change in depth within a pixel, metres; for the visibility of vertices.
DEPTH_TOLERANCE_M = 0.005
#: Nearer surfaces cast a shade within a cell of such a grid over the picture: numbers of cells to a side.
OCCLUSION_CELLS = (56, 18)
#: Depth of the background where it may cast a shade: nothing lies behind it.
FAR_M = 2.0


@dataclass(frozen=True)
class _Placed:
    """A batch of scenes in the camera frame: the vertices of hand, arm and object one after the other, and its hand."""

    vertices: Tensor
    normals: Tensor
    faces: Tensor
    joints: Tensor
    intrinsics: Tensor


class SceneRenderer(nn.Module):
    """Renders batches of scenes with a hand layer.

    Args:
        hand: With the conventions of the labels that are wanted.
        image_size: Side of the square pictures, pixels.
        margin: Side of the pictures relative to the longer side of the box around the hand, before zoom.
    """

    loop: Tensor
    body_faces: Tensor
    solid_vertices: Tensor
    solid_normals: Tensor
    solid_uv: Tensor
    solid_faces: Tensor
    grain: Tensor

    def __init__(self, hand: HandLayer, image_size: int, margin: float) -> None:
        super().__init__()
        self.hand = hand
        self.image_size = image_size
        self.margin = margin
        self.rasterise = TorchRasterizer()
        faces = hand.faces.cpu().numpy()
        loop = wrist_loop(faces)
        bare = Forearm(bend=np.eye(3), sleeve_from=float(RINGS[-1]), girth=1.0)
        self.hand_faces = len(faces)
        self.hand_vertices = int(faces.max()) + 1
        self.arm_vertices = len(RINGS) * len(loop) + 1
        rng = np.random.default_rng(0)
        solids = [sample_solid(kind, rng) for kind in SOLID_KINDS for _ in range(SOLIDS_OF_A_KIND)]
        buffers = {
            "loop": loop,
            "body_faces": np.concatenate([faces, bare.faces(loop, self.hand_vertices)]),
            "grain": rng.normal(size=(GRAIN_SIDE, GRAIN_SIDE, 3)).astype(np.float32),
            **_collection(solids),
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    @torch.no_grad()
    def forward(self, scene: LooseScene) -> HandBatch:
        """Render.

        Args:
            scene: A batch.

        Returns:
            Pictures with all labels. The crop transform is the identity: the picture is the source image.
        """
        placed = self._place(scene)
        size = self.image_size
        batch, count = len(placed.vertices), self.hand_vertices
        fragments = self.rasterise(placed.vertices, placed.faces, placed.intrinsics, (size, size))
        vertices = placed.vertices[:, :count]
        points_2d, joints_2d = (_project(points, placed.intrinsics) for points in (vertices, placed.joints))
        seen = depth_test(fragments, points_2d, vertices[..., 2], DEPTH_TOLERANCE_M)
        visible = joints_seen(placed.joints, vertices, self.hand.faces, seen)
        inside = ((joints_2d >= -0.5) & (joints_2d < size - 0.5)).all(dim=-1)
        face = fragments.pix_to_face
        identity = torch.eye(2, 3, device=face.device).expand(batch, 2, 3)
        return HandBatch(
            key=list(scene.key),
            index=torch.as_tensor(scene.number),
            image=self._paint(scene, placed, fragments),
            intrinsics=placed.intrinsics,
            crop_transform=identity.clone(),
            root_cam=placed.joints[:, 0].clone(),
            joints_cam=placed.joints,
            vertices_cam=vertices.contiguous(),
            joints_2d=joints_2d,
            visible=visible & inside,
            vertices_visible=seen,
            pose=scene.pose,
            betas=scene.betas,
            hand_mask=(face >= 0) & (face < self.hand_faces),
            object_mask=face >= len(self.body_faces),
            valid={name: torch.ones(batch, dtype=torch.bool, device=face.device) for name in OPTIONAL_LABELS},
        )

    def _place(self, scene: LooseScene) -> _Placed:
        mesh = self.hand(scene.pose[:, 3:], scene.betas, scene.pose[:, :3])
        rotation = roma.rotvec_to_rotmat(scene.pose[:, :3])
        # the middle of the hand's box lies where the scene says
        low, high = mesh.vertices.aminmax(dim=1)
        ray = torch.cat([scene.direction, torch.ones_like(scene.direction[:, :1])], dim=1)
        move = (ray * scene.distance[:, None] - (low + high) / 2)[:, None]
        hand, joints = mesh.vertices + move, mesh.joints + move
        arm = arm_vertices(hand[:, self.loop], rotation, scene.bend, scene.girth)
        body = torch.cat([hand, arm], dim=1)
        turned = self.solid_vertices[scene.solid] * scene.solid_size[:, None, None]
        turned = _rotate(turned, scene.solid_rotation)
        thing = turned + _solid_place(scene, hand, turned)[:, None]
        vertices = torch.cat([body, thing], dim=1)
        solid_faces = self.solid_faces[scene.solid]
        solid_faces = torch.where(solid_faces < 0, -1, solid_faces + body.shape[1])
        faces = torch.cat([self.body_faces.expand(len(hand), -1, 3), solid_faces], dim=1)
        normals = torch.cat(
            [vertex_normals(body, self.body_faces), _rotate(self.solid_normals[scene.solid], scene.solid_rotation)],
            dim=1,
        )
        return _Placed(vertices, normals, _facing(vertices, faces), joints, self._frame(scene, hand))

    def _frame(self, scene: LooseScene, hand: Tensor) -> Tensor:
        """Camera (B, 3, 3) of the square picture around the hand."""
        low, high = (hand[..., :2] / hand[..., 2:]).aminmax(dim=1)
        side = (high - low).amax(dim=1) * self.margin * scene.zoom
        focal = self.image_size / side
        centre = (low + high) / 2 + scene.shift * side[:, None]
        intrinsics = torch.eye(3, device=hand.device).repeat(len(hand), 1, 1)
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
        intrinsics[:, :2, 2] = (self.image_size - 1) / 2 - focal[:, None] * centre
        return intrinsics

    def _paint(self, scene: LooseScene, placed: _Placed, fragments: Fragments) -> Tensor:
        """(B, 3, H, W) uint8 RGB."""
        size = self.image_size
        image_of = torch.div(fragments.pixels, size * size, rounding_mode="floor")
        place = fragments.pixels - image_of * size * size
        face = fragments.faces % fragments.num_faces
        attributes = torch.cat([placed.normals, self._colours(scene)], dim=2)
        normal, albedo, extra = interpolate_covered(fragments, placed.faces, attributes).split([3, 3, 2], dim=1)
        is_object = (face >= len(self.body_faces))[:, None]
        is_sleeve = (face >= self.hand_faces)[:, None] & (extra[:, :1] > scene.sleeve_from[image_of, None])
        textures = paint_collage(scene.texture, TEXTURE_SIZE) ** 2.2
        row, column = ((extra[:, 1 - axis].clamp(0, 1) * (TEXTURE_SIZE[axis] - 1)).round().long() for axis in (0, 1))
        albedo = torch.where(is_sleeve, scene.cloth[image_of], albedo)
        albedo = torch.where(is_object, textures[image_of, :, row, column], albedo)
        pixel = torch.stack([place % size, torch.div(place, size, rounding_mode="floor")], dim=1)
        camera = placed.intrinsics[image_of]
        ray = (pixel - camera[:, :2, 2]) / camera[:, 0, :1]
        ray = nn.functional.normalize(pad(ray, (0, 1), value=1.0), dim=1)
        colour = _shade(normal, ray, albedo, scene.light[image_of], is_object, face < self.hand_faces)
        colour = colour * _openness(fragments)
        # sRGB from here: what cameras do to a picture they do after this curve
        background = paint_collage(scene.background, (size // 2, size // 2))
        background = interpolate(background, (size, size), mode="bilinear", align_corners=False)
        drawn = fragments.spread(colour.clamp(0, 1) ** (1 / 2.2)).permute(0, 3, 1, 2)
        image = torch.where(fragments.mask[:, None], drawn, background)
        return self._develop(scene, image)

    def _colours(self, scene: LooseScene) -> Tensor:
        """(B, V, 5) of each vertex: albedo; texture coordinates of the object, or distance along the arm."""
        batch, device = len(scene.pose), scene.pose.device
        along = torch.tensor(RINGS, dtype=torch.float32, device=device)
        fade = (along / SKIN_FADE).clamp(max=1)[None, :, None, None]
        wrist = scene.skin[:, self.loop][:, None]
        arm = (wrist + fade * (scene.arm_skin[:, None, None] - wrist)).flatten(1, 2)
        distance = torch.cat([along.repeat_interleave(len(self.loop)), along[-1:]]).expand(batch, -1)
        uv = self.solid_uv[scene.solid]
        albedo = torch.cat([scene.skin, arm, scene.arm_skin[:, None], uv.new_zeros(*uv.shape[:2], 3)], dim=1)
        extra = torch.cat([pad(distance[..., None], (0, 1, self.hand_vertices, 0)), uv], dim=1)
        return torch.cat([albedo, extra], dim=2)

    def _develop(self, scene: LooseScene, image: Tensor) -> Tensor:
        """Lens, white balance, exposure and sensor: (B, 3, H, W) uint8 from sRGB in 0..1."""
        size = self.image_size
        image = image + scene.softness[:, None, None, None] * (_blur(image) - image)
        steps = torch.arange(size, device=image.device)
        rows, columns = ((scene.grain_offset[:, axis, None] + steps) % GRAIN_SIDE for axis in (0, 1))
        grain = self.grain[rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        image = 255 * image * scene.gain[:, :, None, None] + scene.grain[:, None, None, None] * grain
        return image.clamp(0, 255).round().to(torch.uint8)


def _collection(solids: list[Solid]) -> dict[str, np.ndarray]:
    """The meshes of all objects in arrays as long as the largest; faces that are not there are -1."""
    most_vertices, most_faces = (max(len(getattr(s, name)) for s in solids) for name in ("vertices", "faces"))

    def table(name: str, rows: int, fill: float) -> np.ndarray:
        values = [getattr(solid, name) for solid in solids]
        return np.stack([np.pad(v, ((0, rows - len(v)), (0, 0)), constant_values=fill) for v in values])

    return {
        "solid_vertices": table("vertices", most_vertices, 0).astype(np.float32),
        "solid_normals": table("normals", most_vertices, 0).astype(np.float32),
        "solid_uv": table("uv", most_vertices, 0).astype(np.float32),
        "solid_faces": table("faces", most_faces, -1).astype(np.int64),
    }


def _solid_place(scene: LooseScene, hand: Tensor, turned: Tensor) -> Tensor:
    """(B, 3) of the object's centre: wholly before or behind the hand, near one of its vertices' lines of sight."""
    nearest, furthest = hand[..., 2].aminmax(dim=1)
    front, back = turned[..., 2].aminmax(dim=1)
    aside, gap = scene.solid_offset[:, :2], scene.solid_offset[:, 2]
    z = torch.where(scene.in_front, nearest - back - gap, furthest - front + gap)
    anchor = hand[torch.arange(len(hand), device=hand.device), scene.solid_anchor]
    return torch.cat([anchor[:, :2] / anchor[:, 2:] * z[:, None] + aside, z[:, None]], dim=1)


def arm_vertices(loop: Tensor, rotation: Tensor, bend: Tensor, girth: Tensor) -> Tensor:
    """Arms that grow out of wrists; as `Forearm.vertices` for a batch, without sleeve.

    Args:
        loop: (B, N, 3) wrist vertices of posed hands, in the order of `wrist_loop`.
        rotation: (B, 3, 3) global rotations of the hands.
        bend: (B, 3) rotation vector from the hand to the arm, in the hand model's axes.
        girth: (B,) factor of the arm's thickness.

    Returns:
        (B, 10 N + 1, 3) ring by ring, then the middle of the far end; same frame as the loop.
    """
    centre = loop.mean(dim=1, keepdim=True)
    offset = _rotate(loop - centre, rotation.transpose(1, 2))
    angle = torch.atan2(offset[..., 1], offset[..., 2])
    place = torch.zeros_like(centre)
    rings, last = [], 0.0
    for distance, width, thickness in zip(RINGS.tolist(), RING_WIDTH.tolist(), RING_THICKNESS.tolist(), strict=True):
        frame = roma.rotvec_to_rotmat(bend * min(distance / BEND_LENGTH, 1.0))
        place = place + (distance - last) * frame[:, None, :, 0]
        last = distance
        size = girth[:, None]
        ellipse = torch.stack(
            [torch.zeros_like(angle), thickness * size * angle.sin(), width * size * angle.cos()], dim=-1
        )
        blend = min(distance / 0.05, 1.0)
        rings.append(place + _rotate((1 - blend) * offset + blend * ellipse, frame))
    return centre + _rotate(torch.cat([*rings, place], dim=1), rotation)


def paint_collage(collage: Collage, size: tuple[int, int]) -> Tensor:
    """Paint a batch of collages.

    Args:
        collage: A batch.
        size: Height and width, pixels.

    Returns:
        (B, 3, H, W) sRGB in 0..1.
    """
    device = collage.noise.device
    y, x = (torch.linspace(-1, 1, steps, device=device) for steps in size)
    here = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])
    noise = _noise(collage.noise, size)
    picture = torch.zeros(len(noise), 3, *size, device=device)
    for layer in range(collage.colours.shape[1]):
        first, second = (collage.colours[:, layer, i, :, None, None] for i in (0, 1))
        stripes = (collage.stripes[:, layer, :, None, None] * here).sum(dim=1, keepdim=True) % 1 < 0.5
        # the noise marbles what has no stripes
        plain = (collage.stripes[:, layer] == 0).all(dim=1)[:, None, None, None]
        mix = torch.where(plain, 0.5 + noise, stripes.float())
        colour = first + mix.clamp(0, 1) * (second - first)
        if layer == 0:
            picture = colour
            continue
        dx, dy = (here - collage.centres[:, layer - 1, :, None, None]).unbind(1)
        cos, sin = collage.turns[:, layer - 1, :, None, None].unbind(1)
        half_width, half_height = collage.half_sizes[:, layer - 1, :, None, None].clamp(min=1e-6).unbind(1)
        across, along = ((cos * dx + sin * dy) / half_width).abs(), ((cos * dy - sin * dx) / half_height).abs()
        ellipse = collage.ellipses[:, layer - 1, None, None]
        covered = torch.where(ellipse, across.square() + along.square(), torch.maximum(across, along)) < 1
        picture = torch.where(covered[:, None], colour, picture)
    return _blur((picture * (1 + 0.3 * noise)).clamp(0, 1))


def _blur(images: Tensor) -> Tensor:
    """Mean of the 3x3 pixels around each pixel of images (B, C, H, W); the border goes on outside."""
    # added up in two passes: pooling takes ten times as long on CPU
    wide = pad(images, (1, 1, 1, 1), mode="replicate")
    rows = wide[..., :-2, :] + wide[..., 1:-1, :] + wide[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def _noise(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 1, H, W) smooth noise of several scales, in about -1..1."""
    grids = values.split([side * side for side in NOISE_GRIDS], dim=1)
    total = values.new_zeros(len(values), 1, *size)
    for strength, side, grid in zip((0.5, 0.3, 0.15), NOISE_GRIDS, grids, strict=True):
        total += strength * interpolate(grid.view(-1, 1, side, side), size, mode="bicubic", align_corners=True)
    return total


def _shade(normal: Tensor, ray: Tensor, albedo: Tensor, light: Tensor, is_object: Tensor, is_hand: Tensor) -> Tensor:
    """Light of `Painter`: (P, 3) linear colours of pixels that see a surface."""
    to_light, key, sky, ground = light.unbind(dim=1)
    normal = nn.functional.normalize(normal, dim=1)
    cosine = (normal * to_light).sum(dim=1, keepdim=True)
    wrap = torch.where(is_object, 0.05, torch.tensor(SKIN_WRAP, dtype=torch.float32, device=normal.device))
    diffuse = ((cosine + wrap) / (1 + wrap)).clamp(min=0)
    ambient = ground + (sky - ground) * (0.5 - 0.5 * normal[:, 1:2])
    halfway = nn.functional.normalize(to_light - ray, dim=1)
    gloss = torch.where(is_object, float(GLOSS[OBJECT]), is_hand[:, None] * float(GLOSS[HAND]))
    highlight = gloss * (normal * halfway).sum(dim=1, keepdim=True).clamp(min=0) ** SHININESS * (cosine > 0)
    return albedo * (ambient + key * diffuse) + key * highlight


def _openness(fragments: Fragments) -> Tensor:
    """(P, 1) share of the light that reaches a pixel past nearer surfaces beside it, as `Painter`'s contact shadow."""
    size = fragments.size[1:]
    depth = torch.where(fragments.mask, fragments.depth, FAR_M)[:, None]
    shade = torch.zeros_like(depth)
    for cells in OCCLUSION_CELLS:
        around = interpolate(interpolate(depth, (cells, cells), mode="area"), size, mode="bilinear")
        behind = (depth - around) / OCCLUSION_DEPTH
        # what is far behind is another object, not a fold: let the shade fade out again
        shade += behind.clamp(0, 1) * (2 - behind).clamp(0, 1)
    return 1 - 0.3 * shade.flatten()[fragments.pixels, None]


def _facing(vertices: Tensor, faces: Tensor) -> Tensor:
    """Faces (B, F, 3) with -1 for those that show their back: all surfaces are closed, so these are never seen."""
    rows = torch.arange(len(vertices), device=vertices.device)[:, None]
    first, second, third = (vertices[rows, faces[..., corner].clamp(min=0)] for corner in range(3))
    towards = (torch.linalg.cross(second - first, third - first) * first).sum(dim=2) < 0
    return torch.where(towards[..., None], faces, -1)


def _rotate(points: Tensor, rotation: Tensor) -> Tensor:
    """Points (B, N, 3) turned by (B, 3, 3), written out so that nothing lowers the precision of a matrix product."""
    return (rotation[:, None] * points[:, :, None]).sum(dim=-1)


def _project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, N, 2) pixels of points (B, N, 3) before cameras (B, 3, 3) without skew; see `_rotate`."""
    focal, centre = intrinsics[:, None, (0, 1), (0, 1)], intrinsics[:, None, :2, 2]
    return focal * points[..., :2] / points[..., 2:] + centre
