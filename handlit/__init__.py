"""handlit: probabilistic 3D hand reconstruction from one RGB image, on PyTorch Lightning."""

import os

# OpenCV reads this once, when it is imported; by its own limit a small file may reserve 3 GB. Phones: 108 million
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 27))

__version__ = "0.2.0"
