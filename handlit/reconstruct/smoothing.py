"""Hands of a stream smoothed in time, by a filter that trusts each number as far as its stated scale says.

References:
    Bar-Shalom, Li and Kirubarajan, "Estimation with Applications to Tracking and Navigation", 2001, section 6.3.2
    (piecewise constant acceleration), https://doi.org/10.1002/0471221279.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from handlit.errors import check_number
from handlit.hand.asset import NUM_VERTICES
from handlit.reconstruct.hand import ReconstructedHand
from handlit.skeleton import NUM_JOINTS

#: Share of a stated standard deviation that is new in every frame; the rest, such as a wrong finger length, stays.
_SHARE = 0.3
#: Accelerations of points relative to the wrist, m/s^2: of slow movements; faster ones are noticed.
_ACCELERATION = 0.5
#: Radius that turns metres of a point into radians of its joint: the length of a finger's bone, metres.
_RADIUS = 0.04
#: Standard deviation of the logarithm of the distance in a frame, and of its acceleration, 1/s^2.
_DEPTH_SCALE, _DEPTH_ACCELERATION = 0.02, 0.5
#: Mean of squared innovations, in their variances, from which on a hand moves faster than the filter believes.
_SURPRISE = 2.0
#: Seconds without a hand after which its filter starts anew.
_PATIENCE = 0.5
_TINY = 1e-12
#: Where the numbers of a hand lie in one vector: joints, vertices, logarithm of the distance, pose, shape.
_JOINTS, _POINTS = slice(0, 3 * NUM_JOINTS), slice(0, 3 * (NUM_JOINTS + NUM_VERTICES))
_DEPTH = _POINTS.stop
_POSE = slice(_DEPTH + 1, _DEPTH + 49)


class StreamSmoother:
    """Smooths the hands of a stream, each track by a filter of its own: one call for each frame, in order.

    Joints, vertices, pose, shape and the distance from the camera follow a Kalman filter of constant velocity each. The
    wrist stays on its line of sight, so that the hand does not lag behind in the image; what was detected stays as it
    is, and so do the stated scales.
    """

    def __init__(self) -> None:
        self._filters: dict[tuple[int | None, bool], _Filter] = {}

    def __call__(self, hands: Sequence[ReconstructedHand], seconds: float) -> list[ReconstructedHand]:
        """The smoothed hands of the next frame.

        Args:
            hands: Of the frame; of one track there is at most one.
            seconds: Since the last frame.

        Raises:
            InputError: `seconds` is no positive number.
        """
        check_number("seconds since the last frame", seconds, above=0)
        for each in self._filters.values():
            each.wait(seconds)
        self._filters = {key: each for key, each in self._filters.items() if each.missed < _PATIENCE}
        smoothed = []
        for hand in hands:
            values, scale, acceleration = _numbers(hand)
            # a hand that turns out to be the other one starts anew
            key = (hand.track, hand.right)
            if key not in self._filters:
                self._filters[key] = _Filter(values, scale, acceleration)
            each = self._filters[key]
            if hand.pose is not None:
                values[_POSE] = _nearest_turns(values[_POSE], each.values[_POSE])
            smoothed.append(_with_numbers(hand, each.update(values, scale)))
        return smoothed


class _Filter:
    """Kalman filters of constant velocity for N numbers, which are independent of each other.

    Args:
        values: (N,) of the first frame.
        scale: (N,) their standard deviations.
        acceleration: (N,) standard deviation of their second derivatives.
    """

    def __init__(self, values: np.ndarray, scale: np.ndarray, acceleration: np.ndarray) -> None:
        self.values, self.speed = values.copy(), np.zeros_like(values)
        self._acceleration = acceleration
        # covariance of value and speed; the first speed is that of a tenth of a second of acceleration
        self._value, self._both, self._speed = scale**2, np.zeros_like(values), (0.1 * acceleration) ** 2
        self.missed = 0.0

    def wait(self, seconds: float) -> None:
        """Predict the next frame."""
        self.missed += seconds
        self.values = self.values + seconds * self.speed
        self._value = self._value + 2 * seconds * self._both + seconds**2 * self._speed
        self._both = self._both + seconds * self._speed
        noise = self._acceleration**2
        self._value = self._value + seconds**4 / 4 * noise
        self._both = self._both + seconds**3 / 2 * noise
        self._speed = self._speed + seconds**2 * noise

    def update(self, values: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The numbers of a frame, given what was seen in it: (N,) values and their standard deviations."""
        self.missed = 0.0
        innovation = values - self.values
        variance = self._value + scale**2 + _TINY
        ratios = innovation**2 / variance
        surprise = max(float(part.mean()) for part in (ratios[_JOINTS], ratios[_POSE]) if len(part)) / _SURPRISE
        if surprise > 1:
            self._value, self._both, self._speed = (surprise * part for part in (self._value, self._both, self._speed))
            variance = self._value + scale**2 + _TINY
        gain, gain_speed = (self._value + _TINY) / variance, self._both / variance
        self.values = self.values + gain * innovation
        self.speed = self.speed + gain_speed * innovation
        self._speed = self._speed - gain_speed * self._both
        self._value, self._both = (1 - gain) * self._value, (1 - gain) * self._both
        return self.values


def _numbers(hand: ReconstructedHand) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is filtered of a hand, float64: values, standard deviations of a frame, and of accelerations, (N,) each."""
    points = np.concatenate([hand.joints_root, hand.vertices]).astype(np.float64).ravel()
    point_scale = _SHARE * np.concatenate([hand.joint_scale, hand.vertex_scale]).astype(np.float64).ravel()
    pose, betas = (np.zeros(0) if part is None else part for part in (hand.pose, hand.betas))
    spread = _SHARE * hand.spread_mm / 1000
    values = np.concatenate([points, [np.log(max(hand.root_cam[2], _TINY))], pose, betas])
    scale = np.concatenate(
        [point_scale, [_DEPTH_SCALE], np.full(len(pose), 0.7 * spread / _RADIUS), np.full(len(betas), 1.0)]
    )
    acceleration = np.concatenate(
        [
            np.full(len(points), _ACCELERATION),
            [_DEPTH_ACCELERATION],
            np.full(len(pose), _ACCELERATION / _RADIUS),
            np.full(len(betas), 0.01),
        ]
    )
    return values, scale, acceleration


def _with_numbers(hand: ReconstructedHand, numbers: np.ndarray) -> ReconstructedHand:
    """The hand with what `_numbers` gives of it replaced."""
    values = numbers.astype(np.float32)
    joints, vertices = np.split(values[_POINTS].reshape(-1, 3), [NUM_JOINTS])
    nearer = np.exp(values[_DEPTH]) / hand.root_cam[2]
    return replace(
        hand,
        joints_root=joints,
        vertices=vertices,
        # along the line of sight of the wrist
        root_cam=hand.root_cam * nearer,
        camera=hand.camera * np.array([1 / nearer, 1, 1], np.float32),
        pose=None if hand.pose is None else _within_half_a_turn(values[_POSE]),
        betas=None if hand.betas is None else values[-len(hand.betas) :],
    )


def _nearest_turns(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Rotation vectors (3n,) of the same rotations, turned by whole turns so that they lie next to others (3n,)."""
    rows, targets = vectors.reshape(-1, 3), others.reshape(-1, 3)
    angles = np.linalg.norm(rows, axis=1, keepdims=True)
    axes = rows / np.maximum(angles, _TINY)
    # the angle about the axis that the other vector shows
    turns = np.round(((axes * targets).sum(1, keepdims=True) - angles) / (2 * np.pi))
    return (rows + 2 * np.pi * turns * axes).ravel()


def _within_half_a_turn(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors (3n,) of the same rotations, of at most half a turn."""
    return _nearest_turns(vectors, np.zeros_like(vectors))
