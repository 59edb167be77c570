"""Two nodes of two processes each, played on one machine, stream one pack into a cache for each node."""

import os
from collections import Counter
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed

from handlit.data.loading.sampling import ResumableLoader
from handlit.data.packed import PackedData
from handlit.errors import InputError
from tests.data.packing.packed_data import write_pack
from tests.data.packing.test_remote import served
from tests.processes import ranks

#: Two nodes of two processes; the pack has 8 training samples.
WORLD, PER_NODE = 4, 2


def loader_of(url: str, cache: Path, batch_size: int = 1) -> ResumableLoader:
    module = PackedData(url, cache=str(cache), allow_http=True, image_size=32, batch_size=batch_size, num_workers=0)
    module.setup("fit")
    loader: Any = module.train_dataloader()
    return loader


def stream(rank: int, url: str, folder: Path) -> None:
    """Take two epochs and half of a third; write what came, and where it stopped."""
    os.environ |= {"no_proxy": "*", "PL_GLOBAL_SEED": "3"}
    place, wait = f"file://{folder}/meeting", timedelta(seconds=300)
    torch.distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=WORLD, timeout=wait)
    loader = loader_of(url, folder / f"node{rank // PER_NODE}")
    keys = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        keys.append([batch.key[0] for batch in loader])
    loader.sampler.set_epoch(2)  # type: ignore[attr-defined]
    half = [batch.key[0] for batch in islice(loader, 1)]
    state = loader.state_dict()
    resumed = loader_of(url, folder / f"node{rank // PER_NODE}")
    resumed.sampler.set_epoch(2)  # type: ignore[attr-defined]
    resumed.load_state_dict(state)
    rest = [batch.key[0] for batch in resumed]
    torch.save({"keys": [*keys, half + rest], "state": state}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_nodes_stream_every_sample_once_and_resume_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    asked: list[str] = []
    packed = write_pack(tmp_path)

    def note(request: SimpleHTTPRequestHandler) -> bool:
        asked.append(request.path)
        return False

    with served(packed, note) as url:
        ranks(stream, (url, tmp_path), WORLD)
        results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD)]
        for epoch in range(3):
            taken = [result["keys"][epoch] for result in results]
            # equal work, and every sample once
            assert [len(keys) for keys in taken] == [2] * WORLD
            assert sorted(key for keys in taken for key in keys) == sorted(f"frame/{k}" for k in range(3, 11))
        # within an epoch, another number of processes cannot take what is left
        loader = loader_of(url, tmp_path / "node0")
        loader.sampler.set_epoch(2)  # type: ignore[attr-defined]
        loader.load_state_dict(results[0]["state"])
        with pytest.raises(InputError, match="took 4 samples a step, and is to resume with 1"):
            next(iter(loader))
        # one process that takes as many at a time goes on with the same samples
        loader = loader_of(url, tmp_path / "node0", batch_size=WORLD)
        loader.sampler.set_epoch(2)  # type: ignore[attr-defined]
        loader.load_state_dict(results[0]["state"])
        assert [batch.key for batch in loader] == [[result["keys"][2][1] for result in results]]
    counts = Counter(path for path in asked if path.endswith((".npy", ".tar")))
    # once for each node
    assert set(counts.values()) == {2}
