"""A hand of an image in 3D, as the image shows it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from handlit.distributions.importance import log_weights
from handlit.errors import InputError, check_number
from handlit.formats.hand_files import MeshFormat, write_mesh, write_numbers
from handlit.geometry import crops
from handlit.geometry.cameras import fit_root
from handlit.geometry.mirroring import MIRROR, mirrored_points, mirrored_rotation_vectors
from handlit.landmarks import DetectedHand
from handlit.render.overlays import scale_colours
from handlit.skeleton import WRIST
from handlit.types import HandPrediction, Hypotheses

#: Draws hypotheses by count and temperature.
Draw = Callable[[int, float], Hypotheses]

CONVENTIONS = (
    "OpenCV camera axes (x right, y down, z forward), metres, radians, pixels of the image with (0, 0) at the centre "
    "of the top-left pixel. Joints: wrist, then thumb, index, middle, ring, pinky from base to tip. joints_root, "
    "vertices: wrist at the origin; add root_cam for the frame of the camera given by intrinsics. One image tells no "
    "size and no distance: they are those of a usual hand before the camera that was given or assumed. joints_2d, "
    "confidence: detected. camera: weak perspective (s, tx, ty), pixel = s (x, y) + (tx, ty) of joints_root. "
    "joint_scale, vertex_scale: stated standard deviation per coordinate; spread_mm: root mean square over the joints "
    "besides the wrist of the root of the three summed variances. pose: 16 rotation vectors, global first, a flat hand "
    "is zero; betas: shape. A left hand's pose belongs to the right-hand model mirrored in x."
)
#: What an npz holds of a hand.
_NUMBERS = (
    *("presence", "handedness", "box", "joints_2d", "confidence", "joints_root", "joint_scale", "vertices"),
    *("vertex_scale", "faces", "root_cam", "intrinsics", "camera", "pose", "betas", "spread_mm"),
)


@dataclass(frozen=True)
class MethodFrame:
    """The pixels and the camera in which a method predicts a hand: of a crop, or of the image; mirrored for a left one.

    Attributes:
        transform: (2, 3) map from the image's pixels to those of the method, without a turn.
        intrinsics: (3, 3) of the camera that projects the prediction to the method's pixels.
    """

    transform: np.ndarray
    intrinsics: np.ndarray

    @property
    def mirrored(self) -> bool:
        """Whether left and right are exchanged."""
        return bool(np.linalg.det(self.transform[:, :2]) < 0)

    def to_image(self, points_2d: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of the method as pixels of the image."""
        points: np.ndarray = (points_2d - self.transform[:, 2]) @ np.linalg.inv(self.transform[:, :2]).T
        return points

    def point(self, points: Tensor) -> np.ndarray:
        """Points (..., 3) of a prediction in the image's camera axes."""
        array = _array(points)
        return mirrored_points(array) if self.mirrored else array

    def pose(self, vectors: Tensor | None) -> np.ndarray | None:
        """Rotation vectors (..., 48) of a prediction in the image's camera axes."""
        array = None if vectors is None else _array(vectors)
        return array if array is None or not self.mirrored else mirrored_rotation_vectors(array)


@dataclass(frozen=True, eq=False)
class HandHypotheses:
    """S hands that explain one hand of an image, drawn from a method's distribution; as in `ReconstructedHand`.

    Attributes:
        joints_root: (S, 21, 3) metres, wrist at the origin.
        vertices: (S, 778, 3) metres, wrist at the origin.
        joints_2d: (S, 21, 2) pixels of the image, projected by the method.
        pose: (S, 48), radians, if the method draws poses.
        betas: (S, 10), if the method has them.
        log_prob: (S,) log-density, nats, in the method's own space, if it has one.
        weights: (S,) importance of each, sum 1: how well it explains the detected joints, or equal.
    """

    joints_root: np.ndarray
    vertices: np.ndarray
    joints_2d: np.ndarray
    pose: np.ndarray | None
    betas: np.ndarray | None
    log_prob: np.ndarray | None
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.joints_root)

    @property
    def joints_mm(self) -> np.ndarray:
        """(S, 21, 3) millimetres, wrist at the origin."""
        return 1000 * self.joints_root

    @property
    def effective_size(self) -> float:
        """How many equally weighted hands the weighted ones are worth, from 1 to S (Kish, 1965)."""
        return float(1 / (self.weights**2).sum())


@dataclass(frozen=True, eq=False)
class ReconstructedHand:
    """A hand of an image in 3D, a left one as a left one, in its camera: OpenCV axes, x right, y down, z forward.

    Arrays are float32. One image tells neither size nor distance of a hand: both are those of a usual hand before the
    camera that was given or assumed.

    Attributes:
        right: Whether it is a right hand, if the image is not mirrored.
        handedness: Probability that it is, [0, 1].
        presence: Probability that there is a hand, [0, 1].
        track: Number of the hand in a stream, None in a single image.
        box: (4,) x0, y0, x1, y1 around the detected joints, pixels.
        joints_2d: (21, 2) detected joints, pixels; (0, 0) is the centre of the top-left pixel.
        confidence: (21,) of the detected joints, [0, 1].
        joints_root: (21, 3) point estimate, metres, wrist at the origin.
        joint_scale: (21, 3) stated standard deviation per coordinate, metres.
        vertices: (778, 3) metres, wrist at the origin.
        vertex_scale: (778, 3) stated standard deviation per coordinate, metres.
        faces: (1538, 3) int64, counter-clockwise seen from outside.
        root_cam: (3,) wrist in the camera frame, metres.
        intrinsics: (3, 3) of the camera, pixels.
        camera: (3,) weak perspective ``(s, tx, ty)``: pixel = ``s (x, y) + (tx, ty)`` of `joints_root`.
        pose: (48,) rotation vectors, radians, global first, a flat hand is zero; of the right-hand model mirrored in x
            for a left hand. None for a method without poses.
        betas: (10,) shape coefficients of the hand model; None for a method without them.
    """

    right: bool
    handedness: float
    presence: float
    track: int | None
    box: np.ndarray
    joints_2d: np.ndarray
    confidence: np.ndarray
    joints_root: np.ndarray
    joint_scale: np.ndarray
    vertices: np.ndarray
    vertex_scale: np.ndarray
    faces: np.ndarray
    root_cam: np.ndarray
    intrinsics: np.ndarray
    camera: np.ndarray
    pose: np.ndarray | None
    betas: np.ndarray | None
    _frame: MethodFrame = field(repr=False)
    _draw: Draw = field(repr=False)

    @property
    def side(self) -> str:
        """``"right"`` or ``"left"``."""
        return "right" if self.right else "left"

    @property
    def joints_mm(self) -> np.ndarray:
        """(21, 3) millimetres, wrist at the origin."""
        return 1000 * self.joints_root

    @property
    def scale_mm(self) -> np.ndarray:
        """(21,) stated uncertainty of each joint: root of the sum of its three variances, millimetres."""
        return 1000 * np.linalg.norm(self.joint_scale, axis=-1)

    @property
    def spread_mm(self) -> float:
        """Stated uncertainty of the hand: root mean square of `scale_mm` over the 20 joints besides the wrist."""
        return float(np.sqrt((np.delete(self.scale_mm, WRIST) ** 2).mean()))

    @property
    def joints_cam(self) -> np.ndarray:
        """(21, 3) in the camera frame, metres."""
        return self.joints_root + self.root_cam

    @property
    def vertices_cam(self) -> np.ndarray:
        """(778, 3) in the camera frame, metres."""
        return self.vertices + self.root_cam

    def hypotheses(
        self, count: int, temperature: float = 1.0, seed: int = 0, reweighted: bool = False
    ) -> HandHypotheses:
        """Draw hands that explain the image; the global random numbers are left as they are.

        Args:
            count: S, at least 1.
            temperature: Factor on the spread of what is drawn.
            seed: Of the random numbers: the same one draws the same hands.
            reweighted: Weigh them by how well they explain the detected joints, see `distributions.importance`. For a
                method that looks at pixels; hands lifted from these joints know them already.

        Raises:
            InputError: A number is out of its range.
        """
        check_number("count of hypotheses", count, least=1, whole=True)
        check_number("temperature", temperature, least=0)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            drawn = self._draw(count, temperature)
        assert drawn.vertices_root is not None
        joints_2d = self._frame.to_image(_array(drawn.joints_2d[0]))
        weights = np.full(count, 1 / count, np.float32)
        if reweighted:
            points, given, trust = (
                torch.from_numpy(values)[None] for values in (joints_2d, self.joints_2d, self.confidence)
            )
            weights = _array(log_weights(points, given, trust)[0].exp())
        return HandHypotheses(
            self._frame.point(drawn.joints_root[0]),
            self._frame.point(drawn.vertices_root[0]),
            joints_2d,
            self._frame.pose(None if drawn.pose is None else drawn.pose[0]),
            None if drawn.betas is None else _array(drawn.betas[0]),
            None if drawn.log_prob is None else _array(drawn.log_prob[0]),
            weights,
        )

    def save(self, path: str | Path) -> None:
        """Write the hand as a mesh or as numbers; the file appears when it is whole.

        Args:
            path: ``.glb``, ``.obj`` or ``.ply``: the mesh in metres, wrist at the origin, in OpenGL axes as viewers
                expect, coloured by its stated scale. ``.npz``: every number, with its conventions.

        Raises:
            InputError: The suffix is another one.
        """
        path = Path(path)
        if path.suffix == ".npz":
            write_numbers(path, **self.numbers())
        elif path.suffix[1:] in get_args(MeshFormat):
            colours = scale_colours(torch.from_numpy(self.vertex_scale))
            write_mesh(path, torch.from_numpy(self.vertices), torch.from_numpy(self.faces), colours)
        else:
            kinds = ", ".join(f".{kind}" for kind in (*get_args(MeshFormat), "npz"))
            raise InputError(f"{path}: a hand is saved as {kinds}, not as '{path.suffix}'")

    def numbers(self) -> dict[str, Any]:
        """What an npz holds, by the names of `CONVENTIONS`; what the method does not have is left out."""
        values = {name: value for name in _NUMBERS if (value := getattr(self, name)) is not None}
        return {"hand": self.side, "conventions": CONVENTIONS, **values}


def hand_of(
    prediction: HandPrediction, frame: MethodFrame, detected: DetectedHand, intrinsics: np.ndarray, faces: np.ndarray
) -> ReconstructedHand:
    """The hand of an image that a method's prediction is of.

    Args:
        prediction: Of one hand, in the method's frame.
        frame: That frame.
        detected: The hand as it was found.
        intrinsics: (3, 3) of the image's camera.
        faces: (1538, 3) of the method's right hand.
    """
    root = prediction.root_cam
    if root is None:
        to_crop = torch.from_numpy(frame.intrinsics)[None].to(prediction.joints_root)
        root = fit_root(prediction.joints_root, prediction.joints_2d, to_crop)
    weak = _array(prediction.camera[0])
    zoom = abs(np.linalg.det(frame.transform[:, :2])) ** 0.5
    return ReconstructedHand(
        right=detected.right,
        handedness=detected.handedness,
        presence=detected.presence,
        track=detected.track,
        box=detected.box.astype(np.float32),
        joints_2d=detected.joints_2d.astype(np.float32),
        confidence=detected.confidence.astype(np.float32),
        joints_root=frame.point(prediction.joints_root[0]),
        joint_scale=_array(prediction.joint_scale[0]),
        vertices=frame.point(prediction.vertices_root[0]),
        vertex_scale=_array(prediction.vertex_scale[0]),
        faces=np.ascontiguousarray(faces[:, ::-1]) if frame.mirrored else faces,
        root_cam=frame.point(root[0]),
        intrinsics=intrinsics.astype(np.float32),
        camera=np.array([weak[0] / zoom, *frame.to_image(weak[1:])], np.float32),
        pose=frame.pose(None if prediction.pose is None else prediction.pose[0]),
        betas=None if prediction.betas is None else _array(prediction.betas[0]),
        _frame=frame,
        _draw=partial(prediction.distribution.hypotheses, vertices=True, density=True),
    )


def image_frame(intrinsics: np.ndarray, width: int, mirrored: bool) -> MethodFrame:
    """The frame of a method that predicts in the image itself, mirrored for a left hand.

    Args:
        intrinsics: (3, 3) of the image's camera.
        width: Of the image, pixels.
        mirrored: Whether left and right are exchanged.
    """
    if not mirrored:
        return MethodFrame(np.eye(2, 3), intrinsics)
    flip = crops.mirroring(width)
    return MethodFrame(flip, crops.crop_intrinsics(flip, intrinsics) @ MIRROR)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
