"""MHEntropy's released weights (ICCV 2023) for handlit's network, and whether they go with the user's MANO file.

References:
    https://github.com/GloryyrolG/MHEntropy at commit 2a4c775.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from handlit.errors import InputError
from handlit.hand.asset import HandAsset
from handlit.models.published.conversion import Conversion, Source, convert

#: Coordinates of the released flow, and how many of them make the first half.
_FEATURES, _SPLIT = 45, 22
_COUPLINGS = 12
_FLOW = "q_z_giv_i"
_MASK = f"{_FLOW}.mask"
_MANO = "mano_dec.mano_layer."

_HEADS = {"feature": "feat_extractor.l1.0", "det_head.0": "det_head.0", "det_head.2": "det_head.2"}
_FLOW_NETWORKS = {"shift": "t", "log_scale": "s"}
_FLOW_LAYERS = {
    "layers.0": "l.0",
    "layers.1": "l.1",
    "out": "l.2",
    "conditions.0": "c.0",
    "conditions.1": "c.1",
}
_IGNORED = {
    "feat_extractor.l2.": "the released code discards what this layer computes",
    "mano_dec.": "numbers of MANO: under its licence, never copied",
    "p_uv.": "a prior over image points of older code, not used",
    "q_z_giv_z.": "a flow of older code, not used",
}
#: Released buffer to the attribute of `HandAsset` that it repeats.
_MANO_ARRAYS = {
    "th_v_template": "template",
    "th_shapedirs": "shape_directions",
    "th_posedirs": "pose_directions",
    "th_J_regressor": "joint_regressor",
    "th_weights": "weights",
    "th_faces": "faces",
    "th_hands_mean": "pose_mean",
    "th_comps": "pose_components",
    "th_selected_comps": "pose_components",
}
#: The released buffers are the file's numbers in single precision.
_MANO_RTOL, _MANO_ATOL = 1e-5, 1e-7


def convert_mhentropy(released: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Conversion:
    """Convert MHEntropy's released state_dict to that of `MHEntropyNetwork` with ResNet-50 at its published size.

    The released flow's networks read and write all 45 coordinates and mask one half; the halves that they use are cut
    out.

    Args:
        released: The released state_dict, 577 tensors.
        network: State_dict of the network, for its names and shapes.

    Raises:
        InputError: A tensor that is needed is missing, of another shape or not finite, or the flow's halves are others.
    """
    ignored = {key: why for key in released for prefix, why in _IGNORED.items() if key.startswith(prefix)}
    ignored[_MASK] = "compared: the halves that each coupling keeps and moves"
    conversion = convert(released, network, mhentropy_source, ignored)
    if conversion.missing:
        raise InputError(f"these weights lack {len(conversion.missing)} counters, e.g. {conversion.missing[0]}")
    if _MASK not in released or not torch.equal(released[_MASK].float(), _published_mask()):
        raise InputError(
            f"{_MASK} is missing or not the published one, which keeps coordinates {_SPLIT}-{_FEATURES - 1} and "
            f"0-{_SPLIT - 1} in turn, {_COUPLINGS} times: these weights are of another flow"
        )
    return conversion


def mhentropy_source(key: str) -> Source:
    """Released tensor that makes a tensor of `MHEntropyNetwork`."""
    if key.startswith("backbone.model."):
        return Source((key.replace("backbone.model.", "feat_extractor.res.", 1),))
    name, kind = key.rsplit(".", 1)
    if name in _HEADS:
        return Source((f"{_HEADS[name]}.{kind}",))
    _, _, coupling, network, layer = name.split(".", 4)
    source = f"{_FLOW}.{_FLOW_NETWORKS[network]}.{coupling}.{_FLOW_LAYERS[layer]}.{kind}"
    first, second = tuple(range(_SPLIT)), tuple(range(_SPLIT, _FEATURES))
    kept, moved = (first, second) if int(coupling) % 2 else (second, first)
    if layer == "out":
        return Source((source,), rows=moved, total_rows=_FEATURES)
    if layer == "layers.0" and kind == "weight":
        return Source((source,), columns=kept, total_columns=_FEATURES)
    return Source((source,))


def _published_mask() -> Tensor:
    """(12, 45): 1 where a coupling keeps a coordinate."""
    mask = torch.zeros(_COUPLINGS, _FEATURES)
    mask[0::2, _SPLIT:] = 1
    mask[1::2, :_SPLIT] = 1
    return mask


def check_mano(released: Mapping[str, Tensor], asset: HandAsset) -> int:
    """Check that the hand model that the weights were trained with is the user's.

    Args:
        released: The released state_dict, with copies of MANO's arrays in it.
        asset: The user's hand.

    Returns:
        Number of arrays that were compared; 0 if the file has none.

    Raises:
        InputError: An array differs.
    """
    if asset.side != "right":
        raise InputError("the weights are of a right hand, the hand model is a left one: give MANO_RIGHT.pkl")
    arrays = {name: released[_MANO + name] for name in _MANO_ARRAYS if _MANO + name in released}
    different = [name for name, tensor in arrays.items() if not _same(tensor, getattr(asset, _MANO_ARRAYS[name]))]
    if different:
        raise InputError(
            f"the hand model '{asset.name}' is not the one that these weights were trained with: "
            f"{', '.join(different)} differ{_guess(arrays, different, asset)}. Predictions would be wrong; give the "
            "MANO_RIGHT.pkl of MANO 1.2 as it is distributed"
        )
    return len(arrays)


def _same(tensor: Tensor, array: np.ndarray) -> bool:
    """Whether a buffer holds an array's numbers; buffers may have a leading dimension of 1."""
    values = tensor.numpy().reshape(array.shape) if tensor.numel() == array.size else None
    return values is not None and np.allclose(values, array, rtol=_MANO_RTOL, atol=_MANO_ATOL)


def _guess(arrays: Mapping[str, Tensor], different: list[str], asset: HandAsset) -> str:
    """The likely mix-up behind different arrays, for the message; empty where there is none."""
    if different == ["th_hands_mean"]:
        flat = not arrays["th_hands_mean"].any()
        return " (the weights were trained about a flat hand)" if flat else " (another mean pose)"
    template = arrays.get("th_v_template")
    if template is not None and template.numel() == asset.template.size:
        vertices = template.numpy().reshape(asset.template.shape)
        mirrored = np.abs(vertices * (-1, 1, 1) - asset.template).mean()
        if mirrored < np.abs(vertices - asset.template).mean():
            return " (one is of a left hand, the other of a right one)"
    return ""
