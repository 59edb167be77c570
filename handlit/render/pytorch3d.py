"""PyTorch3D's rasteriser behind handlit's interface. PyTorch3D is optional: only building the backend needs it."""

import torch
from torch import Tensor

from handlit.errors import InputError
from handlit.render.rasterizer import Fragments, flat_corners, to_screen


class PyTorch3DRasterizer:
    """PyTorch3D's kernels with the interface of `TorchRasterizer`: one face a pixel, no blur, both sides drawn.

    Vertices are projected here, as `TorchRasterizer` projects them, to PyTorch3D's screen (+X left, +Y up, the shorter
    side from -1 to 1), without its camera classes: those take pixel intrinsics with ``in_ndc=False`` only, and draw
    nothing without. Pixel centres exactly on an edge may differ: PyTorch3D gives them to neither face.

    Args:
        near: Smallest depth that is drawn, metres; above 0.

    Raises:
        InputError: PyTorch3D is not installed.

    References:
        https://github.com/facebookresearch/pytorch3d.
    """

    def __init__(self, near: float = 0.01) -> None:
        if not near > 0:
            raise ValueError(f"near is {near}; expected a depth in front of the camera, in metres, e.g. 0.01")
        try:
            from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
            from pytorch3d.structures import Meshes
        except ImportError as error:
            raise InputError(
                f"PyTorch3D cannot be imported ({error}). docs/how_to/pytorch3d.md says how to build it; "
                "handlit.render.TorchRasterizer draws the same pixels without it"
            ) from error
        self.near = near
        self._rasterize, self._meshes = rasterize_meshes, Meshes

    def __call__(
        self, vertices_cam: Tensor, faces: Tensor, intrinsics: Tensor, image_size: tuple[int, int]
    ) -> Fragments:
        """Rasterise one mesh an image; arguments and result as for `TorchRasterizer`."""
        batch, num_vertices, _ = vertices_cam.shape
        height, width = image_size
        # PyTorch3D's kernels take float32 alone
        screen, usable = to_screen(vertices_cam.float(), intrinsics.float(), self.near)
        u, v, inverse_z = screen.view(3, batch, num_vertices)
        half = min(height, width) / 2
        on_screen = torch.stack([((width - 1) / 2 - u) / half, ((height - 1) / 2 - v) / half, 1 / inverse_z], dim=-1)

        corners, drawn = flat_corners(faces, batch, num_vertices)
        for corner in corners:
            drawn = drawn & usable.index_select(0, corner)
        first = num_vertices * torch.arange(batch, device=corners.device)[:, None, None]
        image_faces = corners.t().reshape(batch, -1, 3) - first
        # a face that is not drawn becomes one without area, which PyTorch3D skips
        image_faces = torch.where(drawn.view(batch, -1, 1), image_faces, 0)
        pix_to_face, depth, barycentric, _ = self._rasterize(
            self._meshes(on_screen, image_faces),
            image_size=(height, width),
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=True,
        )
        # PyTorch3D numbers the faces of all images consecutively
        count = image_faces.shape[1]
        row = torch.where(pix_to_face >= 0, pix_to_face % count, -1)
        return Fragments.from_images(row[..., 0], depth[..., 0], barycentric[..., 0, :], count)
