"""Files of hands: images, meshes and numbers. There may be thousands in a folder, so none waits for the disk."""

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from handlit.files import whole, write_bytes
from handlit.geometry.cameras import flip_opengl

_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 92)
MeshFormat = Literal["glb", "ply", "obj"]


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image (H, W, 3) uint8 RGB as png or, smaller and with some loss, as jpg."""
    encoded, data = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _QUALITY)
    if not encoded:
        raise RuntimeError(f"{path}: the image cannot be encoded")
    write_bytes(path, data.tobytes(), durable=False)


def write_numbers(path: Path, **arrays: Any) -> None:
    """Write arrays as npz."""
    with whole(path, durable=False) as temporary:
        np.savez_compressed(temporary, **arrays)


def write_mesh(path: Path, vertices: Tensor, faces: Tensor, colours: Tensor | None = None) -> None:
    """Write a mesh in OpenGL axes and metres, so that viewers show it upright.

    Args:
        path: The file; its suffix names the format, see `MeshFormat`.
        vertices: (V, 3) OpenCV camera axes, metres.
        faces: (F, 3) counter-clockwise seen from outside.
        colours: (V, 3) sRGB in [0, 1]; without them the file has none. A glb holds them as linear light, as glTF does.
    """
    if path.suffix == ".glb":
        mesh = upright_mesh(vertices, faces, None if colours is None else _linear_light(colours))
        give_material(mesh)
    else:
        mesh = upright_mesh(vertices, faces, colours)
    content: Any = mesh.export(file_type=path.suffix[1:])
    write_bytes(path, content.encode() if isinstance(content, str) else content, durable=False)


def upright_mesh(vertices: Tensor, faces: Tensor, colours: Tensor | None = None) -> Any:
    """The ``trimesh.Trimesh`` that `write_mesh` writes; arguments as there."""
    # takes a second to import, which only meshes need
    import trimesh

    rgb = None if colours is None else (colours.clamp(0, 1) * 255).round().byte().numpy()
    # OpenCV to OpenGL axes is a rotation, so the faces keep their orientation
    return trimesh.Trimesh(flip_opengl(vertices).numpy(), faces.numpy(), vertex_colors=rgb, process=False)


def give_material(mesh: Any) -> None:
    """Make a ``trimesh.Trimesh`` matt as skin is, and shaded smoothly; its vertices keep their colours.

    Without a material viewers of glTF take metal, which is nearly black; without normals they show every face.
    """
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    colours = mesh.visual.vertex_colors if mesh.visual.kind == "vertex" else None
    material = PBRMaterial(name="skin", metallicFactor=0.0, roughnessFactor=0.8, doubleSided=True)
    mesh.visual = TextureVisuals(material=material)
    if colours is not None:
        mesh.visual.vertex_attributes["color"] = colours
    # trimesh writes the normals that it has computed
    _ = mesh.vertex_normals


def _linear_light(srgb: Tensor) -> Tensor:
    """Linear light of sRGB, both in [0, 1] (IEC 61966-2-1)."""
    return torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
