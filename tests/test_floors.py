"""The house plan: a file imports only from lower floors, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

import handlit

PACKAGE = Path(handlit.__file__).parent
FLOORS = {
    "types": 0,
    "errors": 0,
    "files": 0,
    "findings": 0,
    "program": 0,
    "run_folder": 0,
    "skeleton": 0,
    "seeding": 0,
    "version": 0,
    "reading": 1,
    "geometry": 1,
    "hand": 2,
    "yaml_files": 2,
    "render": 3,
    "formats": 3,
    "distributions": 3,
    "losses": 3,
    "models": 4,
    "metrics": 4,
    "landmarks": 4,
    "scoring": 5,
    "calibration": 5,
    "data": 6,
    "methods": 6,
    "callbacks": 6,
    "sweeps": 6,
    "reconstruct": 7,
    "annotation": 8,
    "demo": 8,
    "cli": 9,
    "__main__": 10,
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


def test_no_module_imports_itself_in_a_circle() -> None:
    names = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    imports = {
        name: {longest_known(module, names) for module in imported_modules(path)} - {None, name, "handlit"}
        for name, path in names.items()
    }
    finished: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in finished:
            for other in imports[name]:
                visit(other, (*trail, name))
            finished.add(name)

    for name in names:
        visit(name, ())


def module_name(path: Path) -> str:
    return ".".join(["handlit", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def longest_known(module: str, names: dict[str, Path]) -> str | None:
    """The module of the package that an imported name lies in, itself included."""
    while module and module not in names:
        module = module.rpartition(".")[0]
    return module or None


def test_no_drawer_for_odds_and_ends() -> None:
    odd = {"utils", "helpers", "common", "misc"}
    assert not [path for path in PACKAGE.parent.rglob("*.py") if ".venv" not in path.parts and path.stem in odd]


def test_no_file_and_no_function_grows_too_long_or_too_deep() -> None:
    found = []
    for path in sorted(path for room in ("handlit", "scripts") for path in (PACKAGE.parent / room).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        found += [f"{path}: {source.count(chr(10))} lines"] if source.count("\n") > 400 else []
        for function in functions:
            lines, levels = (function.end_lineno or 0) - function.lineno + 1, nesting(function)
            if lines > 60 or levels > 4:
                found.append(f"{path}: {function.name} has {lines} lines, {levels} levels")
    assert not found, "at most 400 lines a file, 60 a function, 4 levels within one: cut it up"


def nesting(node: ast.AST) -> int:
    """Levels of blocks within a node; ``elif`` is none of its own."""
    below = 0
    for child in ast.iter_child_nodes(node):
        is_block = isinstance(child, ast.If | ast.For | ast.While | ast.With | ast.Try | ast.Match)
        is_elif = isinstance(child, ast.If) and isinstance(node, ast.If) and node.orelse == [child]
        below = max(below, nesting(child) + (is_block and not is_elif))
    return below
