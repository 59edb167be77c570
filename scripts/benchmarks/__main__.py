"""Run the benchmarks one after the other, and write what they measured.

    python -m scripts.benchmarks                             # all of them on the CPU, about half an hour
    python -m scripts.benchmarks --device cuda               # the same on a GPU, with its sizes
    python -m scripts.benchmarks --only amvur_step inference
    python -m scripts.benchmarks --smoke                     # tiny sizes: does everything still run?

Each runs in a process of its own. `benchmarks.json` and `benchmarks.md` hold all figures and the machine. A benchmark
alone takes more options: python -m scripts.benchmarks.amvur_step --help.
"""

import argparse
import importlib
import json
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scripts.benchmarks.measure import Figure, alone, machine

#: In the order in which they run, and the sizes of their small form.
BENCHMARKS: dict[str, str] = {
    "hand_layer": "--hands 64 --repeats 1",
    "rasterizer": "--batch 1 --size 48 --repeats 1",
    "hypotheses": "--images 2 --draws 4 --repeats 1",
    "scoring": "--frames 1 --evaluated 64 --repeats 1",
    "synthesis": "--frames 3 --workers 0",
    "loading": "--frames 4 --repeats 1 --workers 0",
    "indexing": "--frames 64 --small 32 --batches 1 --workers 1 --contexts fork",
    "streaming": "--frames 24 --workers 1 --latency_ms 1",
    "amvur_step": "--backbone test_resnet --batch 2 --size 64 --steps 1 --hidden 32 16 --matrix 64",
    "mhentropy_step": "--backbone test_resnet --batch 2 --size 64 --steps 1 --draws 3 --matrix 64 --bf16",
    "inference": "--amvur test_resnet --mhentropy test_resnet --batches 1 2 --hypotheses 1 3 --size 64 --repeats 1",
    "testing": "--frames 2 --hypotheses 3 --rounds 1",
    "waiting": "--backbone test_resnet --frames 8 --batch 2 --size 64 --workers 0 --steps 2",
    "processes": "--backbone test_resnet --batch 2 --size 64 --steps 1 --rounds 1",
}
#: What a data-centre GPU needs to be busy.
CUDA_SIZES: dict[str, str] = {
    "hand_layer": "--hands 12800",
    "amvur_step": "--batch 16 32 64 128 --steps 10 --bf16 --compile --matrix 8192",
    "mhentropy_step": "--batch 64 --steps 10 --bf16 --compile --matrix 8192",
    "waiting": "--full --backbone hrnet_w64 --batch 64 --size 224 --frames 2000 --steps 60 --workers 8 --bf16",
    "processes": "--backbone hrnet_w64 --batch 32 --size 224 --full",
}
#: They time work of the processor only.
CPU_ONLY = frozenset({"scoring", "synthesis", "loading", "indexing", "testing", "streaming"})


def arguments_of(name: str, smoke: bool, device: torch.device, threads: int) -> list[str]:
    """Command line of a benchmark."""
    sizes = BENCHMARKS[name] if smoke else CUDA_SIZES.get(name, "") if device.type == "cuda" else ""
    common = [] if name in CPU_ONLY else [f"--device={device}", f"--threads={threads}"]
    return [*common, *sizes.split()]


def markdown(result: dict[str, Any]) -> str:
    """The result as a page of tables."""
    lines = ["# Benchmarks", "", ", ".join(f"{key} {value}" for key, value in result["machine"].items()), ""]
    for name, measured in result["benchmarks"].items():
        lines += [f"## {name}", "", f"`{measured['command']}`, {measured['seconds']:.0f} s", "", "| | |", "|---|---|"]
        lines += [f"| {row['name']} | {row['value']:.4g} {row['unit']} |" for row in measured["figures"]]
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for; exits with 1 if a benchmark failed, after the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS), metavar="NAME")
    parser.add_argument("--smoke", action="store_true", help="the smallest sizes: checks that everything runs")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="folder of the two files")
    args = parser.parse_args(arguments)
    if args.device.type == "cuda" and not alone(torch.cuda.is_available):
        parser.error("there is no CUDA device here: leave --device away, or see python main.py doctor")

    args.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": alone(machine, args.device, args.threads), "benchmarks": {}}
    failed = []
    for name in args.only:
        options = arguments_of(name, args.smoke, args.device, args.threads)
        command = " ".join(["python -m", f"scripts.benchmarks.{name}", *options])
        print(f"\n== {command}", flush=True)
        start = time.perf_counter()
        try:
            figures: list[Figure] = alone(importlib.import_module(f"scripts.benchmarks.{name}").main, options)
        except (Exception, SystemExit):  # the others still have their turn
            traceback.print_exc()
            failed.append(name)
            continue
        rows = [vars(figure) for figure in figures]
        result["benchmarks"][name] = {
            "command": command,
            "seconds": time.perf_counter() - start,
            "figures": rows,
        }
        # written after each: hours of figures outlive an interruption
        (args.out / "benchmarks.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
        (args.out / "benchmarks.md").write_text(markdown(result))
    print(f"\nfigures: {args.out / 'benchmarks.md'} and {args.out / 'benchmarks.json'}")
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
