"""Image backbones: any timm network as one pooled feature vector and, as an option, multi-scale feature maps."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handlit.errors import InputError, check_number
from handlit.models.weight_files import read_state_dict

#: Strides of the maps that a backbone returns, finest first: those of AMVUR's texture branch.
MAP_STRIDES = (4, 8, 16)
#: Cells of the last map, each way, that `Backbone` appends to the pooled vector where that is asked for.
GRID = 3


@dataclass
class Features:
    """Features of a batch of images.

    Attributes:
        pooled: (B, C) one vector per image, see `Backbone.channels`.
        maps: (B, C_k, H / s_k, W / s_k) feature maps, fine to coarse; empty if built without.
    """

    pooled: Tensor
    maps: tuple[Tensor, ...] = ()


class Backbone(nn.Module):
    """A timm network without its classifier.

    HRNet is used whole, as in AMVUR: the pooled vector comes from the classification head's fusion of the four branches
    (2048 channels), and the maps are the fused outputs of the last stage's first three branches, before that head.
    timm's ``features_only`` mode would drop the head.

    A network without maps at stride 4, such as a plain vision transformer, returns its last map resampled to every
    stride: ViTDet's simple pyramid without its learned layers.

    Args:
        name: timm model, with or without a pretrained tag, e.g. ``"hrnet_w64"`` or ``"resnet50.a1_in1k"``.
        pretrained: Start from timm's ImageNet weights (downloaded once, then cached by timm).
        checkpoint: File with a state_dict of the network to start from instead, e.g. the official HRNet ImageNet file.
        maps: Also return feature maps.
        grid: Append the last map, reduced to this many channels and pooled to `GRID` x `GRID` cells, to the pooled
            vector: where things are in the image, which a mean over it loses. 0 leaves it out, as the papers do.
        channels_last: Keep weights and images in channels-last memory, the fastest layout for convolutions on CPUs and
            on tensor cores.
        activation_checkpointing: Keep only the inputs of the network's parts for the backward pass and recompute the
            rest there: less memory, about a third more time. Results are the same.
        compile: Run the network through ``torch.compile``, see `compile_in_place`.

    Attributes:
        channels: C, size of the pooled vector.
        map_channels: Channels of each map; empty without maps.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        InputError: There is no such network, its weights cannot be fetched, the checkpoint does not fit, the network
            has no activation checkpointing, that is combined with ``compile``, or the grid is negative.

    References:
        HRNet: Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2021,
        https://arxiv.org/abs/1908.07919; https://github.com/HRNet/HRNet-Image-Classification. ViTDet: Li et al.,
        "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022,
        https://arxiv.org/abs/2203.16527.
    """

    #: timm's network; its methods are not those of a plain Module
    model: Any
    pixel_scale: Tensor
    pixel_offset: Tensor

    def __init__(
        self,
        name: str = "hrnet_w64",
        pretrained: bool = False,
        checkpoint: str | None = None,
        maps: bool = False,
        grid: int = 0,
        channels_last: bool = True,
        activation_checkpointing: bool = False,
        compile: bool = False,
    ) -> None:
        super().__init__()
        check_number("grid", grid, least=0, whole=True)
        if pretrained and checkpoint:
            raise InputError("a backbone starts from pretrained=True or from a checkpoint, not from both")
        self.name = name
        self.model = _create(name, pretrained)
        if checkpoint:
            _load(self.model, name, Path(checkpoint))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.to(memory_format=self.memory_format)
        self.channels = int(self.model.head_hidden_size)
        self.cells: nn.Sequential | None = None
        if grid:
            reduce = nn.Conv2d(int(self.model.num_features), grid, kernel_size=1)
            self.cells = nn.Sequential(nn.AdaptiveAvgPool2d(GRID), reduce, nn.Hardswish(), nn.Flatten())
            self.channels += grid * GRID**2
        self._whole_hrnet = hasattr(self.model, "stages") and hasattr(self.model, "incre_modules")

        self._map_indices: list[int] = []
        self._pyramid = False
        self.map_channels: tuple[int, ...] = ()
        if maps:
            self._map_indices, self.map_channels = self._choose_maps()

        mean, std = (torch.tensor(self.model.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
        self.register_buffer("pixel_scale", 1 / (255 * std), persistent=False)
        self.register_buffer("pixel_offset", -mean / std, persistent=False)

        if activation_checkpointing and compile:
            raise InputError("a backbone has activation_checkpointing or compile, not both: set one of them to false")
        #: whether activations are recomputed in the backward pass
        self.recomputed = activation_checkpointing
        if activation_checkpointing:
            from handlit.models.recomputation import recompute_activations

            recompute_activations(self.model, name)
        if compile:
            compile_in_place(self)

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise pixels by the statistics that the network was trained with.

        Args:
            images: (B, 3, H, W) uint8 RGB.

        Returns:
            (B, 3, H, W) float32, zero mean and unit variance over ImageNet.

        Raises:
            TypeError: The images are not uint8: they may have been normalised before.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images travel as uint8 RGB and are normalised here, once; got {images.dtype}")
        images = images.contiguous(memory_format=self.memory_format)
        return torch.addcmul(self.pixel_offset, images.float(), self.pixel_scale)

    def forward(self, images: Tensor) -> Features:
        """Features of normalised images.

        Args:
            images: (B, 3, H, W) float, from `normalise`.

        Returns:
            Pooled vector and maps.
        """
        if not self.map_channels:
            return Features(self._pool(self.model.forward_features(images)))
        if self._whole_hrnet:
            return self._hrnet(images)
        final, maps = self.model.forward_intermediates(images, indices=self._map_indices)
        if self._pyramid:
            height, width = images.shape[-2:]
            sizes = [(height // stride, width // stride) for stride in MAP_STRIDES]
            maps = [F.interpolate(maps[0], size, mode="bilinear", antialias=True) for size in sizes]
        return Features(self._pool(final), tuple(maps))

    def _pool(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.model.forward_head(features, pre_logits=True)
        if self.cells is None:
            return pooled
        if features.dim() != 4:
            raise InputError(
                f"{self.name} ends in tokens, not in a map: set grid to 0, or choose a convolutional network"
            )
        return torch.cat([pooled, self.cells(features)], dim=1)

    def _hrnet(self, images: Tensor) -> Features:
        """HRNet's own forward, opened where the branches leave the last stage."""
        net = self.model
        stem = net.act2(net.bn2(net.conv2(net.act1(net.bn1(net.conv1(images))))))
        branches = net.stages(stem)
        fused = net.incre_modules[0](branches[0])
        for widen, halve, branch in zip(net.incre_modules[1:], net.downsamp_modules, branches[1:], strict=True):
            fused = widen(branch) + halve(fused)
        return Features(self._pool(net.final_layer(fused)), tuple(branches[: len(MAP_STRIDES)]))

    def _choose_maps(self) -> tuple[list[int], tuple[int, ...]]:
        """Indices and channels of the deepest map at each stride of `MAP_STRIDES` that the network has."""
        if self._whole_hrnet:
            channels = self.model.stage4_cfg["num_channels"][: len(MAP_STRIDES)]
            return list(range(len(MAP_STRIDES))), tuple(channels)
        info = list(getattr(self.model, "feature_info", []))
        if not info or not hasattr(self.model, "forward_intermediates"):
            raise InputError(f"{self.name} returns no feature maps: choose another backbone, or maps=False")
        deepest = {level["reduction"]: (index, level["num_chs"]) for index, level in enumerate(info)}
        if MAP_STRIDES[0] not in deepest:
            self._pyramid = True
            return [len(info) - 1], (info[-1]["num_chs"],) * len(MAP_STRIDES)
        chosen = [deepest[stride] for stride in MAP_STRIDES if stride in deepest]
        return [index for index, _ in chosen], tuple(channels for _, channels in chosen)


def compile_in_place(module: nn.Module) -> None:
    """Let ``torch.compile`` run a module; the names of its weights stay, so checkpoints fit with and without.

    The first step of each phase takes minutes for a large network.

    Args:
        module: Compiled at its first call.

    Raises:
        InputError: There is no C++ compiler, which the generated code needs.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise InputError(
            "compile: true needs a C++ compiler, and none is found: install g++, name one in CXX, or set it to false"
        ) from error
    module.compile()


def _create(name: str, pretrained: bool) -> Any:
    # not before a network is made: listing a command's options takes a fifth less time without timm
    import timm

    if not timm.is_model(name):
        near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), n=5)
        raise InputError(f"timm {timm.__version__} has no model '{name}'; similar names: {', '.join(near) or 'none'}")
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise InputError(
            f"the pretrained weights of '{name}' are not in timm's cache and could not be fetched ({error}). Connect "
            "to the network once, or give the file as checkpoint=..., or train from scratch with pretrained=False"
        ) from error


def _load(model: Any, name: str, path: Path) -> None:
    """Load a classification network's weights except its classifier; anything else that does not match is an error."""
    weights = read_state_dict(path)
    classifier = model.pretrained_cfg["classifier"]
    prefixes = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    weights = {key: value for key, value in weights.items() if not key.startswith(tuple(f"{p}." for p in prefixes))}
    expected = model.state_dict()
    missing, unexpected = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    shapes = sorted(key for key in expected.keys() & weights.keys() if expected[key].shape != weights[key].shape)
    if missing or unexpected or shapes:
        raise InputError(
            f"{path} does not hold the weights of '{name}': {len(missing)} missing {missing[:3]}, "
            f"{len(unexpected)} unexpected {unexpected[:3]}, {len(shapes)} of another shape {shapes[:3]}"
        )
    model.load_state_dict(weights)


def check_synchronised_normalisation(network: nn.Module) -> None:
    """Refuse networks whose batch normalisation torch's ``SyncBatchNorm`` would spoil.

    Raises:
        InputError: The conversion would drop activations that timm keeps inside its normalisation layers, or what
            keeps recomputed layers from counting a batch twice.
    """
    from timm.layers import BatchNormAct2d

    if any(isinstance(module, BatchNormAct2d) for module in network.modules()):
        raise InputError(
            "trainer.sync_batchnorm would drop the activations inside this backbone's normalisation layers: take a "
            "ResNet or HRNet, or leave it out"
        )
    if any(isinstance(module, Backbone) and module.recomputed for module in network.modules()):
        raise InputError(
            "trainer.sync_batchnorm counts a batch twice where activations are computed again: leave out one of it "
            "and the backbone's activation_checkpointing"
        )
