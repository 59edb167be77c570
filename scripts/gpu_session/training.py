"""Training steps of AMVUR and MHEntropy: images a second, memory, use of the matrix rate, and where the time goes."""

import argparse
import copy
import gc
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from handlit.types import HandBatch
from scripts.benchmarks import amvur_step, mhentropy_step
from scripts.benchmarks.measure import (
    Figure,
    in_turns,
    matrix_rate,
    medians,
    now,
    peak_memory_mb,
    prepare,
    ratio,
    timed,
)
from scripts.benchmarks.steps import REFERENCE, VARIANTS, Contest, adam, flops, make_batch
from scripts.gpu_session.piece import Emit, Setting
from scripts.gpu_session.process import is_out_of_memory

Step = Callable[[], object]
CONTESTS: dict[str, Contest] = {"amvur": amvur_step.CONTEST, "mhentropy": mhentropy_step.CONTEST}
_SMALL_TEXTURE = {"hidden": 24, "feedforward": 24, "heads": 2, "layers": 1}
#: Sizes of the real and of the small form.
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "amvur": (
        {"backbone": "hrnet_w64", "size": 224, "hidden": [1024, 256, 64]},
        {"backbone": "test_resnet", "size": 32, "hidden": [16, 8], "texture": _SMALL_TEXTURE},
    ),
    "mhentropy": (
        {"backbone": "resnet50", "size": 256, "draws": 200},
        {"backbone": "test_resnet", "size": 32, "draws": 3},
    ),
}
#: Operations of a profile's table.
LONGEST = 20
BF16, COMPILED = "handlit, bf16", "handlit, compiled, bf16"


def training(name: str, compiled: bool, setting: Setting, emit: Emit) -> None:
    """Steps of a method's ways, which take turns.

    Args:
        name: Of the method.
        compiled: The compiled step against the one that is not; else both precisions against the published way.
        setting: Device and batch.
        emit: Takes the figures.
    """
    ways = (BF16, COMPILED) if compiled else (REFERENCE, "handlit", BF16)
    contest, args = CONTESTS[name], _options(name, setting)
    device, images = prepare(args), setting.batch
    plain = contest.build(args)
    operations = images * _operations(contest, plain, args)
    batch = make_batch(images, args.size, device)
    steps: dict[str, Step] = {}
    for way in ways:
        try:
            steps[way] = _first_steps(f"{way}, batch {images}", _way(contest, way, plain, args, batch), device, emit)
        except RuntimeError as error:
            if not is_out_of_memory(error) or (way == ways[-1] and not steps):
                raise
            emit(f"{way}: out of memory with a batch of {images}")
        gc.collect()
        torch.cuda.empty_cache()
    seconds = in_turns(steps, 1 if setting.smoke else 8, device, warm_up=0)
    rate = matrix_rate(device, torch.bfloat16, 64 if setting.smoke else 8192)
    emit(Figure("matrix products, bfloat16", rate / 1e12, "TFLOP/s"))
    emit(Figure(f"handlit's step of {images} images", operations / 1e12, "TFLOP"))
    for way, median in medians(seconds).items():
        emit(Figure(f"{way}, batch {images}", images / median, "images/s"))
        emit(Figure(f"{way}, batch {images}, of the bfloat16 matrix rate", 100 * operations / median / rate, "%"))
        if REFERENCE in seconds and way != REFERENCE:
            emit(Figure(f"{way}, batch {images}, times the reference's speed", ratio(seconds, REFERENCE, way), "x"))


def profiled(name: str, setting: Setting, emit: Emit) -> None:
    """Where the time of a step under bfloat16 goes: milliseconds of the device by operation, and its idle share."""
    contest, args = CONTESTS[name], _options(name, setting)
    device = prepare(args)
    batch = make_batch(setting.batch, args.size, device)
    step = _way(contest, BF16, contest.build(args), args, batch)()
    rounds, warm_up, count = (1, 0, 1) if setting.smoke else (8, 2, 3)
    seconds = medians(in_turns({BF16: step}, rounds, device, warm_up))[BF16]
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as profiler:
        for _ in range(count):
            step()
        now(device)
    spent = {
        # microseconds of what a CPU operation started on the device, or took itself
        event.key: (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e3 / count
        for event in profiler.key_averages()
        if event.device_type == torch.autograd.DeviceType.CPU
    }
    busy = sum(spent.values())
    emit(Figure(f"{BF16}, batch {setting.batch}, a step", 1000 * seconds, "ms"))
    emit(Figure("operations together", busy, "ms"))
    if on_gpu:
        emit(Figure("of a step's time the device has nothing to do", max(0.0, 100 - busy / 10 / seconds), "%"))
    for key in sorted(spent, key=spent.__getitem__, reverse=True)[:LONGEST]:
        emit(Figure(f"{key}, {100 * spent[key] / busy:.1f} %", spent[key], "ms"))


def _options(name: str, setting: Setting) -> argparse.Namespace:
    """What the benchmark of a method would get from its command line."""
    sizes = SIZES[name][setting.smoke]
    return argparse.Namespace(device=setting.device, threads=torch.get_num_threads(), **sizes)


def _operations(contest: Contest, method: Any, args: argparse.Namespace) -> float:
    """Floating-point operations that handlit's step takes for an image, forward and backward."""
    batch = make_batch(2, args.size, args.device)
    copied = copy.deepcopy(method)
    # a step of another size is not worth looking for kernels
    with torch.backends.cudnn.flags(enabled=True, benchmark=False):
        return flops(partial(contest.step, copied, batch, adam(copied.network), False)) / 2


def _way(contest: Contest, way: str, plain: Any, args: argparse.Namespace, batch: HandBatch) -> Callable[[], Step]:
    """What builds a way's step: a method of its own, with its optimiser."""
    if way == REFERENCE:
        return partial(contest.reference, args, batch)
    bf16, compiled = VARIANTS[way]

    def build() -> Step:
        method = copy.deepcopy(plain)
        if compiled:
            # the small form has no minutes for the compiler's code
            method.network.compile(backend="inductor" if args.device.type == "cuda" else "eager")
        return partial(contest.step, method, batch, adam(method.network), bf16)

    return build


def _first_steps(what: str, build: Callable[[], Step], device: torch.device, emit: Emit) -> Step:
    """Build a step and do it: to compile it and to choose kernels; on a GPU twice more, for the memory of the last."""
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    step = build()
    first = timed(step, device)
    if device.type == "cuda":
        step()
        torch.cuda.reset_peak_memory_stats(device)
        step()
    emit(Figure(f"{what}, peak memory", peak_memory_mb(device) - before / 1e6, "MB"))
    if "compiled" in what:
        emit(Figure(f"{what}, first step", first, "s"))
        # of this process, which compiles nothing else
        breaks = torch._dynamo.utils.counters["graph_break"]
        emit(Figure(f"{what}, graph breaks", sum(breaks.values()), "breaks"))
        for reason in breaks:
            emit(f"graph break: {reason}")
    return step
