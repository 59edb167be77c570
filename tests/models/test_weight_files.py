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
