"""What all tests that need a GPU carry."""

import pytest
import torch

#: For ``pytestmark``.
NEEDS_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CUDA = torch.device("cuda")
