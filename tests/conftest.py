"""One thread a process: tests run in two of them, and sums are the same on every machine."""

import os

# read when the libraries are imported, here and in the processes that tests start
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import torch  # noqa: E402

torch.set_num_threads(1)
