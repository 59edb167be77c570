"""handlit: probabilistic 3D hand reconstruction from one RGB image, on PyTorch Lightning."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from handlit.cli.run_method import load_method
    from handlit.reconstruct import Reconstructor

# OpenCV reads this once, when it is imported; by its own limit a small file may reserve 3 GB. Phones: 108 million
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 26))

__version__ = "0.2.0"

__all__ = ["Reconstructor", "load_method"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is asked for: it brings PyTorch along."""
    if name == "Reconstructor":
        from handlit.reconstruct import Reconstructor

        return Reconstructor
    if name == "load_method":
        from handlit.cli.run_method import load_method

        return load_method
    raise AttributeError(f"module 'handlit' has no attribute '{name}'")
