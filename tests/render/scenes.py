"""Small scenes to draw."""

import torch
import trimesh
from torch import Tensor


def camera(focal: float, size: tuple[int, int], batch: int = 1) -> Tensor:
    height, width = size
    matrix = torch.tensor([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return matrix.expand(batch, 3, 3)


def sphere(radius: float, centre: tuple[float, float, float], subdivisions: int = 2) -> tuple[Tensor, Tensor]:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return torch.tensor(mesh.vertices, dtype=torch.float32) + torch.tensor(centre), torch.tensor(mesh.faces)


def square(half: float, depth: float) -> tuple[Tensor, Tensor]:
    """Square across the optical axis, facing the camera."""
    vertices = torch.tensor([[-half, -half, depth], [half, -half, depth], [half, half, depth], [-half, half, depth]])
    return vertices, torch.tensor([[0, 2, 1], [0, 3, 2]])


def join(*meshes: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    faces, offset = [], 0
    for vertices, own_faces in meshes:
        faces.append(own_faces + offset)
        offset += len(vertices)
    return torch.cat([vertices for vertices, _ in meshes]), torch.cat(faces)


def triangle_soup(seed: int, batch: int, num_faces: int, reach: float = 0.2) -> tuple[Tensor, Tensor]:
    """Random triangles about 0.6 m away that overlap and cut each other; some reach out of a 60 degree view."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(batch, num_faces, 1, 3, generator=generator) - 0.5
    corners = centres * torch.tensor([0.7, 0.5, 0.4]) + torch.tensor([0, 0, 0.6])
    corners = corners + reach * (torch.rand(batch, num_faces, 3, 3, generator=generator) - 0.5)
    return corners.reshape(batch, -1, 3), torch.arange(3 * num_faces).view(-1, 3)
