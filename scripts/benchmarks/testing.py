"""Time `test` of the quickstart's AMVUR, with hypotheses and without.

    python -m scripts.benchmarks.testing --threads 1 --rounds 3

Frames of 640x480 in HO-3D v3's layout become crops of 96 pixels in batches of 32, loaded by the process itself as in
the quickstart; the network has its sizes and random weights. A round is the whole of Lightning's `test`, table and
`hypotheses.npz` included, once for each number of hypotheses. Processor time, of all threads.
"""

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl

from handlit.callbacks.output.hypotheses import HypothesisEvaluation
from handlit.data.ho3d import HO3D
from handlit.data.synthesis import synthesise
from handlit.hand.asset import HandAsset
from handlit.methods.amvur import AMVUR
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
from scripts.benchmarks.measure import Figure, Seconds, medians, parser_of, prepare, ratio

_WITHOUT = "no hypotheses"


def quickstart_network(asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
    """The network of configs/model/amvur_quickstart.yaml."""
    return AMVURNetwork(
        asset,
        tips,
        Backbone("mobilenetv3_small_100", grid=64),
        hidden=(64, 32),
        layers=1,
        heads=1,
        feedforward_ratio=2,
        dropout=0.0,
        attention_dropout=0.0,
        head_hidden=256,
    )


def seconds_of_test(method: AMVUR, data: HO3D, hypotheses: int, folder: Path) -> float:
    """Processor time of one `test`."""
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[HypothesisEvaluation(num_hypotheses=hypotheses)],
    )
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.test(method, datamodule=data, verbose=False)
    return time.process_time() - start


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=640)
    parser.add_argument("--hypotheses", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(arguments)
    prepare(args)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    contestants = {_WITHOUT: 0, f"{args.hypotheses} hypotheses": args.hypotheses}
    seconds: Seconds = {name: [] for name in contestants}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        synthesise(root, "ho3d_v3", 1, args.frames, preset="easy", workers=0)
        data = HO3D(str(root), image_size=96, batch_size=32, num_workers=0)
        method = AMVUR(quickstart_network, image_size=96)
        # the first round warms up
        for number in range(1 + args.rounds):
            for name, hypotheses in contestants.items():
                elapsed = seconds_of_test(method, data, hypotheses, Path(folder))
                if number:
                    seconds[name].append(elapsed)
    figures = []
    for name, middle in medians(seconds).items():
        times = ratio(seconds, name, _WITHOUT)
        print(f"{name}: {args.frames / middle:.1f} images/s, {1000 * middle / args.frames:.2f} ms, {times:.2f} times")
        figures.append(Figure(f"{name}, test", args.frames / middle, "images/s"))
        figures.append(Figure(f"{name}, of the time of test without", times, "x"))
    return figures


if __name__ == "__main__":
    main()
