"""A method as tensors in and tensors out, for other programs: names, shapes, units and frames of each."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.types import HandPrediction

#: Names of the sizes that are free.
BATCH, HYPOTHESES = "batch", "hypotheses"


@dataclass(frozen=True)
class Port:
    """An input or an output.

    Attributes:
        name: Of the tensor.
        shape: Its sizes; a name stands for one that is free.
        meaning: What it is, with unit and frame.
    """

    name: str
    shape: tuple[str | int, ...]
    meaning: str


#: What a `HandPrediction` holds, where the method has it.
PREDICTED = (
    Port("vertices_root", (BATCH, 778, 3), "mesh of the point estimate, metres, camera axes, wrist at the origin"),
    Port("joints_root", (BATCH, 21, 3), "its joints, metres, camera axes, wrist at the origin"),
    Port("joints_2d", (BATCH, 21, 2), "its joints in the image, pixels of the input"),
    Port("vertex_scale", (BATCH, 778, 3), "standard deviation of each coordinate of vertices_root, metres"),
    Port("joint_scale", (BATCH, 21, 3), "standard deviation of each coordinate of joints_root, metres"),
    Port("camera", (BATCH, 3), "weak perspective s, tx, ty: pixel = s * xy of a point in metres + (tx, ty)"),
    Port("pose", (BATCH, 48), "16 rotation vectors, radians: global one first, a flat hand is zero"),
    Port("betas", (BATCH, 10), "shape coefficients of the hand model"),
    Port("root_cam", (BATCH, 3), "the wrist in the camera's frame, metres"),
)
#: Of hypotheses that a graph makes from noise.
DRAWN = (
    Port("hypotheses_joints_root", (BATCH, HYPOTHESES, 21, 3), "joints of each hypothesis, as joints_root"),
    Port("hypotheses_joints_2d", (BATCH, HYPOTHESES, 21, 2), "the same in the image, as joints_2d"),
    Port("hypotheses_log_prob", (BATCH, HYPOTHESES), "log-density of each, nats, in the method's own space"),
)


class HandGraph(nn.Module, ABC):
    """Base of the graphs; `forward` takes the inputs and returns the outputs, each in the stated order.

    Attributes:
        inputs: What goes in.
        outputs: What comes out.
        sampling: How hypotheses are drawn with it, in words.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    sampling: str

    @abstractmethod
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs for the inputs."""

    @abstractmethod
    def example(self, batch: int, hypotheses: int) -> tuple[Tensor, ...]:
        """Inputs to trace and to check the graph with: always the same ones, of these sizes."""


def ports_of(prediction: HandPrediction) -> tuple[Port, ...]:
    """Those of `PREDICTED` that a prediction has."""
    return tuple(port for port in PREDICTED if getattr(prediction, port.name) is not None)


def tensors_of(prediction: HandPrediction) -> tuple[Tensor, ...]:
    """What a prediction has, in the order of `ports_of`."""
    return tuple(getattr(prediction, port.name) for port in ports_of(prediction))


class PointGraph(HandGraph):
    """Image to the point estimate and its scales.

    Args:
        method: From images (B, 3, H, W) uint8 to a `HandPrediction`.
        image_size: Side of the square crops, pixels.
    """

    sampling = "none: the graph gives the point estimate and its scales"

    def __init__(self, method: nn.Module, image_size: int) -> None:
        super().__init__()
        self.method = method
        self.image_size = image_size
        meaning = "RGB crop of a right hand, 0 to 255; a left hand is mirrored in x before, and the answer after"
        self.inputs = (Port("image", (BATCH, 3, image_size, image_size), meaning),)
        with torch.no_grad():
            self.outputs = ports_of(method(self.example(1, 1)[0]))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The image (B, 3, H, W) uint8 to `outputs`."""
        return tensors_of(self.method(inputs[0]))

    def example(self, batch: int, hypotheses: int) -> tuple[Tensor, ...]:
        """Noise as images."""
        shape = (batch, 3, self.image_size, self.image_size)
        return (torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),)


class GaussianGraph(PointGraph):
    """A `PointGraph` of a method whose distribution is `GaussianHands`: the point estimate and its scales say it all.

    Args:
        method: See `PointGraph`.
        image_size: See `PointGraph`.
        joint_matrix: (21, 778), `HandLayer.joint_matrix`.
    """

    sampling = (
        "vertices = vertices_root + vertex_scale * standard normal noise, every coordinate by itself; joints = "
        "joint_matrix @ vertices, relative to their first; in the image by camera"
    )

    def __init__(self, method: nn.Module, image_size: int, joint_matrix: Tensor) -> None:
        super().__init__(method, image_size)
        self.joint_matrix = joint_matrix
        self.outputs = (*self.outputs, Port("joint_matrix", (21, 778), "joints = joint_matrix @ vertices"))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The image (B, 3, H, W) uint8 to `outputs`."""
        # an output is a tensor that the graph computes
        return (*super().forward(*inputs), self.joint_matrix.clone())


class SpreadGraph(GaussianGraph):
    """A `GaussianGraph` of a method whose vertices also share something: with the two parts of the spread.

    Args:
        method: See `PointGraph`.
        image_size: See `PointGraph`.
        joint_matrix: (21, 778), `HandLayer.joint_matrix`.
        rank: Of what they share.
    """

    sampling = (
        "vertices = vertices_root + vertex_own_scale * standard normal noise, every coordinate by itself, + "
        "vertex_factor @ further standard normal numbers, the same for all coordinates of a hypothesis; joints = "
        "joint_matrix @ vertices, relative to their first; in the image by camera"
    )

    def __init__(self, method: nn.Module, image_size: int, joint_matrix: Tensor, rank: int) -> None:
        super().__init__(method, image_size, joint_matrix)
        self.outputs = (
            *self.outputs,
            Port(
                "vertex_own_scale", (BATCH, 778, 3), "standard deviation of what each coordinate has for itself, metres"
            ),
            Port("vertex_factor", (BATCH, 778, 3, rank), "what coordinates share, metres"),
        )

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The image (B, 3, H, W) uint8 to `outputs`."""
        prediction: HandPrediction = self.method(inputs[0])
        mesh = prediction.distribution
        assert isinstance(mesh, MeshGaussian)
        assert mesh.factor is not None
        return (*tensors_of(prediction), self.joint_matrix.clone(), mesh.own_scale, mesh.factor)
