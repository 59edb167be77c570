"""One HTML file with hands in 3D, to turn with the mouse, which needs no network."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from handlit.errors import InputError
from handlit.files import write_text
from handlit.formats.hand_files import give_material, upright_mesh
from handlit.render.overlays import scale_colours

#: Hands in a viewer; more would be too small to see.
MAX_HANDS = 60
#: From the middle of a hand to that of the next, metres.
_DISTANCE_M = 0.25


def write_viewer(path: Path, numbers: Sequence[Path]) -> int:
    """Write a page that shows hands side by side, coloured by their stated scale, with trimesh's viewer (three.js).

    Args:
        path: The page.
        numbers: npz files of hands (`ReconstructedHand.save`); at most `MAX_HANDS` are shown, in their order.

    Returns:
        How many hands it shows.

    Raises:
        InputError: There is no hand.
    """
    import trimesh
    from trimesh.viewer.notebook import scene_to_html

    shown = list(numbers[:MAX_HANDS])
    if not shown:
        raise InputError(f"{path}: there is no hand to show")
    columns = math.ceil(math.sqrt(len(shown)))
    scene = trimesh.Scene()
    for place, file in enumerate(shown):
        with np.load(file) as hand:
            vertices, faces, scale = (torch.from_numpy(hand[name]) for name in ("vertices", "faces", "vertex_scale"))
        centre = torch.tensor([_DISTANCE_M * (place % columns), _DISTANCE_M * (place // columns), 0.0])
        middle = (vertices.amin(0) + vertices.amax(0)) / 2
        # trimesh's page shows colours as they are in the file
        mesh = upright_mesh(vertices - middle + centre, faces, scale_colours(scale))
        give_material(mesh)
        scene.add_geometry(mesh, node_name=file.stem)
    # far enough for windows that are narrow
    scene.set_camera(angles=(0, 0, 0), distance=1.3 * float(max(scene.extents)))
    write_text(path, scene_to_html(scene))
    return len(shown)
