"""Reading state_dicts from untrusted files: tensors only, never code."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from handlit.errors import InputError, one_line
from handlit.formats.archives import check_torch_file

#: Names under which training scripts wrap a state_dict.
WRAPPERS = ("state_dict", "model_state_dict", "model", "encoderRGB")
#: Prefixes of DistributedDataParallel and torch.compile.
PREFIXES = ("module.", "_orig_mod.")


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a state_dict, without the wrapping that training scripts put around it.

    Args:
        path: File written by ``torch.save``.

    Returns:
        Tensor of each name, on the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        InputError: It cannot be read without running code from it, or it is not a state_dict.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"weight file {path} does not exist")
    try:
        check_torch_file(Path(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    # a stranger's file fails in every way
    except Exception as error:
        raise InputError(
            f"{path} holds no plain state_dict: it is damaged, or a whole pickled module, whose loading would run code "
            "from the file and which is therefore refused. Where the code that wrote it is at hand, save "
            f"torch.save(model.state_dict(), 'state_dict.bin') there and give that file ({one_line(error)[:120]})"
        ) from error
    for name in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    is_flat = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not is_flat or not content:
        found = [str(key) for key in content][:5] if isinstance(content, Mapping) else type(content).__name__
        raise InputError(f"{path} holds no state_dict: expected a dictionary of tensors, found {found}")
    weights: dict[str, Tensor] = dict(content)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights
