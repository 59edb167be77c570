from pathlib import Path

import pytest
import safetensors.torch
import torch

from handlit.errors import InputError
from handlit.files import sha256
from handlit.models.lift import LiftNetwork
from handlit.models.lift_weights import SHIPPED, SHIPPED_SHA256, read_lift, write_lift
from tests.models.test_lift import SMALL


def test_a_network_comes_back_in_half_precision_with_its_settings(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, path = LiftNetwork(**SMALL), tmp_path / "weights.safetensors"
    write_lift(network, path, {"seed": "3"})
    again = read_lift(path, sha256(path))
    assert again.settings == network.settings
    assert not again.training
    for name, value in network.state_dict().items():
        expected = value.half().float() if value.is_floating_point() else value
        torch.testing.assert_close(again.state_dict()[name], expected, rtol=0, atol=0)
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["seed"] == "3"


def test_damaged_files_are_refused_by_their_hash(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_lift(LiftNetwork(**SMALL), path, {})
    whole = sha256(path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or another version's"):
        read_lift(path, whole)


def test_what_holds_no_lifting_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match="cannot be read"):
        read_lift(path)
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(InputError, match="holds no weights of a lifting network"):
        read_lift(path)
    safetensors.torch.save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="holds no weights of a lifting network"):
        read_lift(path)
    safetensors.torch.save_file({"a": torch.zeros(3)}, path, {"network": '{"width": 1e9}'})
    with pytest.raises(InputError, match="holds no weights of a lifting network"):
        read_lift(path)


def test_the_package_s_weights_are_whole_and_small() -> None:
    network = read_lift(SHIPPED, SHIPPED_SHA256)
    assert SHIPPED.stat().st_size <= 5_000_000
    assert network.settings == LiftNetwork().settings
    assert all(value.isfinite().all() for value in network.state_dict().values())
