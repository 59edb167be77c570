"""Prints the exact versions of this environment, as far as the requirements reach.

``make constraints`` writes them to ``constraints.txt``: run it when the tests have passed. Packages that only some
platforms require are left out, as NVIDIA's, which come with torch.
"""

import platform
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
#: What a requirement must hold on to be written.
PLATFORMS = (
    {"platform_system": "Linux", "sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"},
    {"platform_system": "Darwin", "sys_platform": "darwin", "platform_machine": "arm64", "os_name": "posix"},
    {"platform_system": "Windows", "sys_platform": "win32", "platform_machine": "AMD64", "os_name": "nt"},
)


def main() -> None:
    """Print the file."""
    python = ".".join(platform.python_version_tuple()[:2])
    print(
        f"# Exact versions that the tests passed with, on Python {python} and {platform.system()}: `make constraints`."
    )
    print("# To use them: pip install -r requirements.txt -c constraints.txt")
    for name, version in sorted(installed(required())):
        print(f"{name}=={version}")


def required() -> list[Requirement]:
    """What the files of requirements name."""
    lines = [line for name in ("requirements.txt", "requirements-dev.txt") for line in _lines(ROOT / name)]
    return [Requirement(line) for line in lines]


def _lines(path: Path) -> list[str]:
    texts = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [text for text in texts if text and not text.startswith("-")]


def installed(waiting: list[Requirement]) -> set[tuple[str, str]]:
    """Names and versions of the packages that are required, and of those that they require.

    Args:
        waiting: What is required.
    """
    found: dict[tuple[str, str], str] = {}
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *sorted(requirement.extras)):
            key = canonicalize_name(requirement.name), extra
            if key in found:
                continue
            try:
                package = distribution(requirement.name)
            # not needed on this Python, or an optional part
            except PackageNotFoundError:
                break
            found[key] = Version(package.version).public
            waiting += [child for child in map(Requirement, package.requires or []) if _applies(child, extra)]
    return {(name, version) for (name, _), version in found.items()}


def _applies(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is None or all(marker.evaluate({**where, "extra": extra}) for where in PLATFORMS)


if __name__ == "__main__":
    main()
