"""Time the rasteriser, its backward pass, shading and visibility on posed hands.

python -m scripts.benchmarks.rasterizer --threads 1
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import trimesh
from torch import Tensor

from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.render import TorchRasterizer, interpolate, point_visibility, render_lambert
from scripts.benchmarks.measure import Figure, in_turns, medians, parser_of, prepare

DISTANCE_M = 0.6
HAND_M = 0.22


def camera(focal: float, size: tuple[int, int], batch: int, device: torch.device) -> Tensor:
    """Pinhole camera that looks at the image's middle, (batch, 3, 3)."""
    height, width = size
    matrix = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return torch.tensor(matrix, device=device).expand(batch, 3, 3)


def posed_hands(batch: int, layer: HandLayer, device: torch.device) -> Tensor:
    """(batch, 778, 3) hands in random poses, centred on the optical axis."""
    generator = torch.Generator().manual_seed(0)
    pose, betas, orient = (torch.randn(batch, size, generator=generator).to(device) for size in (45, 10, 3))
    with torch.no_grad():
        vertices: Tensor = layer(0.25 * pose, betas, 2 * orient)[0]
    centre = (vertices.amin(dim=1, keepdim=True) + vertices.amax(dim=1, keepdim=True)) / 2
    return vertices - centre + torch.tensor([0.0, 0.0, DISTANCE_M], device=device)


def cases(args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    device, batch, size = args.device, args.batch, (args.size, args.size)
    asset = load_hand(args.mano)
    layer = HandLayer(asset).to(device)
    faces = torch.from_numpy(asset.faces).to(device)
    rasterise = TorchRasterizer()
    fixed = posed_hands(batch, layer, device)
    moving = fixed.clone().requires_grad_()
    colours = torch.rand_like(fixed).requires_grad_()
    intrinsics = camera(0.9 * args.size * DISTANCE_M / HAND_M, size, batch, device)
    alone, alone_camera = fixed[:1], intrinsics[:1]

    can = trimesh.creation.cylinder(radius=0.03, height=0.12, sections=125)
    thing = torch.tensor(can.vertices, dtype=torch.float32, device=device) + alone.mean(dim=1) + 0.03
    scene = torch.cat([alone, thing[None]], dim=1)
    scene_faces = torch.cat([faces, torch.tensor(can.faces, device=device) + fixed.shape[1]])
    scene_size = (480, 640)
    scene_camera = camera(600, scene_size, 1, device)

    def forward(vertices: Tensor, intrinsics: Tensor) -> Tensor:
        return interpolate(rasterise(vertices, faces, intrinsics, size), faces, colours)

    fixed_image, moving_image = forward(fixed, intrinsics), forward(moving, intrinsics)
    gradient = torch.rand_like(fixed_image)

    @torch.no_grad()
    def picture() -> Tensor:
        return render_lambert(rasterise(fixed, faces, intrinsics, size), faces, fixed, colours)

    covered = (fixed_image != 0).any(dim=-1).float().mean()
    print(f"{batch} hands at {args.size}x{args.size} cover {covered:.0%}; {args.threads} threads, {device}")
    return {
        "rasterise 1": torch.no_grad()(lambda: rasterise(alone, faces, alone_camera, size)),
        f"rasterise {batch}": torch.no_grad()(lambda: rasterise(fixed, faces, intrinsics, size)),
        f"rasterise and interpolate {batch}, with graph": lambda: forward(moving, intrinsics),
        f"backward to colours {batch}": lambda: torch.autograd.grad(fixed_image, colours, gradient, retain_graph=True),
        f"backward to colours and vertices {batch}": lambda: torch.autograd.grad(
            moving_image, (colours, moving), gradient, retain_graph=True
        ),
        f"rasterise and shade {batch}": picture,
        f"visibility of the vertices {batch}": lambda: point_visibility(fixed, fixed, faces, intrinsics, size),
        "rasterise hand and can, 640x480": torch.no_grad()(
            lambda: rasterise(scene, scene_faces, scene_camera, scene_size)
        ),
        "visibility of the hand behind the can": lambda: point_visibility(
            alone, scene, scene_faces, scene_camera, scene_size
        ),
    }


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Time the cases in turns and print their medians."""
    parser = parser_of(__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--mano", type=Path, default=None, help="MANO file or folder; the stand-in hand without it")
    args = parser.parse_args(arguments)
    prepare(args)

    measured = medians(in_turns(cases(args), args.repeats, args.device, warm_up=2))
    for name, seconds in measured.items():
        print(f"{name:48s} {1000 * seconds:8.2f} ms")
    figures = [Figure(f"{name}, {args.size} px", 1000 * seconds, "ms") for name, seconds in measured.items()]
    an_image = 1000 * measured[f"rasterise {args.batch}"] / args.batch
    return [*figures, Figure(f"rasterise {args.batch}, {args.size} px, an image", an_image, "ms")]


if __name__ == "__main__":
    main()
