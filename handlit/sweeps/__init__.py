"""Searches over settings in the format of W&B sweep files, run on this machine."""

from handlit.sweeps.local import LocalSweep
from handlit.sweeps.page import render_sweep
from handlit.sweeps.sweep_file import Sweep, load_sweep
from handlit.sweeps.trial import Trial

__all__ = ["LocalSweep", "Sweep", "Trial", "load_sweep", "render_sweep"]
