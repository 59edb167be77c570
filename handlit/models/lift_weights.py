"""Weights of a `LiftNetwork` as one small file: half precision, with the settings that rebuild the network inside.

The package ships one, trained by the configuration ``experiment/lift`` (docs/lift.md says how, and how well it does).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from handlit.errors import InputError, one_line
from handlit.files import write_bytes
from handlit.models.lift import LiftNetwork

#: The package's own weights, and what they hash to.
SHIPPED = Path(__file__).with_name("lift.safetensors")
SHIPPED_SHA256 = "262fe0789979b35367010346de74573826cf07e69b585597d780091cbe3a60b0"
#: A network of the largest settings that are tried has a tenth of this.
_MAX_BYTES = 200_000_000


def write_lift(network: LiftNetwork, path: Path, card: Mapping[str, str]) -> None:
    """Write weights in half precision.

    Args:
        network: The network.
        path: File to write, whole or not at all.
        card: What the weights are of, kept in the file.
    """
    tensors = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in network.state_dict().items()
    }
    metadata = {**card, "network": json.dumps(network.settings)}
    write_bytes(path, safetensors.torch.save(tensors, metadata))


def read_lift(path: Path, sha256: str | None = None) -> LiftNetwork:
    """Rebuild a network from its file, in single precision, for evaluation.

    Args:
        path: File that `write_lift` wrote.
        sha256: What the file must hash to; None for any file.

    Raises:
        InputError: The file is missing, damaged, of another hash, or holds other weights.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"{path} is too large for weights of a lifting network")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"the weights {path} cannot be read: {one_line(error)}") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise InputError(f"the weights {path} are damaged or another version's: install handlit again")
    try:
        with safetensors.safe_open(path, "pt") as file:
            settings = json.loads((file.metadata() or {})["network"])
        network = LiftNetwork(**settings)
        tensors = safetensors.torch.load(content)
        network.load_state_dict({name: _single(value) for name, value in tensors.items()})
    except Exception as error:
        raise InputError(f"{path} holds no weights of a lifting network: {one_line(error)}") from error
    return network.eval()


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value
