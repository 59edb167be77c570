"""MHEntropy's released state_dict by formula: every name and shape, and values that anyone can rebuild."""

import numpy as np
import torch
from torch import Tensor

from handlit.hand.asset import HandAsset

BLOCKS = {1: (3, 64, 256), 2: (4, 128, 512), 3: (6, 256, 1024), 4: (3, 512, 2048)}
FLOW_LAYERS = {"l.0": (512, 45), "l.1": (512, 512), "l.2": (45, 512), "c.0": (512, 512), "c.1": (512, 512)}
PERIOD = 10007


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of all entries but the hand model's, in the order of the file."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, *shape: int) -> None:
        shapes[f"feat_extractor.res.{name}.weight"] = shape

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"feat_extractor.res.{name}.{part}"] = (width,)
        shapes[f"feat_extractor.res.{name}.num_batches_tracked"] = ()

    def linear(name: str, out: int, inside: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, inside), (out,)

    convolution("conv1", 64, 3, 7, 7)
    norm("bn1", 64)
    inside = 64
    for layer, (blocks, width, out) in BLOCKS.items():
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            sizes = ((width, inside, 1, 1), (width, width, 3, 3), (out, width, 1, 1))
            for number, size in enumerate(sizes, start=1):
                convolution(f"{name}.conv{number}", *size)
                norm(f"{name}.bn{number}", size[0])
            if block == 0:
                convolution(f"{name}.downsample.0", out, inside, 1, 1)
                norm(f"{name}.downsample.1", out)
            inside = out
    linear("feat_extractor.l1.0", 512, 2048)
    linear("feat_extractor.l2.0", 512, 2048)
    shapes["q_z_giv_i.mask"] = (12, 45)
    for kind in ("t", "s"):
        for coupling in range(12):
            for layer_name, sides in FLOW_LAYERS.items():
                linear(f"q_z_giv_i.{kind}.{coupling}.{layer_name}", *sides)
    linear("det_head.0", 512, 512)
    linear("det_head.2", 16, 512)
    return shapes


def flow_weights() -> dict[str, Tensor]:
    """The 240 tensors of the flow that its recorded numbers are of, float64."""
    names = [name for name in released_shapes() if name.startswith(("q_z_giv_i.t", "q_z_giv_i.s"))]
    weights = {}
    for number, name in enumerate(names):
        shape = released_shapes()[name]
        k = torch.arange(int(np.prod(shape)), dtype=torch.float64)
        amplitude = 0.3 if ".l.0." in name else 0.05
        weights[name] = amplitude * torch.sin(0.7 * number + 0.013 * k).view(shape)
    return weights


def mano_buffers(asset: HandAsset) -> dict[str, Tensor]:
    """The hand model's copies in the file."""
    arrays = {
        "th_betas": np.zeros((1, 10)),
        "th_shapedirs": asset.shape_directions,
        "th_posedirs": asset.pose_directions,
        "th_v_template": asset.template[None],
        "th_J_regressor": asset.joint_regressor,
        "th_weights": asset.weights,
        "th_faces": asset.faces,
        "th_hands_mean": asset.pose_mean[None],
        "th_comps": asset.pose_components,
        "th_selected_comps": asset.pose_components,
    }
    buffers = {f"mano_dec.mano_layer.{name}": torch.from_numpy(array) for name, array in arrays.items()}
    return {name: tensor if tensor.dtype == torch.int64 else tensor.float() for name, tensor in buffers.items()}


def mask() -> Tensor:
    """Which coordinates each coupling keeps."""
    first = torch.arange(45) < 22
    return torch.stack([~first, first] * 6).float()


def released_state_dict(asset: HandAsset) -> dict[str, Tensor]:
    """All 577 entries."""
    weights: dict[str, Tensor] = {}
    for number, (name, shape) in enumerate(released_shapes().items()):
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
            continue
        angles = np.arange(PERIOD) * 12.9898 + number * 78.233
        uniform = np.resize((np.sin(angles) * 43758.5453) % 1, shape)
        if len(shape) >= 2:
            values = (2 * uniform - 1) * np.sqrt(3 / np.prod(shape[1:]))
        elif name.endswith("running_var"):
            values = 0.5 + uniform
        elif name.endswith("weight"):
            values = 0.7 + 0.6 * uniform
        else:
            values = 0.1 * (uniform - 0.5)
        weights[name] = torch.from_numpy(values).float()
    weights["q_z_giv_i.mask"] = mask()
    return weights | mano_buffers(asset)
