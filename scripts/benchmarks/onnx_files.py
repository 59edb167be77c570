"""Time exported methods in onnxruntime against torch, from uint8 pixels to the point estimate and its scales.

    python -m scripts.benchmarks.onnx_files --threads 1
    python -m scripts.benchmarks.onnx_files --threads 1 --run RUN/config.yaml hand.onnx

Figures are processor time, summed over threads, so that they hold on shared machines too. Weights are random: they do
not change the cost. torch runs eagerly; onnxruntime optimises the file when it loads it. Exporting the networks of the
papers takes minutes.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handlit.cli import run_trainer
from handlit.methods.graph import HandGraph
from handlit.methods.onnx_export import export_onnx
from scripts.benchmarks.inference import build
from scripts.benchmarks.measure import Figure, Seconds, medians, parser_of, prepare


def session_of(graph_file: Path, threads: int) -> Any:
    """A file in onnxruntime, which computes no more than what is asked for."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(graph_file), options, providers=["CPUExecutionProvider"])


@torch.inference_mode()
def run_torch(graph: HandGraph, inputs: Sequence[Tensor]) -> object:
    """Every output in torch."""
    return graph(*inputs)


def run_onnx(session: Any, feed: dict[str, Any]) -> object:
    """Every output in onnxruntime."""
    return session.run(None, feed)


def processor_seconds(contestants: Mapping[str, Callable[[], object]], rounds: int) -> Seconds:
    """Processor time of each contestant in each round; they take turns, and the first round only warms up."""
    seconds: Seconds = {label: [] for label in contestants}
    for number in range(1 + rounds):
        for label, work in contestants.items():
            start = time.process_time()
            work()
            if number:
                seconds[label].append(time.process_time() - start)
    return seconds


def compare(name: str, graph: HandGraph, file: Path, args: argparse.Namespace) -> Iterator[Figure]:
    """Processor time of torch and of onnxruntime for every batch."""
    session = session_of(file, args.threads)
    for batch in args.batches:
        inputs = graph.example(batch, args.hypotheses)
        feed = {port.name: value.numpy() for port, value in zip(graph.inputs, inputs, strict=True)}
        contestants = {"torch": partial(run_torch, graph, inputs), "ONNX": partial(run_onnx, session, feed)}
        for label, median in medians(processor_seconds(contestants, args.repeats)).items():
            yield Figure(f"{name}, batch {batch}, {label}", 1000 * median, "ms")


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Export, time and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--amvur", default="hrnet_w64", help="AMVUR's backbone")
    parser.add_argument("--mhentropy", default="resnet50", help="MHEntropy's backbone")
    parser.add_argument("--methods", nargs="+", default=["AMVUR", "Deterministic", "MHEntropy"])
    parser.add_argument("--run", nargs=2, metavar=("CONFIG", "FILE"), help="a run and its file, in place of --methods")
    parser.add_argument("--size", type=int, default=0, help="pixels; each method's own by default")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--hypotheses", type=int, default=1, help="of methods that take noise")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(arguments)
    prepare(args)
    figures: list[Figure] = []

    def note(name: str, value: float, unit: str) -> None:
        print(f"{name:50s} {value:10.1f} {unit}", flush=True)
        figures.append(Figure(name, value, unit))

    if args.run:
        config, file = args.run
        method = run_trainer(["predict", "--config", config], load_only=True).trained_method().eval()
        for figure in compare(type(method).__name__, method.graph().eval(), Path(file), args):
            note(figure.name, figure.value, figure.unit)
        return figures
    for name in args.methods:
        method = build(name, args)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "hand.onnx"
            start = time.process_time()
            export_onnx(method, file, "handlit's stand-in hand")
            note(f"{name}, export", time.process_time() - start, "s")
            note(f"{name}, file", file.stat().st_size / 1e6, "MB")
            for figure in compare(name, method.graph().eval(), file, args):
                note(figure.name, figure.value, figure.unit)
    return figures


if __name__ == "__main__":
    main()
