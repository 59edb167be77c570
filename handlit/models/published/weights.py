"""Weights under the names of released codes, translated to handlit's networks with an account of every key."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from handlit.errors import InputError
from handlit.models.published.amvur.prior import NUM_COMPONENTS

#: How many keys of a kind an error names.
_SHOWN = 5
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


@dataclass(frozen=True)
class Source:
    """Where a tensor of a handlit network comes from.

    Attributes:
        names: Released tensors, to be joined along their first dimension.
        rows: Rows of the one released tensor that are kept; all by default.
        total_rows: Its rows, where not all are kept.
        columns: Columns of a matrix that are kept; all by default.
        total_columns: Its columns, where not all are kept.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...] = ()
    total_rows: int = 0
    columns: tuple[int, ...] = ()
    total_columns: int = 0

    def shape(self, target: torch.Size) -> tuple[int, ...]:
        """Shape that each released tensor must have for a target of this shape."""
        if not target:
            return ()
        rows = self.total_rows if self.rows else target[0] // len(self.names)
        return (rows, self.total_columns) if self.columns else (rows, *target[1:])

    def read(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The target."""
        if len(self.names) > 1:
            return torch.cat([weights[name] for name in self.names])
        part = weights[self.names[0]]
        if self.rows:
            part = part[list(self.rows)]
        return part[:, list(self.columns)] if self.columns else part


@dataclass
class Conversion:
    """Released weights under handlit's names, and what became of every released key.

    Attributes:
        weights: Complete state_dict of the handlit network.
        used: Released key to the name of the tensor it is in.
        ignored: Released key that is not needed to the reason.
        missing: Keys that are not there and not needed: counters of batches, set to zero.
        unexpected: Keys that the released code does not have.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    ignored: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The fate of each key, one tab-separated line a key."""
        yield from (f"used\t{key}\t{target}" for key, target in self.used.items())
        yield from (f"ignored\t{key}\t{reason}" for key, reason in self.ignored.items())
        yield from (f"missing\t{key}\ta counter, set to zero" for key in self.missing)
        yield from (f"unexpected\t{key}\tnot in the released network" for key in self.unexpected)


def convert_amvur(released: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Conversion:
    """AMVUR's released state_dict to that of `AMVURReferenceNetwork`.

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
    """The official HRNet-W64 classification state_dict, 1,956 tensors, without its classifier.

    Args:
        released: The official state_dict.
        network: State_dict of timm's network without classifier, which has the same names.

    Raises:
        InputError: A tensor that is needed is missing, of another shape or not finite.
    """
    ignored = {f"classifier.{part}": _CLASSIFIER for part in ("weight", "bias")}
    return convert(released, network, lambda key: Source((key,)), ignored)


def convert_amvur_backbone(released: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Conversion:
    """The backbone alone of AMVUR's released state_dict, as `convert_hrnet`."""
    prefix = "backbone."
    own = {key.removeprefix(prefix): tensor for key, tensor in released.items() if key.startswith(prefix)}
    conversion = convert_hrnet(own, network)
    conversion.used = {prefix + key: target for key, target in conversion.used.items()}
    conversion.ignored = {prefix + key: reason for key, reason in conversion.ignored.items()}
    conversion.ignored |= {key: "not part of the backbone" for key in released if not key.startswith(prefix)}
    conversion.missing = [prefix + key for key in conversion.missing]
    conversion.unexpected = [prefix + key for key in conversion.unexpected]
    return conversion


def convert(
    released: Mapping[str, Tensor],
    network: Mapping[str, Tensor],
    source_of: Callable[[str], Source],
    ignored: Mapping[str, str],
) -> Conversion:
    """Any released state_dict to that of a network.

    Args:
        released: The released state_dict.
        network: State_dict of the network, for its names and shapes.
        source_of: Where the tensor of a name in the network comes from.
        ignored: Reason for each released tensor that is not needed.

    Raises:
        InputError: A tensor that is needed is missing, of another shape or not finite.
    """
    conversion = Conversion(ignored={key: ignored[key] for key in released if key in ignored})
    lacking, misshaped = [], []
    sources = {target: source_of(target) for target in network}
    for target, source in sources.items():
        wanted = source.shape(network[target].shape)
        absent = [name for name in source.names if name not in released]
        present = [name for name in source.names if name in released]
        if target.endswith(".num_batches_tracked"):
            conversion.missing += absent
        else:
            lacking += absent
        conversion.used |= dict.fromkeys(present, target)
        wrong = [name for name in present if tuple(released[name].shape) != wanted]
        misshaped += [f"{name} {tuple(released[name].shape)} instead of {wanted}" for name in wrong]
    conversion.unexpected = [key for key in released if key not in conversion.used and key not in ignored]
    broken = [] if lacking or misshaped else [key for key in conversion.used if not released[key].isfinite().all()]
    if lacking or misshaped or broken:
        problems = [(lacking, "missing"), (misshaped, "of another shape"), (broken, "with NaN or infinity")]
        raise InputError(
            "these weights do not fit: "
            + "; ".join(f"{len(keys)} {what} ({_listed(keys)})" for keys, what in problems if keys)
            + f"; {len(conversion.unexpected)} unexpected ({_listed(conversion.unexpected)}). "
            "Expected is the released state_dict itself, whole and unchanged: download it again, or name another file"
        )
    for target, source in sources.items():
        own = network[target]
        known = source.names[0] in released
        conversion.weights[target] = source.read(released).to(own.dtype) if known else torch.zeros_like(own)
    return conversion


def _amvur_source(key: str) -> Source:
    """Released tensors that make a tensor of `AMVURReferenceNetwork`."""
    if key.startswith("backbone.model."):
        return Source((key.replace("backbone.model.", "backbone.", 1),))
    for own, released in _BLOCKS.items():
        if key.startswith(f"{own}."):
            return _block_source(key.removeprefix(f"{own}."), released)
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
            f"this is the older variant of AMVUR, with a token for each of the 778 vertices ({_listed(signs)}). "
            "The final code has 195 coarse vertices and a learned upsampling, and other heads: its network cannot run "
            "these weights. Look for the state_dict of the final release"
        )


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more or "none"
