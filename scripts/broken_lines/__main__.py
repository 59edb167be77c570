"""Do the tests catch a broken line? Breaks lines of the package one at a time and runs the tests of their modules.

python -m scripts.broken_lines --out runs/broken_lines; the same command resumes an interrupted run.
"""

import argparse
import difflib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from handlit.files import write_text
from scripts.broken_lines.sample import BrokenLine, draw_sample, mirrored_tests

ROOT = Path(__file__).parents[2]
#: ``caught``: a test failed, or none ended in time; ``survived``: all passed; ``broken before``: they fail without it.
Outcome = Literal["caught", "survived", "broken before"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser("python -m scripts.broken_lines", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the sample of lines")
    parser.add_argument("--count", type=int, default=60, help="lines to break")
    parser.add_argument("--out", type=Path, default=Path("runs/broken_lines"), metavar="DIR", help="folder to write")
    parser.add_argument("--workers", type=int, default=1, help="lines at a time, each in a copy of the tree")
    parser.add_argument(
        "--time_limit", type=float, default=600, help="seconds for the tests of a line; then it is caught"
    )
    options = parser.parse_args(arguments)
    sample = draw_sample(ROOT, options.seed, options.count)
    results = _earlier(options.out / "broken_lines.json")
    waiting = [line for line in sample if _key(line) not in results]
    print(f"{len(sample)} lines, {len(waiting)} of them still to be tried")
    trees: queue.Queue[Path] = queue.Queue()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.workers) as pool:
        for number in range(options.workers):
            trees.put(copy_tree(Path(folder) / str(number)))
        for result in pool.map(lambda line: _try(line, trees, options.time_limit), waiting):
            results[result["key"]] = result
            print(f"{result['outcome']:13s}  {result['path']}:{result['line']}  {result['kind']}", flush=True)
            _write(options, [results[_key(line)] for line in sample if _key(line) in results])
    done = [results[_key(line)] for line in sample]
    _write(options, done)
    for result in done:
        if result["outcome"] != "caught":
            print(f"\n{result['outcome']}: {' '.join(result['tests'])}\n{result['diff']}")
    print(dict(Counter(result["outcome"] for result in done)))


def copy_tree(to: Path) -> Path:
    """Copy the tracked and new files of the checkout, as they are.

    Args:
        to: Folder to make.
    """
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def _key(line: BrokenLine) -> str:
    """The break and the line that it breaks: an edit of the package makes it another one."""
    source = (ROOT / line.path).read_text(encoding="utf-8").splitlines()
    return f"{line.path}:{line.found}:{source[line.found.line - 1].strip()}"


def _try(line: BrokenLine, trees: "queue.Queue[Path]", limit: float) -> dict[str, Any]:
    tests, tree, began = mirrored_tests(line.path, ROOT), trees.get(), time.monotonic()
    file = tree / line.path
    source = file.read_text(encoding="utf-8")
    broken = line.found.apply(source)
    try:
        file.write_text(broken, encoding="utf-8")
        failure = first_failure(tree, tests, limit)
        file.write_text(source, encoding="utf-8")
        # it says nothing about the line when they fail without the break, too
        before = first_failure(tree, tests, limit) if failure else ""
    finally:
        trees.put(tree)
    outcome: Outcome = "survived" if not failure else "broken before" if before else "caught"
    diff = difflib.unified_diff(source.splitlines(), broken.splitlines(), str(line.path), str(line.path), "", "", 1, "")
    return {
        "key": _key(line),
        "path": str(line.path),
        "line": line.found.line,
        "kind": line.found.kind,
        "tests": tests,
        "outcome": outcome,
        "by": before or failure,
        "seconds": round(time.monotonic() - began, 1),
        "diff": "\n".join(diff),
    }


def first_failure(tree: Path, tests: Sequence[str], limit: float) -> str:
    """Run tests until one fails; its name, or why there is none; empty if all pass.

    Args:
        tree: Copy of the checkout.
        tests: Files and folders.
        limit: Seconds.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-o", "addopts=", "-p", "no:cacheprovider", *tests]
    # bytecode is told from its source by seconds and size alone, which a break may leave as they were
    variables = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=tree,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        # with the processes that the tests started
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"no end after {limit:.0f} s"
    if process.returncode == 0:
        return ""
    named = [line for line in printed.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return named[0] if named else (printed.strip().rpartition("\n")[2] or f"exit code {process.returncode}")


def _earlier(path: Path) -> dict[str, dict[str, Any]]:
    """Results of an interrupted run; what failed without a break is tried again."""
    results = json.loads(path.read_text(encoding="utf-8"))["lines"] if path.is_file() else []
    return {result["key"]: result for result in results if result["outcome"] != "broken before"}


def _write(options: argparse.Namespace, results: Sequence[dict[str, Any]]) -> None:
    outcomes = Counter(result["outcome"] for result in results)
    content = {"seed": options.seed, "count": options.count, "outcomes": outcomes, "lines": results}
    write_text(options.out / "broken_lines.json", json.dumps(content, indent=1) + "\n")
    rows = [
        f"| {result['outcome']} | `{result['path']}:{result['line']}` | {result['kind']} | {result['by']} |"
        for result in results
    ]
    head = f"{outcomes['caught']} of {len(results)} broken lines are caught (seed {options.seed}).\n"
    table = "\n".join(["| outcome | line | break | first failure |", "|---|---|---|---|", *rows])
    survivors = [f"```diff\n{result['diff']}\n```" for result in results if result["outcome"] == "survived"]
    write_text(options.out / "broken_lines.md", "\n\n".join([head + "\n" + table, *survivors]) + "\n")


if __name__ == "__main__":
    main()
