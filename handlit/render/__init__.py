"""Differentiable rendering of hands in plain torch."""

from handlit.render.rasterizer import Fragments, Rasterizer, TorchRasterizer
from handlit.render.shading import interpolate, lambert, render_lambert, vertex_normals
from handlit.render.visibility import point_visibility

__all__ = [
    "Fragments",
    "Rasterizer",
    "TorchRasterizer",
    "interpolate",
    "lambert",
    "point_visibility",
    "render_lambert",
    "vertex_normals",
]
