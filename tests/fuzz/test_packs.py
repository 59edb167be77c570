"""Packed datasets: manifest, arrays of labels and chunks of images from strangers."""

import shutil
from pathlib import Path

import pytest

from handlit.data.packed import PackedData
from handlit.files import sha256
from handlit.formats.packed import MANIFEST
from tests.data.packing.packed_data import write_pack
from tests.fuzz.harness import fuzz


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("pack"))


@pytest.mark.parametrize(
    "name",
    [
        MANIFEST,
        "images/00001.tar",
        *(f"labels/{name}.npy" for name in ("members", "regions", "table0/images", "table0/boxes")),
    ],
)
def test_packs(name: str, packed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(packed, tmp_path / "copy"))
    manifest, path = (folder / MANIFEST).read_bytes(), folder / name
    entry = f'"bytes": {path.stat().st_size},\n   "sha256": "{sha256(path)}"'.encode()

    def read(content: bytes) -> object:
        path.write_bytes(content)
        if name != MANIFEST:
            assert entry in manifest
            known = f'"bytes": {len(content)}, "sha256": "{sha256(path)}"'
            (folder / MANIFEST).write_bytes(manifest.replace(entry, known.encode()))
        module = PackedData(str(folder), image_size=48, batch_size=4, num_workers=0)
        module.setup("fit")
        return list(module.val_dataloader())

    # a manifest may name a chunk that is not there
    fuzz(read, [path.read_bytes()], (FileNotFoundError,))
