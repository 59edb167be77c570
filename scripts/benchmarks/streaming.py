"""Training data from a web server that answers late: `python -m scripts.benchmarks.streaming [--latency_ms 50]`.

Packs synthetic frames of HO-3D's size, serves them on this machine with ranges and a delay before each answer, and
takes epochs of a shuffled training split by number of loader processes: with a cache for the whole pack, and with one
for the labels alone, where each image is fetched when it is needed. Bytes fetched are those of images and chunks that
the server sent, by those of the images that were used.
"""

import argparse
import http.server
import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handlit.data.ho3d import HO3D
from handlit.data.packed import PackedData
from handlit.data.packing.labels import IMAGE_BYTES
from handlit.data.packing.read import Pack
from handlit.data.packing.write import pack
from scripts.benchmarks.indexing import write_tree
from scripts.benchmarks.measure import Figure, fresh

BATCH = 8


def serve(folder: Path, latency: float, log: Path, port: Any) -> None:
    """Answer requests for files and parts of them; the log gets a line of bytes sent for each of a chunk."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(latency)
            content = (folder / self.path[1:]).read_bytes()
            if span := self.headers["Range"]:
                first, _, last = span.removeprefix("bytes=").partition("-")
                content = content[int(first) : int(last) + 1 if last else None]
            self.send_response(206 if span else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.path.endswith(".tar"):
                with log.open("a") as file:
                    file.write(f"{len(content)}\n")
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def epoch(url: str, cache: Path, log: Path, max_gb: float, workers: int) -> tuple[float, float, int]:
    """Take an epoch; returns seconds behind the first batch, bytes sent by bytes used, and samples of these seconds."""
    log.unlink(missing_ok=True)
    module = PackedData(
        url, cache=str(cache), allow_http=True, max_gb=max_gb, image_size=224, batch_size=BATCH, num_workers=workers
    )
    module.setup("fit")
    batches = iter(module.train_dataloader())
    next(batches)
    start = time.perf_counter()
    count = sum(len(batch.key) for batch in batches)
    seconds = time.perf_counter() - start
    sent = sum(map(int, log.read_text().split())) if log.is_file() else 0
    used = module.pack.members[:, IMAGE_BYTES].sum()
    return seconds, sent / float(used), count


def main(arguments: Sequence[str] | None = None) -> list[Figure]:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--latency_ms", type=float, default=50.0)
    args = parser.parse_args(arguments)
    os.environ["no_proxy"] = "*"
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tree(folder / "data", args.frames)
        data = HO3D(str(folder / "data"), val_fraction=0.0)
        pack(data, folder / "packed", ("fit",), workers=0, shard_images=max(1, args.frames // 6))
        files = Pack(str(folder / "packed")).manifest["files"]
        labels = sum(entry["bytes"] for name, entry in files.items() if name.startswith("labels/")) / 1e9
        ours, theirs = multiprocessing.Pipe()
        log = folder / "sent"
        process: Any = fresh().Process(  # type: ignore[attr-defined]
            target=serve, args=(folder / "packed", args.latency_ms / 1000, log, theirs), daemon=True
        )
        process.start()
        url = f"http://127.0.0.1:{ours.recv()}"
        for kept, room in (("all", 200.0), ("labels", labels)):
            for workers in args.workers:
                cache = folder / f"cache-{kept}-{workers}"
                seconds, ratio, count = epoch(url, cache, log, room, workers)
                label = f"{kept} kept, {workers} loader processes"
                print(f"{label}: {count / seconds:.0f} samples/s, {ratio:.2f} bytes fetched for each used", flush=True)
                figures.append(Figure(f"{label}, samples a second", count / seconds, "1/s"))
                figures.append(Figure(f"{label}, bytes fetched for each used", ratio, "x"))
        process.kill()
    return figures


if __name__ == "__main__":
    main()
