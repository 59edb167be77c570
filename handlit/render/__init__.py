"""Differentiable rendering of hands in plain torch."""

from handlit.render.projected_meshes import depth_test, faces_seen_whole, rasterize_screen, shown_at
from handlit.render.rasterizer import Fragments, Rasterizer, TorchRasterizer
from handlit.render.shading import interpolate, lambert, render_lambert, vertex_normals
from handlit.render.visibility import joints_seen, point_visibility

__all__ = [
    "Fragments",
    "Rasterizer",
    "TorchRasterizer",
    "depth_test",
    "faces_seen_whole",
    "interpolate",
    "joints_seen",
    "lambert",
    "point_visibility",
    "rasterize_screen",
    "render_lambert",
    "shown_at",
    "vertex_normals",
]
