"""handlit: probabilistic 3D hand reconstruction from one RGB image, on PyTorch Lightning."""

__version__ = "0.2.0"
