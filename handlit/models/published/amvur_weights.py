"""AMVUR's released weights for handlit's copy of its network, and those of its ImageNet backbone for any method.

References:
    https://github.com/ZhehengJiangLancaster/AMVUR at commit 991150e; HRNet's ImageNet classifier:
    https://github.com/HRNet/HRNet-Image-Classification.
"""

from collections.abc import Mapping

from torch import Tensor

from handlit.errors import InputError
from handlit.models.published.amvur.prior import NUM_COMPONENTS
from handlit.models.published.conversion import Conversion, Source, convert, listed

#: Coefficients in each half of the released pose head: the components in use, then ten of shape that are not.
_POSE_OUTPUTS = 40
_CLASSIFIER = "the ImageNet classifier is not called"

_HEADS = {
    "decoder.log_variance_head": "trans_encoder.2.cls_head_var",
    "decoder.upsampling": "upsampling",
    "decoder.upsampling_log_variance": "upsampling_var",
    "prior.rotation_head.0": "rot_reg.0",
    "prior.rotation_head.1": "rot_reg.1",
    "prior.scale_head.0": "scale_reg.0",
    "prior.scale_head.1": "scale_reg.1",
    "prior.translation_head.0": "trans_reg.0",
    "prior.translation_head.1": "trans_reg.1",
    "prior.pose_head.0": "pose_projection1_",
    "prior.pose_head.1": "pose_projection2_",
    "orthographic_head.0": "orth_fc.0",
    "orthographic_head.1": "orth_fc.1",
    "orthographic_variance_head.0": "orth_fc_var.0",
    "orthographic_variance_head.1": "orth_fc_var.1",
    "intrinsics_head.0": "ks_reg.0",
    "intrinsics_head.1": "ks_reg.1",
    "intrinsics_variance_head.0": "ks_var_reg.0",
    "intrinsics_variance_head.1": "ks_var_reg.1",
    "amplitude_head.0": "samp_3D_scale.0",
    "amplitude_head.1": "samp_3D_scale.1",
    "amplitude_2d_head": "samp_2D_scale.0",
    "intrinsics_amplitude_head": "samp_ks_scale.0",
}
_BLOCKS = {
    "decoder.blocks.0": "trans_encoder.0",
    "decoder.blocks.1": "trans_encoder.1",
    "decoder.blocks.2": "trans_encoder.2",
    "texture.block": "trans_texture",
}
_BLOCK_PARTS = {
    "embedding": ("bert.img_embedding",),
    "cross_attention.query": ("bert.cross_attention.query",),
    "cross_attention.key_value": ("bert.cross_attention.key", "bert.cross_attention.value"),
    "head": ("cls_head",),
    "residual": ("residual",),
}
_LAYER_PARTS = {
    "query_key_value": ("attention.self.query", "attention.self.key", "attention.self.value"),
    "attention_out": ("attention.output.dense",),
    "attention_norm": ("attention.output.LayerNorm",),
    "expand": ("intermediate.dense",),
    "contract": ("output.dense",),
    "output_norm": ("output.LayerNorm",),
}


def convert_amvur(released: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Conversion:
    """Convert AMVUR's released state_dict to that of `AMVURReferenceNetwork`.

    Args:
        released: The released state_dict, 2,328 tensors.
        network: State_dict of the network, for its names and shapes.

    Raises:
        InputError: A tensor that is needed is missing, of another shape or not finite, or the file is of the code's
            older variant.
    """
    _refuse_older_variant(released)
    return convert(released, network, _amvur_source, _amvur_ignored())


def convert_hrnet(released: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Conversion:
    """Convert the official HRNet-W64 classification state_dict, 1,956 tensors; its classifier is dropped.

    Args:
        released: The official state_dict.
        network: State_dict of timm's network without classifier, which has the same names.

    Raises:
        InputError: A tensor that is needed is missing, of another shape or not finite.
    """
    ignored = {f"classifier.{part}": _CLASSIFIER for part in ("weight", "bias")}
    return convert(released, network, lambda key: Source((key,)), ignored)


def convert_amvur_backbone(released: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Conversion:
    """Convert the backbone of AMVUR's released state_dict alone; see `convert_hrnet`."""
    prefix = "backbone."
    backbone = {key.removeprefix(prefix): tensor for key, tensor in released.items() if key.startswith(prefix)}
    conversion = convert_hrnet(backbone, network)
    conversion.used = {prefix + key: target for key, target in conversion.used.items()}
    conversion.ignored = {prefix + key: reason for key, reason in conversion.ignored.items()}
    conversion.ignored |= {key: "not part of the backbone" for key in released if not key.startswith(prefix)}
    conversion.missing = [prefix + key for key in conversion.missing]
    conversion.unexpected = [prefix + key for key in conversion.unexpected]
    return conversion


def _amvur_source(key: str) -> Source:
    """Released tensors that make a tensor of `AMVURReferenceNetwork`."""
    if key.startswith("backbone.model."):
        return Source((key.replace("backbone.model.", "backbone.", 1),))
    for block, released in _BLOCKS.items():
        if key.startswith(f"{block}."):
            return _block_source(key.removeprefix(f"{block}."), released)
    name, kind = key.rsplit(".", 1)
    if name == "prior.pose_head.1":
        rows = (*range(NUM_COMPONENTS), *range(_POSE_OUTPUTS, _POSE_OUTPUTS + NUM_COMPONENTS))
        return Source((f"{_HEADS[name]}.{kind}",), rows, 2 * _POSE_OUTPUTS)
    return Source((f"{_HEADS[name]}.{kind}",))


def _block_source(key: str, block: str) -> Source:
    """Released tensors of one attention block, by the name within it."""
    if key == "position":
        used, total = (778, 1024) if block == "trans_texture" else (216, 512)
        return Source((f"{block}.bert.position_embeddings.weight",), tuple(range(used)), total)
    name, kind = key.rsplit(".", 1)
    if name.startswith("layers."):
        _, layer, part = name.split(".", 2)
        return Source(tuple(f"{block}.bert.encoder.layer.{layer}.{each}.{kind}" for each in _LAYER_PARTS[part]))
    return Source(tuple(f"{block}.{each}.{kind}" for each in _BLOCK_PARTS[name]))


def _amvur_ignored() -> dict[str, str]:
    """Released tensors that no output depends on, with the reason."""
    ignored = {"backbone.classifier": _CLASSIFIER, "trans_texture.cls_head_var": "variances of colours are discarded"}
    for block in _BLOCKS.values():
        ignored[f"{block}.bert.pooler.dense"] = "BERT's pooler is not called"
    for block in ("trans_encoder.2", "trans_texture"):
        ignored[f"{block}.residual_var"] = "the variances have no residual path"
    keys = {f"{name}.{part}": reason for name, reason in ignored.items() for part in ("weight", "bias")}
    for block in _BLOCKS.values():
        keys[f"{block}.position_embeddings.weight"] = "this table of positions is not read"
    return keys


def _refuse_older_variant(released: Mapping[str, Tensor]) -> None:
    signs = [key for key in released if key.startswith(("image_linear", "pose_projection1.", "pose_projection2."))]
    for key in (f"trans_encoder.{block}.bert.position_embeddings.weight" for block in range(3)):
        if key in released and len(released[key]) == 1024:
            signs.append(f"{key} with 1024 rows")
    if signs:
        raise InputError(
            f"this is the older variant of AMVUR, with a token for each of the 778 vertices ({listed(signs)}). "
            "The final code has 195 coarse vertices and a learned upsampling, and other heads: its network cannot run "
            "these weights. Look for the state_dict of the final release"
        )
