"""How many trials run at once, and what each of them gets of the machine."""

import os

import torch

from handlit.errors import InputError
from handlit.sweeps.sweep_file import Sweep


def trial_slots(sweep: Sweep, parallel: int | None) -> list[dict[str, str]]:
    """Environment variables of each slot for one trial at a time.

    Args:
        sweep: The sweep.
        parallel: Number of trials at once; by default one to a GPU, or one on a CPU.

    Raises:
        InputError: There are fewer GPUs.
    """
    shared = {"WANDB_RUN_GROUP": sweep.path.stem, "WANDB_MODE": "offline"}
    shared |= {f"WANDB_{key.upper()}": sweep.texts[key] for key in ("project", "entity") if key in sweep.texts}
    if count := torch.cuda.device_count():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [str(gpu) for gpu in range(count)] if visible is None else visible.split(",")
        names = [name.strip() for name in names if name.strip()][:count]
        if parallel is not None and parallel > len(names):
            raise InputError(f"--parallel {parallel}: a trial has a GPU to itself, and there are {len(names)}")
        return [{**shared, "CUDA_VISIBLE_DEVICES": name} for name in names[:parallel]]
    parallel = parallel or 1
    threads = max(1, (os.cpu_count() or 1) // parallel)
    return [{**shared, "OMP_NUM_THREADS": str(threads)}] * parallel
