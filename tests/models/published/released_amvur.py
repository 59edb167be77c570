"""AMVUR's released state_dict by formula: every name and shape, and values that anyone can rebuild."""

import numpy as np
import timm
import torch

PERIOD = 10007
TRANSFORMERS = {
    "trans_encoder.0": (2051, 1024, 4096, 512, 512),
    "trans_encoder.1": (512, 256, 1024, 128, 512),
    "trans_encoder.2": (128, 64, 256, 3, 512),
    "trans_texture": (448, 216, 216, 3, 1024),
}


#: Values that the formula does not give.
CHOSEN = {
    "scale_reg.1.bias": [0.95],
    "trans_reg.1.bias": [0.0, 0.0, 0.65],
    "ks_reg.1.bias": [0.45, 0.25, 0.45, 0.25],
}


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every floating-point entry of the released state_dict."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, inside: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, inside), (out,)

    with torch.device("meta"):
        hrnet = timm.create_model("hrnet_w64").state_dict()
    shapes |= {f"backbone.{k}": tuple(v.shape) for k, v in hrnet.items() if not k.endswith("num_batches_tracked")}
    for prefix, (inside, hidden, feedforward, out, positions) in TRANSFORMERS.items():
        for layer in (f"{prefix}.bert.encoder.layer.{i}" for i in range(4)):
            for part in (
                "attention.self.query",
                "attention.self.key",
                "attention.self.value",
                "attention.output.dense",
            ):
                linear(f"{layer}.{part}", hidden, hidden)
            linear(f"{layer}.intermediate.dense", feedforward, hidden)
            linear(f"{layer}.output.dense", hidden, feedforward)
            for part in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes[f"{layer}.{part}.weight"] = shapes[f"{layer}.{part}.bias"] = (hidden,)
        for part in ("pooler.dense", "cross_attention.query", "cross_attention.key", "cross_attention.value"):
            linear(f"{prefix}.bert.{part}", hidden, hidden)
        shapes[f"{prefix}.bert.position_embeddings.weight"] = (positions, hidden)
        shapes[f"{prefix}.position_embeddings.weight"] = (positions, inside)
        linear(f"{prefix}.bert.img_embedding", hidden, inside)
        linear(f"{prefix}.cls_head", out, hidden)
        linear(f"{prefix}.residual", out, inside)
        if out == 3:
            linear(f"{prefix}.cls_head_var", 3, hidden)
            linear(f"{prefix}.residual_var", 3, inside)
    for name in ("upsampling", "upsampling_var"):
        linear(name, 778, 195)
    heads = {"orth_fc": 3, "orth_fc_var": 3, "rot_reg": 3, "trans_reg": 3, "scale_reg": 1, "ks_reg": 4, "ks_var_reg": 4}
    for name, out in heads.items():
        linear(f"{name}.0", 512, 2048)
        linear(f"{name}.1", out, 512)
    linear("pose_projection1_", 512, 2048)
    linear("pose_projection2_", 80, 512)
    linear("samp_3D_scale.0", 512, 2397)
    linear("samp_3D_scale.1", 1, 512)
    linear("samp_2D_scale.0", 1, 42)
    linear("samp_ks_scale.0", 1, 4)
    return shapes


class Formula:
    """Weights of the released names, each a formula of its position."""

    def __init__(self) -> None:
        self.shapes = released_shapes()
        assert len(self.shapes) == 2003
        self.position = {name: k for k, name in enumerate(sorted(self.shapes))}

    def __call__(self, name: str) -> torch.Tensor:
        if name in CHOSEN:
            return torch.tensor(CHOSEN[name])
        shape = self.shapes[name]
        angles = np.arange(PERIOD) * 12.9898 + (self.position[name] % 997) * 78.233
        uniform = np.resize((np.sin(angles) * 43758.5453) % 1, shape)
        if len(shape) >= 2:
            values = (2 * uniform - 1) * np.sqrt(3 / np.prod(shape[1:]))
            if "_reg." in name:
                values *= 0.05
        elif name.endswith("running_var"):
            values = 0.5 + uniform
        elif name.endswith("weight"):
            values = 0.2 + 0.3 * uniform if name.startswith("backbone.") else 0.5 + uniform
        else:
            values = 0.1 * (uniform - 0.5)
        return torch.from_numpy(values).float()


def released_state_dict() -> dict[str, torch.Tensor]:
    """All 2,328 entries."""
    formula = Formula()
    weights = {name: formula(name) for name in formula.shapes}
    counters = [name for name in weights if name.endswith("running_mean")]
    return weights | {name.replace("running_mean", "num_batches_tracked"): torch.tensor(7) for name in counters}


def image() -> torch.Tensor:
    """The image (1, 3, 224, 224) that the numbers were recorded with, already normalised."""
    y, x = np.meshgrid(np.arange(224), np.arange(224), indexing="ij")
    return torch.tensor(np.stack([np.sin(0.05 * x + 0.03 * y * (c + 1) + c) for c in range(3)])[None]).float()
