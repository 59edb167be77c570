import time
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from handlit.errors import InputError
from handlit.models.weight_files import read_state_dict


def test_pickled_module_and_other_files_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "module.bin")
    with pytest.raises(InputError, match=r"pickled module.*state_dict\(\)"):
        read_state_dict(tmp_path / "module.bin")
    torch.save({"epoch": 3, "weights": [torch.ones(2)]}, tmp_path / "other.bin")
    with pytest.raises(InputError, match="dictionary of tensors"):
        read_state_dict(tmp_path / "other.bin")
    (tmp_path / "text.bin").write_text("not weights")
    with pytest.raises(InputError, match="damaged"):
        read_state_dict(tmp_path / "text.bin")
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "nowhere.bin")


def test_archives_that_unpack_to_gigabytes_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bin"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
        archive.writestr("archive/version", b"3")
    with pytest.raises(InputError, match="it is a packed archive, which torch does not write"):
        read_state_dict(path)
    torch.save({1: torch.ones(2)}, path)
    with pytest.raises(InputError, match="expected a dictionary of tensors"):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_pickles_of_millions_of_steps_are_refused_before_torch_reads_them(tmp_path: Path, zipped: bool) -> None:
    path, endless = tmp_path / "weights.bin", b"\x80\x02](" + b"N" * 3_000_000 + b"e."
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", endless)
    else:
        path.write_bytes(endless)
    start = time.process_time()
    with pytest.raises(InputError, match="its pickle has more than 1000000 steps"):
        read_state_dict(path)
    assert time.process_time() - start < 5


def test_files_from_before_torch_wrote_archives_are_read(tmp_path: Path) -> None:
    weights = {"a": torch.ones(3), "b": torch.zeros(2, 2)}
    torch.save(weights, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "old.bin").keys() == weights.keys()
