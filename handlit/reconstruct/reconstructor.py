"""Images in, hands in 3D out: detector and method behind one call."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast, overload

import numpy as np
import torch
from torch import Tensor

from handlit.distributions.calibrated_hands import HandCalibration
from handlit.errors import InputError, check_number
from handlit.formats.images import read_image
from handlit.geometry.crops import assumed_intrinsics, check_in_image
from handlit.hand.layer import HandLayer
from handlit.landmarks import DetectedHand, HandDetector
from handlit.models.lifter import shipped_lifter
from handlit.reconstruct.hand import MethodFrame, ReconstructedHand, hand_of, image_frame
from handlit.types import HandPrediction

log = logging.getLogger(__name__)

#: A file, (H, W, 3) or (H, W) uint8 as an array (RGB or grey), or (3, H, W) or (H, W, 3) uint8 as a tensor.
Image: TypeAlias = str | Path | np.ndarray | Tensor
#: Finds the hands of an image (H, W, 3), or one in each of the boxes (N, 4).
Detector: TypeAlias = Callable[[np.ndarray, np.ndarray | None], list[DetectedHand]]

#: Field of view across the longer side of an image whose camera is not known, degrees.
ASSUMED_FOV_DEG = 60.0


class HandPredictor(Protocol):
    """A method, as `Reconstructor` uses it: `LiftedHands`, `cropped.CroppedHands`.

    Attributes:
        faces: (1538, 3) of the right hand.
    """

    faces: np.ndarray

    def __call__(
        self, image: np.ndarray, hand: DetectedHand, intrinsics: np.ndarray
    ) -> tuple[HandPrediction, MethodFrame]:
        """Predict one hand of an image.

        Args:
            image: (H, W, 3) uint8 RGB.
            hand: As it was found.
            intrinsics: (3, 3) of the image's camera, pixels.

        Returns:
            The prediction, a batch of one right hand, and the frame that it is in.
        """


class JointLifter(Protocol):
    """What lifts detected joints, see `models.lifter.Lifter`: of the method `Lift`, or with the package's weights."""

    hand: HandLayer

    def lift(self, joints_2d: Tensor, confidence: Tensor, intrinsics: Tensor) -> HandPrediction:
        """Hands (B) of joints (B, 21, 2), their confidences (B, 21) and cameras (B, 3, 3)."""


class LiftedHands:
    """Predicts hands from their detected joints alone.

    Args:
        lift: What lifts joints.
        calibration: What becomes of the spread of its hands; None for their own.
    """

    def __init__(self, lift: JointLifter, calibration: HandCalibration | None = None) -> None:
        self.lift = lift
        self.calibration = calibration
        self.faces: np.ndarray = lift.hand.faces.cpu().numpy()

    def __call__(
        self, image: np.ndarray, hand: DetectedHand, intrinsics: np.ndarray
    ) -> tuple[HandPrediction, MethodFrame]:
        """The prediction of one hand; arguments as for `HandPredictor`."""
        frame = image_frame(intrinsics, image.shape[1], mirrored=not hand.right)
        joints_2d = hand.joints_2d @ frame.transform[:, :2].T + frame.transform[:, 2]
        joints, confidence, camera = (
            torch.from_numpy(values.astype(np.float32))[None]
            for values in (joints_2d, hand.confidence, frame.intrinsics)
        )
        prediction = self.lift.lift(joints, confidence, camera)
        return prediction if self.calibration is None else self.calibration.apply(prediction), frame


class Reconstructor:
    """Finds the hands of images and reconstructs each in 3D, with its uncertainty.

    It changes neither torch's number of threads nor the global random numbers, and keeps no gradients.

    Args:
        method: What predicts a hand; the package's own `Lift` by default. `handlit.load_method` gives that of a run.
        mano_path: The user's MANO file or its folder; the stand-in hand without it. A given method has its own.
        threads: CPU threads of the detector.
        detector: In place of the package's own.

    Raises:
        InputError: The detector is not fetched or damaged, or its engine is not installed.
    """

    def __init__(
        self,
        method: HandPredictor | None = None,
        mano_path: str | Path | None = None,
        threads: int = 1,
        detector: Detector | None = None,
    ) -> None:
        # before what takes long
        self.detector: Detector = detector or HandDetector(threads)
        if method is None:
            method = LiftedHands(shipped_lifter(None if mano_path is None else str(mano_path)))
        elif mano_path is not None:
            raise InputError("a given method has its own hand model: leave mano_path out")
        self.method = method

    # a text is a file's name, not a list of one-letter ones
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, images: Image, boxes: Any = None, focal_px: float | None = None, fov_deg: float | None = None
    ) -> list[ReconstructedHand]: ...

    @overload
    def __call__(
        self, images: Sequence[Image], boxes: Any = None, focal_px: float | None = None, fov_deg: float | None = None
    ) -> list[list[ReconstructedHand]]: ...

    def __call__(
        self,
        images: Image | Sequence[Image],
        boxes: Any = None,
        focal_px: float | None = None,
        fov_deg: float | None = None,
    ) -> list[ReconstructedHand] | list[list[ReconstructedHand]]:
        """Reconstruct the hands of an image, or of each of several.

        Args:
            images: A file, an array (H, W, 3) RGB or (H, W) grey, a tensor (3, H, W) or (H, W, 3), all uint8; or a
                list of them.
            boxes: (N, 4) x0, y0, x1, y1 of the hands where these are known, pixels; for a list of images one for each,
                or None.
            focal_px: Focal length of the camera, pixels.
            fov_deg: In place of it, the field of view across the image's longer side, degrees; 60 by default.

        Returns:
            The hands, the likeliest first, or in the order of the boxes; of several images a list for each.

        Raises:
            FileNotFoundError: An image is missing.
            InputError: An image cannot be read, or an argument is not as described.
        """
        if isinstance(images, str | Path | np.ndarray | Tensor):
            return self._reconstruct_image(images, boxes, focal_px, fov_deg)
        each = [None] * len(images) if boxes is None else list(boxes)
        if len(each) != len(images):
            raise InputError(f"{len(images)} images need as many lists of boxes, got {len(each)}")
        return [self._reconstruct_image(image, box, focal_px, fov_deg) for image, box in zip(images, each, strict=True)]

    def reconstruct(
        self, image: np.ndarray, detected: Sequence[DetectedHand], intrinsics: np.ndarray
    ) -> list[ReconstructedHand]:
        """The hands that were detected in an image, in 3D.

        Args:
            image: (H, W, 3) uint8 RGB.
            detected: Of this image; hands without any joint are left out, with a warning.
            intrinsics: (3, 3) of its camera, pixels.
        """
        hands = []
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for hand in detected:
                if not hand.confidence.any():
                    log.warning("no hand is seen in the box %s", hand.box.round().tolist())
                    continue
                prediction, frame = self.method(image, hand, intrinsics)
                hands.append(hand_of(prediction, frame, hand, intrinsics, self.method.faces))
        return hands

    def _reconstruct_image(
        self, given: Image, boxes: Any, focal_px: float | None, fov_deg: float | None
    ) -> list[ReconstructedHand]:
        image = read_rgb(given)
        size = (image.shape[1], image.shape[0])
        intrinsics = camera_of(size, focal_px, fov_deg)
        return self.reconstruct(image, self.detector(image, _boxes(boxes, size)), intrinsics)


def read_rgb(image: Image) -> np.ndarray:
    """An image (H, W, 3) uint8 RGB from what `Reconstructor` takes.

    Raises:
        FileNotFoundError: The file is missing.
        InputError: It cannot be read, or is of another type or shape.
    """
    if isinstance(image, str | Path):
        return read_image(Path(image))
    array: np.ndarray = image.detach().cpu().numpy() if isinstance(image, Tensor) else image
    if isinstance(image, Tensor) and array.ndim == 3 and array.shape[0] == 3 and array.shape[2] != 3:
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"an image is uint8 of (height, width, 3) or (height, width), got {array.dtype} {array.shape}")
    return np.ascontiguousarray(array)


def camera_of(image_size: tuple[int, int], focal_px: float | None = None, fov_deg: float | None = None) -> np.ndarray:
    """The camera (3, 3) of an image of this width and height, given by its focal length or its field of view.

    Raises:
        InputError: Both are given, or one is out of its range.
    """
    if focal_px is None:
        fov = ASSUMED_FOV_DEG if fov_deg is None else fov_deg
        check_number("fov_deg", fov, above=0, below=180)
        return assumed_intrinsics(image_size, fov)
    if fov_deg is not None:
        raise InputError("focal_px and fov_deg say the same: give one of them")
    check_number("focal_px", focal_px, above=0)
    intrinsics = assumed_intrinsics(image_size, ASSUMED_FOV_DEG)
    intrinsics[0, 0] = intrinsics[1, 1] = focal_px
    return intrinsics


def _boxes(boxes: Any, size: tuple[int, int]) -> np.ndarray | None:
    """Boxes (N, 4) that an image of this width and height shows."""
    if boxes is None:
        return None
    try:
        array = np.asarray(boxes, np.float64).reshape(-1, 4)
    except (TypeError, ValueError) as error:
        raise InputError(f"boxes are x0, y0, x1, y1 for each hand, got {boxes!r}") from error
    for box in array:
        check_in_image(cast(np.ndarray, box), size)
    return array
