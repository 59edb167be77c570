"""Damage of packed datasets is named."""

from pathlib import Path

import numpy as np

from handlit.data.packing.write import pack
from tests.data.packing.packed_data import Small, write_pack, write_small
from tests.data.verification.broken_trees import check, only_problem


def test_packed_datasets(tmp_path: Path) -> None:
    pack(Small(write_small(tmp_path / "source")), tmp_path / "packed", stages=["fit"], workers=0)
    root = tmp_path / "packed"
    report = check(root, full=True)
    assert report.dataset == "packed dataset"
    assert not {"damaged pack", "unreadable images"} & {finding.name for finding in report.problems}
    assert report.counts["train+val"]["images decoded"] == report.counts["train+val"]["listed"] > 0
    shard = next(root.glob("images/*.tar"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    damaged = [finding for finding in check(root, full=True).problems if finding.name == "damaged pack"]
    assert damaged[0].examples == (shard.relative_to(root).as_posix(),)
    shard.write_bytes(content[:-1])
    assert "bytes" in only_problem(root, "damaged pack").message


def test_packed_images_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    root = write_pack(tmp_path)
    member = np.load(root / "labels" / "members.npy")[1]
    shard = sorted(root.glob("images/*.tar"))[member[0]]
    content = bytearray(shard.read_bytes())
    content[member[1] : member[1] + 20] = bytes(20)
    shard.write_bytes(content)
    found = {finding.name: finding for finding in check(root).problems}["unreadable images"]
    assert found.count == 1
    assert "cannot be decoded" in found.examples[0]
