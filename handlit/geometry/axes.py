"""Axes of cameras. Without torch, whose import takes longer than what `score` says of its options."""

#: Multiply points in OpenGL camera axes (x right, y up, z towards the viewer) by this to get OpenCV axes, and back.
OPENGL_TO_OPENCV = (1.0, -1.0, -1.0)
