"""AMVUR's occlusion-aware texture regression: a colour for every vertex of a hand, visible or not.

Image features are sampled at the projections of visible vertices. A vertex that the hand itself, an object or the edge
of the image hides is not sampled, since its features would be those of what hides it: it gets a learned token, and
attention completes its colour from the visible vertices. In training some of these are treated as hidden, so that
completion is learned against true pixels.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handlit.distributions.cameras import Camera
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.errors import InputError
from handlit.geometry.cameras import normalised_to_crop
from handlit.hand.asset import HandAsset
from handlit.models.attention_decoder import INIT_STD, EncoderLayer
from handlit.render import (
    Fragments,
    Rasterizer,
    TorchRasterizer,
    depth_test,
    faces_seen_whole,
    rasterize_screen,
    render_lambert,
    shown_at,
)

#: Distance at which a hand is drawn if its camera has none, metres; see `rasterize_screen`.
WEAK_PERSPECTIVE_DISTANCE_M = 10.0


@dataclass(frozen=True)
class HandView:
    """Hands as a camera sees them.

    Attributes:
        points: (B, 778, 2) projected vertices in normalised crop coordinates.
        positions: (B, 778, 3) vertices, metres: in the camera frame, or with the wrist as origin for a camera without a
            depth. Normals and light are those of this frame.
        fragments: What each pixel of the crop sees.
        visible: (B, 778) bool, vertices that the camera sees and that no known mask hides.
        faces: (1538, 3).
    """

    points: Tensor
    positions: Tensor
    fragments: Fragments
    visible: Tensor
    faces: Tensor

    def render(self, colours: Tensor) -> tuple[Tensor, Tensor]:
        """Render coloured hands under AMVUR's light.

        Args:
            colours: (B, 778, 3) RGB in [0, 1].

        Returns:
            (B, H, W, 3) RGB, black on the background; and (B, H, W) bool, pixels that only visible vertices colour: a
            loss over these has no gradient at the colour of a hidden vertex.
        """
        image = render_lambert(self.fragments, self.faces, self.positions, colours)
        return image, faces_seen_whole(self.fragments, self.faces, self.visible)


def view_hands(
    mesh: MeshGaussian,
    camera: Camera,
    faces: Tensor,
    image_size: int,
    shown: Tensor | None = None,
    rasterizer: Rasterizer | None = None,
) -> HandView:
    """Draw mean meshes with the camera that a network predicts.

    Args:
        mesh: Over wrist-relative vertices (B, 778, 3), metres.
        camera: Of the same images.
        faces: (1538, 3).
        image_size: Side of the crop, pixels.
        shown: (B, H, W) bool, pixels at which a vertex may be seen, e.g. `losses.photometric.hand_pixels`; all pixels
            by default.
        rasterizer: Backend; handlit's own by default.

    Returns:
        The view, in float32; differentiable in the mean mesh and the camera.
    """
    with torch.autocast(mesh.mean.device.type, enabled=False):
        points = camera.project(mesh.base_dist).mean
        positions, depths = mesh.mean, mesh.mean[..., 2] + WEAK_PERSPECTIVE_DISTANCE_M
        if camera.root_cam is not None:
            positions = mesh.mean + camera.root_cam[:, None]
            depths = positions[..., 2]
        pixels = normalised_to_crop(points, image_size)
        size = (image_size, image_size)
        fragments = rasterize_screen(rasterizer or TorchRasterizer(), pixels, depths, faces, size)
        visible = depth_test(fragments, pixels, depths)
        if shown is not None:
            visible = visible & shown_at(shown, pixels)
        return HandView(points, positions, fragments, visible, faces)


def sample_maps(maps: Sequence[Tensor], points: Tensor) -> Tensor:
    """Sample feature maps of any resolution at points of the image, bilinearly; beyond the border as at the border.

    Args:
        maps: (B, C_k, H_k, W_k) each, of the same crops.
        points: (B, N, 2) in [-1, 1] from edge to edge of the crop.

    Returns:
        (B, N, sum of C_k), the maps' channels in their order.
    """
    # a point far outside takes the border's value, and its distance must not cost digits
    grid = points.clamp(-2, 2)[:, :, None]
    # maps of half precision are raised to the points' precision: coordinates of 8 bits would miss by half a pixel
    sampled = [F.grid_sample(m.to(grid.dtype), grid, padding_mode="border", align_corners=False) for m in maps]
    return torch.cat(sampled, dim=1).squeeze(-1).mT


class TextureDecoder(nn.Module):
    """Feature maps and a view of the hand to a colour for each vertex.

    The published code reads features at wrong scales, treats the first 21 vertices as joints that attention never
    updates, gives hidden vertices the features of what hides them, and leaves colours unbounded.

    Args:
        map_channels: Of the backbone's maps, `Backbone.map_channels`.
        asset: The hand model; its template says which vertices are near one another.
        hidden: Width of the vertex tokens.
        feedforward: Width inside the transformer layers' two-layer networks.
        heads: Attention heads; divides `hidden`.
        layers: Transformer layers.
        dropout: Of embeddings and residual branches.
        attention_dropout: Of the attention probabilities; where attention has no fused kernel with dropout (CPUs), any
            but 0 is slow and needs memory for all pairs of vertices.
        hide_radius_m: While training, vertices within a random fraction of this radius around a random vertex are
            treated as hidden.
    """

    template: Tensor

    def __init__(
        self,
        map_channels: Sequence[int],
        asset: HandAsset,
        *,
        hidden: int = 216,
        feedforward: int = 216,
        heads: int = 12,
        layers: int = 4,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        hide_radius_m: float = 0.05,
    ) -> None:
        super().__init__()
        if not map_channels:
            raise InputError("the texture reads the backbone's feature maps: build the backbone with maps: true")
        if hidden % heads:
            raise InputError(f"the texture's hidden width {hidden} is not a multiple of its {heads} heads")
        template = torch.tensor(asset.template, dtype=torch.float32)
        self.register_buffer("template", template, persistent=False)
        self.hide_radius_m = hide_radius_m
        features = sum(map_channels)
        # maps of different networks and depths differ in scale by orders of magnitude
        self.norm = nn.LayerNorm(features)
        self.embedding = nn.Linear(features, hidden)
        self.hidden_token = nn.Parameter(torch.empty(hidden))
        self.position = nn.Parameter(torch.empty(len(template), hidden))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            *(EncoderLayer(hidden, heads, feedforward, dropout, attention_dropout) for _ in range(layers))
        )
        self.head = nn.Linear(hidden, 3)
        self.residual = nn.Linear(features, 3, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(self.hidden_token, std=INIT_STD)
        nn.init.normal_(self.position, std=INIT_STD)

    def forward(self, maps: Sequence[Tensor], points: Tensor, visible: Tensor) -> Tensor:
        """Colour hands.

        Args:
            maps: (B, C_k, H_k, W_k) each.
            points: (B, 778, 2) projected vertices in normalised crop coordinates.
            visible: (B, 778) bool, vertices whose features are sampled.

        Returns:
            (B, 778, 3) RGB in [0, 1], before light; float32 also under autocast.
        """
        if self.training:
            visible = visible & ~self._patch(len(visible))
        seen = visible[..., None]
        # masked before any computation: no gradient and no infinity comes from hidden vertices' features
        features = self.norm(torch.where(seen, sample_maps(maps, points), 0))
        tokens = torch.where(seen, self.embedding(features), self.hidden_token)
        states = self.layers(self.dropout(tokens + self.position))
        colours = self.head(states) + torch.where(seen, self.residual(features), 0)
        return colours.float().sigmoid()

    def _patch(self, batch: int) -> Tensor:
        """(B, 778) bool, vertices about a random one."""
        device = self.template.device
        centre = self.template[torch.randint(len(self.template), (batch, 1), device=device)]
        radius = self.hide_radius_m * torch.rand(batch, 1, device=device)
        return (self.template - centre).norm(dim=-1) < radius
