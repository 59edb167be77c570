"""Searches over settings in the format of W&B sweep files, run on this machine."""

from handlit.sweeps.check import check_sweep
from handlit.sweeps.command import trial_command
from handlit.sweeps.local import LocalSweep
from handlit.sweeps.page import render_sweep
from handlit.sweeps.results import report_results
from handlit.sweeps.slots import trial_slots
from handlit.sweeps.sweep_file import Sweep, load_sweep
from handlit.sweeps.trial import Trial

__all__ = [
    "LocalSweep",
    "Sweep",
    "Trial",
    "check_sweep",
    "load_sweep",
    "render_sweep",
    "report_results",
    "trial_command",
    "trial_slots",
]
