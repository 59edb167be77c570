"""The name under which handlit was called, for messages that show a command."""

import sys
from pathlib import Path


def program() -> str:
    """``python main.py``, ``python -m handlit``, or ``handlit`` where it was called by that or from Python code."""
    called = Path(sys.argv[0])
    if called.name == "main.py":
        return "python main.py"
    return "python -m handlit" if called.name == "__main__.py" and called.parent.name == "handlit" else "handlit"
