"""Which handlit made a file."""

import shutil
import subprocess
from pathlib import Path

import handlit


def code_version() -> str:
    """handlit's version and, in a git checkout, the commit, with a mark if files were changed since."""
    checkout = Path(handlit.__file__).parent.parent
    release = f"handlit {handlit.__version__}"
    git = shutil.which("git")
    if git is None or not (checkout / ".git").exists():
        return release
    command = [git, "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    described = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{release}, commit {described.stdout.strip()}" if described.returncode == 0 else release
