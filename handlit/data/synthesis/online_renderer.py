"""Images and exact labels of a batch of `OnlineScene`, on any device."""

import numpy as np
import roma
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from handlit.data.synthesis.arm import rotate
from handlit.data.synthesis.collage import blur, paint
from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.online_scene import Camera, Item, OnlineScene, View
from handlit.data.synthesis.renderer import HAND, OBJECT, Placed, PlacedObject, SceneRenderer
from handlit.data.synthesis.solids import SOLID_KINDS, Solid, sample_solid
from handlit.geometry.crops import inside
from handlit.hand.layer import HandLayer
from handlit.hand.proportions import NUM_BONES
from handlit.render import depth_test
from handlit.render.visibility import joints_seen
from handlit.types import OPTIONAL_LABELS, HandBatch

#: Objects of each kind in the collection; an image takes one of them and changes its size.
OBJECTS_OF_A_KIND = 8
NUM_OBJECTS = OBJECTS_OF_A_KIND * len(SOLID_KINDS)
#: Side of the tile of sensor noise, pixels.
GRAIN_SIDE = 64
#: Height and width of an object's texture.
TEXTURE_SIZE = (96, 144)
#: What a surface may change in depth within a pixel, metres; for the visibility of vertices.
DEPTH_TOLERANCE_M = 0.005
#: Labels that rendered hands do not have: nothing is detected in them, and their fingers are neither bent nor stretched
#: by anybody's word.
_LACKING = ("detected", "fingers")
#: How far a nearer surface casts a shade beside it, as shares of the image: its core and its rim.
SHADE_REACH = (1 / 56, 3 / 56)


class OnlineRenderer(nn.Module):
    """Renders batches of scenes.

    Args:
        model: The hand model.
        hand: Its layer with the conventions of the labels that are wanted.
        image_size: Side of the square images, pixels.
        margin: Side of the images relative to the longer side of the box around the hand, before zoom.
    """

    object_vertices: Tensor
    object_normals: Tensor
    object_uv: Tensor
    object_faces: Tensor
    grain: Tensor

    def __init__(self, model: HandModel, hand: HandLayer, image_size: int, margin: float) -> None:
        super().__init__()
        self.hand = hand
        self.renderer = SceneRenderer(model)
        self.image_size = image_size
        self.margin = margin
        rng = np.random.default_rng(0)
        solids = [sample_solid(kind, rng) for kind in SOLID_KINDS for _ in range(OBJECTS_OF_A_KIND)]
        grain = rng.normal(size=(3, GRAIN_SIDE, GRAIN_SIDE)).astype(np.float32)
        for name, values in {"grain": grain, **_collection(solids)}.items():
            self.register_buffer(name, torch.from_numpy(values), persistent=False)

    @torch.no_grad()
    def forward(self, online: OnlineScene) -> HandBatch:
        """Render.

        Args:
            online: A batch.

        Returns:
            Images with all labels. The crop transform is the identity: the image is the source image.
        """
        scene, size = online.scene, self.image_size
        placed, joints = self.place(online)
        vertices = placed.vertices[:, : self.renderer.num_hand_vertices]
        intrinsics = self._frame(online.view, vertices)
        core, rim = (max(2, round(share * size)) for share in SHADE_REACH)
        textures = paint(scene.texture, TEXTURE_SIZE) ** 2.2
        drawing = self.renderer.draw(placed, scene.person, scene.light, textures, intrinsics, (size, size), (core, rim))
        fragments = drawing.fragments
        points_2d, joints_2d = (_project(points, intrinsics) for points in (vertices, joints))
        seen = depth_test(fragments, points_2d, vertices[..., 2], DEPTH_TOLERANCE_M)
        parts = fragments.spread(drawing.parts)
        background = interpolate(paint(scene.background, (size // 2, size // 2)), (size, size), mode="bilinear")
        drawn = fragments.spread(drawing.colours.t()).permute(0, 3, 1, 2)
        batch, device = len(vertices), vertices.device
        return HandBatch(
            key=list(online.key),
            index=torch.as_tensor(online.number),
            image=self._develop(online.camera, torch.where(fragments.mask[:, None], drawn, background)),
            intrinsics=intrinsics,
            crop_transform=torch.eye(2, 3, device=device).repeat(batch, 1, 1),
            root_cam=joints[:, 0].clone(),
            joints_cam=joints,
            vertices_cam=vertices.contiguous(),
            joints_2d=joints_2d,
            confidence=torch.ones_like(joints_2d[..., 0]),
            detected=torch.zeros(batch, 21, 3, device=device),
            visible=joints_seen(joints, vertices, self.hand.faces, seen) & inside(joints_2d, size),
            vertices_visible=seen,
            fingers=torch.full((batch, 5), -1, dtype=torch.int8, device=device),
            pose=scene.pose,
            betas=scene.person.betas,
            ratios=torch.ones(batch, NUM_BONES, device=device),
            hand_mask=parts == HAND,
            object_mask=parts == OBJECT,
            valid={name: torch.full((batch,), name not in _LACKING, device=device) for name in OPTIONAL_LABELS},
        )

    def place(self, online: OnlineScene) -> tuple[Placed, Tensor]:
        """Put hands, arms and objects before the camera; also the joints (B, 21, 3)."""
        pose, view, item = online.scene.pose, online.view, online.item
        mesh = self.hand(pose[:, 3:], online.scene.person.betas, pose[:, :3])
        # the middle of the hand's box lies where the view says
        low, high = mesh.vertices.aminmax(dim=1)
        ray = torch.cat([view.direction, torch.ones_like(view.direction[:, :1])], dim=1)
        move = (ray * view.distance[:, None] - (low + high) / 2)[:, None]
        hand = mesh.vertices + move
        turned = rotate(self.object_vertices[item.number] * item.size[:, None, None], item.rotation)
        placed_object = PlacedObject(
            vertices=turned + _object_centre(item, hand, turned)[:, None],
            normals=rotate(self.object_normals[item.number], item.rotation),
            uv=self.object_uv[item.number],
            faces=self.object_faces[item.number],
        )
        orientation = roma.rotvec_to_rotmat(pose[:, :3])
        return self.renderer.place(hand, orientation, online.scene.person, placed_object), mesh.joints + move

    def _frame(self, view: View, hand: Tensor) -> Tensor:
        """Camera (B, 3, 3) of the square image around the hand."""
        low, high = (hand[..., :2] / hand[..., 2:]).aminmax(dim=1)
        side = (high - low).amax(dim=1) * self.margin * view.zoom
        focal = self.image_size / side
        centre = (low + high) / 2 + view.shift * side[:, None]
        intrinsics = torch.eye(3, device=hand.device).repeat(len(hand), 1, 1)
        intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = focal
        intrinsics[:, :2, 2] = (self.image_size - 1) / 2 - focal[:, None] * centre
        return intrinsics

    def _develop(self, camera: Camera, image: Tensor) -> Tensor:
        """Lens, white balance, exposure and sensor: (B, 3, H, W) uint8 from sRGB in 0..1."""
        image = image + camera.softness[:, None, None, None] * (blur(image) - image)
        steps = torch.arange(self.image_size, device=image.device)
        rows, columns = ((camera.grain_offset[:, axis, None] + steps) % GRAIN_SIDE for axis in (0, 1))
        grain = self.grain[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1)
        image = 255 * image * camera.gain[:, :, None, None] + camera.grain[:, None, None, None] * grain
        return image.clamp(0, 255).round().to(torch.uint8)


def _collection(solids: list[Solid]) -> dict[str, np.ndarray]:
    """The meshes of all objects in arrays as long as the largest; faces that are not there are -1."""
    most_vertices, most_faces = (max(len(getattr(s, name)) for s in solids) for name in ("vertices", "faces"))

    def table(name: str, rows: int, fill: float) -> np.ndarray:
        values = [getattr(solid, name) for solid in solids]
        return np.stack([np.pad(v, ((0, rows - len(v)), (0, 0)), constant_values=fill) for v in values])

    return {
        "object_vertices": table("vertices", most_vertices, 0).astype(np.float32),
        "object_normals": table("normals", most_vertices, 0).astype(np.float32),
        "object_uv": table("uv", most_vertices, 0).astype(np.float32),
        "object_faces": table("faces", most_faces, -1).astype(np.int64),
    }


def _object_centre(item: Item, hand: Tensor, turned: Tensor) -> Tensor:
    """(B, 3) wholly before or behind the hand (B, 778, 3), near one of its vertices' lines of sight."""
    nearest, furthest = hand[..., 2].aminmax(dim=1)
    front, back = turned[..., 2].aminmax(dim=1)
    aside, gap = item.offset[:, :2], item.offset[:, 2]
    z = torch.where(item.in_front, nearest - back - gap, furthest - front + gap)
    anchor = hand[torch.arange(len(hand), device=hand.device), item.anchor]
    return torch.cat([anchor[:, :2] / anchor[:, 2:] * z[:, None] + aside, z[:, None]], dim=1)


def _project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, N, 2) pixels of points (B, N, 3) before cameras (B, 3, 3) without skew; written out as `rotate` is."""
    focal, centre = intrinsics[:, None, (0, 1), (0, 1)], intrinsics[:, None, :2, 2]
    return focal * points[..., :2] / points[..., 2:] + centre
