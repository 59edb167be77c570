"""Images a second of data-parallel training by several processes, against one of them alone.

    python -m scripts.benchmarks.processes                                       # 2 processes of 1 thread, gloo
    python -m scripts.benchmarks.processes --device cuda --full --backbone hrnet_w64 --batch 32 --size 224

One process alone, all of them side by side without exchanging anything, which is what the machine has to give, and all
of them under DistributedDataParallel take turns. On the CPU each process is bound to one core and has one thread; on
GPUs each has one of them. The default is amvur_small.yaml; ``--full`` is the paper's decoder.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from handlit.methods.amvur import AMVUR
from handlit.types import HandBatch
from scripts.benchmarks.measure import Figure, fresh, now, parser_of
from scripts.benchmarks.steps import adam, amvur, loss_of, make_batch


class Loss(nn.Module):
    """A method's loss as a module, which is what can be made parallel."""

    def __init__(self, method: AMVUR) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: HandBatch) -> Tensor:
        """Total loss."""
        return loss_of(self.method, batch, bf16=False)


def steps(loss: nn.Module, batch: HandBatch, optimiser: torch.optim.Optimizer, count: int) -> float:
    """Seconds of some steps."""
    start = now(batch.image.device)
    for _ in range(count):
        optimiser.zero_grad()
        loss(batch).backward()
        optimiser.step()
    return now(batch.image.device) - start


def work(rank: int, count: int, exchange: bool, store: str, args: argparse.Namespace) -> tuple[float, float]:
    """One of the processes that train at once: seconds of its steps, and megabytes of its gradients."""
    cuda = args.device.type == "cuda"
    device = torch.device("cuda", rank) if cuda else args.device
    if cuda:
        torch.cuda.set_device(device)
    else:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[rank % len(cores)]})
        torch.set_num_threads(1)
    torch.manual_seed(0)
    loss: nn.Module = Loss(amvur(args.backbone, args.size, args.full).to(device).train())
    optimiser, batch = adam(loss), make_batch(args.batch, args.size, device)
    size = sum(4 * parameter.numel() for parameter in loss.parameters()) / 1e6
    meet = partial(
        dist.init_process_group,
        "nccl" if cuda else "gloo",
        f"file://{store}",
        rank=rank,
        world_size=count,
        timeout=timedelta(minutes=2),
    )
    if exchange:
        meet()
        loss = DistributedDataParallel(
            loss,
            [rank] if cuda else None,
            gradient_as_bucket_view=True,
            static_graph=True,
            bucket_cap_mb=args.bucket_mb,
        )
    steps(loss, batch, optimiser, 2)  # warms up
    if not exchange:
        # all begin at once, and then, without a group, losses exchange nothing either
        meet()
        dist.barrier()
        dist.destroy_process_group()
    seconds = steps(loss, batch, optimiser, args.steps)
    if exchange:
        dist.destroy_process_group()
    return seconds, size


def together(count: int, exchange: bool, args: argparse.Namespace) -> tuple[float, float]:
    """Images a second of some processes, as fast as the slowest of them, and megabytes of gradients."""
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(count, mp_context=fresh()) as pool:
        store = os.path.join(folder, "store")
        ranks = [pool.submit(work, rank, count, exchange, store, args) for rank in range(count)]
        results = [rank.result() for rank in ranks]
    return count * args.batch * args.steps / max(seconds for seconds, _ in results), results[0][1]


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Start the processes and print the ratio."""
    parser = parser_of(__doc__)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--backbone", default="mobilenetv3_large_100")
    parser.add_argument("--full", action="store_true", help="the paper's decoder")
    parser.add_argument("--batch", type=int, default=32, help="of each process")
    parser.add_argument("--size", type=int, default=96, help="pixels")
    parser.add_argument("--steps", type=int, default=5, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bucket-mb", type=int, default=25, help="gradients that travel together, MB")
    args = parser.parse_args(arguments)
    one, beside, many = [], [], []
    for _ in range(args.rounds):
        rate, size = together(1, False, args)
        one.append(rate)
        beside.append(together(args.processes, False, args)[0])
        many.append(together(args.processes, True, args)[0])
    possible, faster = (statistics.median(a / b for a, b in zip(rates, one, strict=True)) for rates in (beside, many))
    what = f"{args.backbone}, {args.size} px, batch {args.batch}"
    print(
        f"{what}, {size:.0f} MB of gradients: one process {statistics.median(one):.1f} images/s, "
        f"{args.processes} side by side {statistics.median(beside):.1f} images/s, {possible:.2f} times as many, "
        f"{args.processes} processes that train together {statistics.median(many):.1f} images/s, {faster:.2f} times"
    )
    return [
        Figure(f"{what}, one process", statistics.median(one), "images/s"),
        Figure(f"{what}, {args.processes} side by side", statistics.median(beside), "images/s"),
        Figure(f"{what}, {args.processes} side by side by one", possible, "x"),
        Figure(f"{what}, {args.processes} processes", statistics.median(many), "images/s"),
        Figure(f"{what}, {args.processes} processes by one", faster, "x"),
    ]


if __name__ == "__main__":
    main()
