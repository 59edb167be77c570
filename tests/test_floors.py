"""The house plan: a file imports only from lower floors, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

import handlit

PACKAGE = Path(handlit.__file__).parent
FLOORS = {
    "skeleton": 0,
    "types": 0,
    "seeding": 0,
    "geometry": 1,
    "hand": 2,
    "distributions": 3,
    "losses": 3,
    "render": 3,
    "models": 4,
    "metrics": 4,
    "scoring": 5,
    "methods": 6,
    "data": 6,
    "callbacks": 6,
    "sweeps": 6,
    "cli": 7,
}
#: Libraries that only some parts may import.
RESTRICTED = {
    "pytorch_lightning": {"methods", "data", "callbacks", "cli"},
    "torchmetrics": {"metrics", "methods"},
    "wandb": {"callbacks"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def test_every_part_has_a_floor() -> None:
    assert {part_of(path) for path in FILES} == set(FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_lower_floors(path: Path) -> None:
    part = part_of(path)
    for module in imported_modules(path):
        top, *rest = module.split(".")
        if top == "handlit" and rest and rest[0] in FLOORS:
            other = rest[0]
            assert other == part or FLOORS[other] < FLOORS[part], f"{part} (floor {FLOORS[part]}) imports {module}"
        if top in RESTRICTED:
            assert part in RESTRICTED[top], f"{part} imports {top}"


def test_no_drawer_for_odds_and_ends() -> None:
    odd = {"utils", "helpers", "common", "misc"}
    assert not [path for path in PACKAGE.parent.rglob("*.py") if ".venv" not in path.parts and path.stem in odd]
