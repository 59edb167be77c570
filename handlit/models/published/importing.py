"""Files of released weights to files that handlit loads."""

from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from handlit.errors import InputError
from handlit.files import whole, write_text
from handlit.hand.loading import load_hand
from handlit.models.backbones import Backbone
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.models.published.amvur import AMVURReferenceNetwork
from handlit.models.published.amvur_weights import convert_amvur, convert_amvur_backbone, convert_hrnet
from handlit.models.published.conversion import Conversion
from handlit.models.published.mhentropy_weights import check_mano, convert_mhentropy
from handlit.models.weight_files import read_state_dict

#: Whose weights a file holds.
WeightSource = Literal["amvur", "mhentropy", "hrnet"]
#: What to take from it.
WeightPart = Literal["network", "backbone"]


def import_file(
    file: Path, source: WeightSource, out: Path, part: WeightPart | None = None, mano_path: str | None = None
) -> Conversion:
    """Convert a file of released weights, and print and write what became of each key.

    Args:
        file: The released state_dict.
        source: Whose weights they are: AMVUR's, MHEntropy's, or those of the official HRNet-W64 ImageNet classifier.
        out: File to write. A ``network`` becomes a checkpoint of the method `AMVURReference` or `MHEntropyReference`, a
            ``backbone`` a file for `Backbone`'s ``checkpoint``. ``OUT.keys.txt`` beside it has a line for every key.
        part: What to write; the whole network by default. HRNet is a backbone, and MHEntropy is whole.
        mano_path: MANO file or folder that MHEntropy's weights must have been trained with. Its numbers are not
            written.

    Returns:
        Weights and account.

    Raises:
        FileNotFoundError: There is no such file.
        FileExistsError: The output exists.
        InputError: The weights cannot be read, or do not fit.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists: choose another --out, or remove it")
    if source == "hrnet" and part == "network":
        raise InputError("HRNet's weights are a backbone's: drop --part network")
    if source == "mhentropy" and part == "backbone":
        raise InputError("MHEntropy's weights are imported whole: drop --part backbone")
    if source != "mhentropy" and mano_path is not None:
        raise InputError("only MHEntropy's weights come with MANO's numbers to compare: drop --mano_path")
    weights = read_state_dict(file)
    notes = []
    try:
        conversion, checkpoint = _converted(weights, source, part)
        if source == "mhentropy":
            notes.append(_mano_note(weights, mano_path))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    write_text(out.with_name(f"{out.name}.keys.txt"), "".join(f"{line}\n" for line in conversion.lines()))
    with whole(out) as temporary:
        torch.save(checkpoint, temporary)
    print("\n".join([*_summary(len(weights), conversion, file), *notes]))
    print(f"written: {out}; what became of each key: {out}.keys.txt")
    return conversion


def _converted(
    weights: dict[str, Tensor], source: WeightSource, part: WeightPart | None
) -> tuple[Conversion, dict[str, object]]:
    if source == "mhentropy" or (source == "amvur" and part != "backbone"):
        network: nn.Module
        if source == "mhentropy":
            network = MHEntropyNetwork(Backbone("resnet50"))
            conversion = convert_mhentropy(weights, network.state_dict())
        else:
            # the weights do not depend on the hand model, so the stand-in serves for their names and shapes
            network = AMVURReferenceNetwork(load_hand())
            conversion = convert_amvur(weights, network.state_dict())
        network.load_state_dict(conversion.weights)
        state = {f"network.{key}": tensor for key, tensor in conversion.weights.items()}
        # what Lightning asks of a checkpoint
        return conversion, {
            "state_dict": state,
            "pytorch-lightning_version": version("pytorch-lightning"),
            "epoch": 0,
            "global_step": 0,
        }
    model = Backbone("hrnet_w64").model
    convert = convert_amvur_backbone if source == "amvur" else convert_hrnet
    conversion = convert(weights, model.state_dict())
    model.load_state_dict(conversion.weights)
    return conversion, {"state_dict": conversion.weights}


def _mano_note(weights: dict[str, Tensor], mano_path: str | None) -> str:
    """Whether the hand model behind the weights is the user's, as a line for the console."""
    if mano_path is None:
        return "  MANO not compared: give --mano_path to check that these weights were trained with your file"
    compared = check_mano(weights, load_hand(mano_path))
    if not compared:
        return f"  MANO not compared: the weights come without its numbers; {mano_path} may be another version"
    return f"  MANO: {compared} arrays are those of {mano_path}"


def _summary(keys: int, conversion: Conversion, file: Path) -> list[str]:
    lines = [f"{file}: {keys} keys", f"  {len(conversion.used):5d} used"]
    for reason, count in Counter(conversion.ignored.values()).items():
        lines.append(f"  {count:5d} ignored: {reason}")
    if conversion.missing:
        lines.append(f"  {len(conversion.missing):5d} missing and not needed (counters of batches, set to zero)")
    if conversion.unexpected:
        lines.append(f"  {len(conversion.unexpected):5d} UNEXPECTED: {', '.join(conversion.unexpected[:5])} ...")
    return lines
