"""Share of the time in which a training loop waits for its data, from the original files and from the packed form.

    python -m scripts.benchmarks.waiting --workers 1
    python -m scripts.benchmarks.waiting --device cuda --full --backbone hrnet_w64 --batch 64 --size 224 --workers 8

The loop fetches a batch, moves it to the device and waits for the step to end, so that the share is also the part of
the time in which a GPU has nothing to do. Labels that are computed from others belong to the step; loader processes
live on from epoch to epoch, as in training. Synthetic frames of 640x480 in HO-3D v3's layout. The default is
amvur_small.yaml; ``--full`` is the paper's decoder.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from handlit.data.ho3d import HO3D
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.packed import PackedData
from handlit.data.packing.write import pack
from handlit.data.synthesis import synthesise
from handlit.types import HandBatch
from scripts.benchmarks.measure import Figure, now, parser_of, prepare
from scripts.benchmarks.steps import adam, amvur, training_step


def batches_of(module: HandDataModule, device: torch.device) -> Iterator[HandBatch]:
    """Training batches without end, on the device."""
    loader = module.train_dataloader()
    while True:
        for batch in loader:
            yield batch.to(device)


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbone", default="mobilenetv3_large_100")
    parser.add_argument("--full", action="store_true", help="the paper's decoder")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=96, help="pixels")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--workers", type=int, nargs="+", default=[1], help="loader processes; several numbers in turn")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args(arguments)
    device = prepare(args)
    with tempfile.TemporaryDirectory() as folder:
        root, packed = Path(folder) / "data", Path(folder) / "packed"
        synthesise(root, "ho3d_v3", args.frames, 0, workers=max(args.workers))
        pack(HO3D(str(root), val_fraction=0.0), packed, ("fit",))
        modules: dict[str, HandDataModule] = {}
        for workers in args.workers:
            options = {"image_size": args.size, "batch_size": args.batch, "num_workers": workers}
            by = f", {workers} workers" if len(args.workers) > 1 else ""
            modules[f"original files{by}"] = HO3D(str(root), val_fraction=0.0, **options)
            modules[f"packed{by}"] = PackedData(str(packed), **options)
        method = amvur(args.backbone, args.size, args.full).to(device).train()
        if args.compile:
            method.network.compile()
        optimiser = adam(method.network)

        def step(module: HandDataModule, batch: HandBatch) -> None:
            training_step(method, module.on_after_batch_transfer(batch, 0), optimiser, args.bf16)

        figures = []
        for name, module in modules.items():
            module.setup("fit")
            waited, worked = _loop(batches_of(module, device), partial(step, module), args.steps, device)
            share, rate = 100 * waited / (waited + worked), args.steps * args.batch / (waited + worked)
            print(f"{name}: {rate:.1f} images/s, {share:.2f} % of the time without data", flush=True)
            figures.append(Figure(f"{name}, time without data", share, "%"))
            figures.append(Figure(f"{name}, training", rate, "images/s"))
    return figures


def _loop(
    batches: Iterator[HandBatch], step: Callable[[HandBatch], None], steps: int, device: torch.device
) -> tuple[float, float]:
    """Seconds of waiting and of working, after two steps that warm up."""
    waited = worked = 0.0
    for number in range(steps + 2):
        start = now(device)
        batch = next(batches)
        fetched = now(device)
        step(batch)
        if number > 1:
            waited += fetched - start
            worked += now(device) - fetched
    return waited, worked


if __name__ == "__main__":
    main()
