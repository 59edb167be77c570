"""The contracts between handlit's parts: what a dataset yields, what a method predicts, what callbacks need.

Conventions, everywhere: OpenCV camera axes (x right, y down, z forward), metres, radians, pixels; right hands (a left
hand is mirrored on the way in and back on the way out); 21 joints in the order of `handlit.skeleton.JOINTS`; pixel
(0, 0) is the centre of the top-left pixel. Letters in shapes: B batch, S hypotheses, J = 21 joints, V = 778 vertices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Normal


@dataclass
class HandSample:
    """One image crop and what is known about the hand in it. Arrays as in `HandBatch`, without the batch dimension.

    A label that is not known is None; `collate` turns that into a validity flag.
    """

    key: str
    index: int
    image: Tensor
    intrinsics: Tensor
    crop_transform: Tensor
    root_cam: Tensor | None = None
    joints_cam: Tensor | None = None
    vertices_cam: Tensor | None = None
    joints_2d: Tensor | None = None
    confidence: Tensor | None = None
    detected: Tensor | None = None
    visible: Tensor | None = None
    vertices_visible: Tensor | None = None
    fingers: Tensor | None = None
    pose: Tensor | None = None
    betas: Tensor | None = None
    ratios: Tensor | None = None
    hand_mask: Tensor | None = None
    object_mask: Tensor | None = None


@dataclass
class HandBatch:
    """A batch of right-hand crops with their labels.

    Attributes:
        key: Name of each sample, unique in its dataset, e.g. ``"ABF10/0000"``.
        index: (B,) int64, position in the dataset: the order of a submission.
        image: (B, 3, H, W) uint8 RGB.
        intrinsics: (B, 3, 3), pinhole camera **of the crop**: projects camera coordinates to crop pixels.
        crop_transform: (B, 2, 3), affine map from source image pixels to crop pixels.
        root_cam: (B, 3) wrist in the camera frame, metres.
        joints_cam: (B, 21, 3) camera frame, metres.
        vertices_cam: (B, 778, 3) camera frame, metres.
        joints_2d: (B, 21, 2) crop pixels.
        confidence: (B, 21) from 0 to 1, how far the label `joints_2d` is trusted: the weight of each joint in losses of
            image points, 0 for one that is not known. Where the label itself is not known, all weights are 1.
        detected: (B, 21, 3) crop pixels and confidence in [0, 1] of what a detector of joints found; 0: nothing.
        visible: (B, 21) bool, joint is seen in the image.
        vertices_visible: (B, 778) bool, vertex is seen in the image.
        fingers: (B, 5) int8, thumb to pinky, by `FINGER_STATES`: stretched, bent, or its tip touches the thumb's; -1
            where it is not known.
        pose: (B, 48) axis-angle, radians: global rotation in the camera frame, then 15 joints with the mean pose
            included (a flat hand is zero).
        betas: (B, 10) shape coefficients.
        ratios: (B, 20) of bone lengths to those that the shape gives, see `hand.proportions`; 1 if unknown.
        hand_mask: (B, H, W) bool, pixels of the hand.
        object_mask: (B, H, W) bool, pixels of an object that may occlude the hand.
        valid: For each optional label a (B,) bool flag. Where it is False the label's entries are zeros that mean
            nothing, so that datasets with different labels train together.
    """

    key: list[str]
    index: Tensor
    image: Tensor
    intrinsics: Tensor
    crop_transform: Tensor
    root_cam: Tensor = field(metadata={"label": ((3,), torch.float32)})
    joints_cam: Tensor = field(metadata={"label": ((21, 3), torch.float32)})
    vertices_cam: Tensor = field(metadata={"label": ((778, 3), torch.float32)})
    joints_2d: Tensor = field(metadata={"label": ((21, 2), torch.float32)})
    confidence: Tensor = field(metadata={"label": ((21,), torch.float32)})
    detected: Tensor = field(metadata={"label": ((21, 3), torch.float32)})
    visible: Tensor = field(metadata={"label": ((21,), torch.bool)})
    vertices_visible: Tensor = field(metadata={"label": ((778,), torch.bool)})
    fingers: Tensor = field(metadata={"label": ((5,), torch.int8)})
    pose: Tensor = field(metadata={"label": ((48,), torch.float32)})
    betas: Tensor = field(metadata={"label": ((10,), torch.float32)})
    ratios: Tensor = field(metadata={"label": ((20,), torch.float32)})
    hand_mask: Tensor = field(metadata={"label": (None, torch.bool)})
    object_mask: Tensor = field(metadata={"label": (None, torch.bool)})
    valid: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.image.shape[0]

    @property
    def weight_2d(self) -> Tensor:
        """(B, 21) weight of each of `joints_2d`: its confidence, 1 where that is not known, 0 without the label."""
        weight = torch.where(self.valid["confidence"][:, None], self.confidence, torch.ones_like(self.confidence))
        return weight * self.valid["joints_2d"][:, None]

    def to(self, device: torch.device | str) -> "HandBatch":
        """The same batch with every tensor on the device, in memory of this process.

        What a loader's worker made lies in memory that is shared with it, and whoever keeps such a tensor, or a view
        of it, keeps a file open: so it is copied.
        """

        def move(tensor: Tensor) -> Tensor:
            moved = tensor.to(device, non_blocking=True)
            return moved.clone() if moved.device.type == "cpu" and moved.is_shared() else moved

        return self._apply(move)

    def pin_memory(self) -> "HandBatch":
        """The same batch in page-locked memory; called by the DataLoader."""
        return self._apply(lambda tensor: tensor.pin_memory())

    def _apply(self, function: Callable[[Tensor], Tensor]) -> "HandBatch":
        values: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Tensor):
                value = function(value)
            elif isinstance(value, dict):
                value = {name: function(flag) for name, flag in value.items()}
            values[item.name] = value
        return HandBatch(**values)


#: Labels that a sample may lack, with their shape and type; the masks take the crop's size.
OPTIONAL_LABELS: dict[str, tuple[tuple[int, ...] | None, torch.dtype]] = {
    item.name: item.metadata["label"] for item in fields(HandBatch) if "label" in item.metadata
}


def collate(samples: Sequence[HandSample]) -> HandBatch:
    """Stack samples into a batch; unknown labels become zeros with a False validity flag.

    Args:
        samples: At least one sample; all crops of one size.

    Returns:
        The batch, in the samples' order.
    """
    size = samples[0].image.shape[-2:]
    labels: dict[str, Tensor] = {}
    valid: dict[str, Tensor] = {}
    for name, (shape, dtype) in OPTIONAL_LABELS.items():
        values = [getattr(sample, name) for sample in samples]
        empty = torch.zeros(shape or tuple(size), dtype=dtype)
        labels[name] = torch.stack([empty if value is None else value.to(dtype) for value in values])
        valid[name] = torch.tensor([value is not None for value in values])
    return HandBatch(
        key=[sample.key for sample in samples],
        index=torch.tensor([sample.index for sample in samples]),
        image=torch.stack([sample.image for sample in samples]),
        intrinsics=torch.stack([sample.intrinsics for sample in samples]),
        crop_transform=torch.stack([sample.crop_transform for sample in samples]),
        valid=valid,
        **labels,
    )


@dataclass
class Hypotheses:
    """S hands for each image of a batch, drawn from a method's distribution; frames and units as in `HandPrediction`.

    Attributes:
        joints_root: (B, S, 21, 3) metres, wrist at the origin.
        joints_2d: (B, S, 21, 2) crop pixels.
        vertices_root: (B, S, 778, 3) metres, wrist at the origin; None where they were not asked for.
        log_prob: (B, S) log-density of what was drawn, in the method's own space, nats; None for a method without one,
            and where it was not asked for. Comparable between the hypotheses of an image, not between methods.
        pose: (B, S, 48) axis-angle as in `HandBatch.pose`, if the method draws poses.
        betas: (B, S, 10) shape coefficients, if the method has them.
        root_cam: (B, S, 3) wrist in the camera frame, metres, if the method draws one.
    """

    joints_root: Tensor
    joints_2d: Tensor
    vertices_root: Tensor | None = None
    log_prob: Tensor | None = None
    pose: Tensor | None = None
    betas: Tensor | None = None
    root_cam: Tensor | None = None


class HandDistribution(Protocol):
    """A distribution over hands, one for each image of a batch: what is sampled and what is scored."""

    def hypotheses(
        self, count: int, temperature: float = 1.0, vertices: bool = False, density: bool = False
    ) -> Hypotheses:
        """Draw hands.

        Args:
            count: S, hypotheses of each image.
            temperature: Factor on the spread of what is drawn; 0 always gives the method's centre.
            vertices: Also compute the meshes.
            density: Also compute the log-density of each, where the method has one.
        """


@runtime_checkable
class KnownJointDensity(Protocol):
    """A `HandDistribution` of which the density of each joint coordinate by itself is known."""

    def joint_density(self, temperature: float = 1.0) -> Normal:
        """Of the joints that `hypotheses` draws: mean and scale (B, 21, 3), wrist at the origin, metres."""


@dataclass
class HandPrediction:
    """What every method predicts for a batch of crops; frames and units as in `HandBatch`.

    The point estimate is a summary of `distribution`: the object that is sampled is the object that is scored.

    Attributes:
        vertices_root: (B, 778, 3) metres, wrist at the origin.
        joints_root: (B, 21, 3) metres, wrist at the origin.
        joints_2d: (B, 21, 2) crop pixels.
        vertex_scale: (B, 778, 3) standard deviation per coordinate, metres.
        joint_scale: (B, 21, 3) standard deviation per coordinate, metres.
        camera: (B, 3) weak perspective ``(s, tx, ty)``: crop pixel = ``s * xy + (tx, ty)``, xy root-relative metres.
        distribution: Over hands; sample it for hypotheses.
        pose: (B, 48) axis-angle as in `HandBatch.pose`, of the method's own hand model, if it has one.
        betas: (B, 10) shape coefficients, if the method has them.
        root_cam: (B, 3) wrist in the camera frame, metres, if the method predicts one.
    """

    vertices_root: Tensor
    joints_root: Tensor
    joints_2d: Tensor
    vertex_scale: Tensor
    joint_scale: Tensor
    camera: Tensor
    distribution: HandDistribution
    pose: Tensor | None = None
    betas: Tensor | None = None
    root_cam: Tensor | None = None


@dataclass
class PredictedBatch:
    """What a method's `predict_step` hands to callbacks: a prediction and the samples that it is of.

    Attributes:
        key: Name of each sample.
        index: (B,) position of each sample in its dataset.
        prediction: Of the whole batch.
    """

    key: list[str]
    index: Tensor
    prediction: HandPrediction


class Triangulated(Protocol):
    """A hand model with triangles."""

    faces: Tensor


@runtime_checkable
class HasHand(Protocol):
    """A method, as callbacks see it: it knows the triangles of the meshes that it predicts, (1538, 3) int64."""

    @property
    def hand(self) -> Triangulated:
        """The hand layer."""


@runtime_checkable
class TexturedMethod(HasHand, Protocol):
    """A method that also colours the mesh that it predicts."""

    def colours(self, batch: HandBatch) -> Tensor:
        """(B, 778, 3) RGB in [0, 1] of every vertex, seen or hidden, without gradients."""


@runtime_checkable
class HandData(Protocol):
    """A data module, as callbacks see it.

    Attributes:
        protocol: Benchmark in whose format predictions are submitted; None for a dataset without one.
        box_source: Where the hand boxes of the evaluation split come from, in words.
    """

    protocol: str | None
    box_source: str


@runtime_checkable
class Photographs(Protocol):
    """A data module whose samples are cut from whole images."""

    def source_image(self, key: str) -> Tensor:
        """(H, W, 3) uint8 RGB, the whole source image of a hand."""

    def camera_assumed(self, key: str) -> bool:
        """Whether the camera of a hand's image was assumed, not given."""


@runtime_checkable
class KnownBoneLengths(Protocol):
    """A data module whose benchmark gives the size of each hand and no root."""

    def bone_lengths(self, index: Tensor) -> Tensor:
        """(B,) metres, the middle finger's proximal bone of the samples at these positions (B,)."""
