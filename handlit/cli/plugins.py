"""Makes datasets, methods and measures known that are not part of handlit."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from handlit.errors import InputError

#: Entry points whose modules are imported before every command; an installed package names its modules there.
GROUP = "handlit.plugins"
#: Packages that the last call of `import_plugins` imported from.
_packages: set[str] = set()


def imported_packages() -> frozenset[str]:
    """Top-level names of the modules that the user has named by ``--import`` or by installing a plugin."""
    return frozenset(_packages)


def import_plugins(arguments: Sequence[str]) -> list[str]:
    """Import the modules of installed plugins and of ``--import MODULE`` before the command.

    A module registers what it adds while it is imported. The current folder is searched, too.

    Args:
        arguments: Of the command line.

    Returns:
        The arguments from the command on.

    Raises:
        InputError: A module cannot be found, an installed plugin cannot be imported, or ``--import`` has no name.
    """
    _packages.clear()
    for plugin in entry_points(group=GROUP):
        _packages.add(plugin.module.partition(".")[0])
        try:
            plugin.load()
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"the installed plugin {plugin.name} ({plugin.value}) cannot be imported ({error}): mend or "
                "uninstall it"
            ) from error
    rest = list(arguments)
    while rest and rest[0].partition("=")[0] == "--import":
        option, separator, name = rest.pop(0).partition("=")
        if not separator:
            name = rest.pop(0) if rest else ""
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        try:
            import_module(name)
        except (ImportError, ValueError, TypeError) as error:
            raise InputError(
                f"{option} {name}: {error}; expected the name of a module in this folder or on PYTHONPATH, before the "
                "command: --import my_dataset score ..."
            ) from error
        _packages.add(name.partition(".")[0])
    return rest
