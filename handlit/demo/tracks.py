"""The hands of a video by track: each as one file of numbers and one mesh."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from handlit.formats.hand_files import write_numbers
from handlit.reconstruct import ReconstructedHand

#: Numbers of a frame that are kept; those that need the mesh are of one frame alone.
_EACH_FRAME = (
    *("presence", "spread_mm", "box", "joints_2d", "joints_root", "joint_scale", "root_cam", "camera", "pose", "betas"),
)


@dataclass
class Track:
    """One hand through a video.

    Attributes:
        best: The hand where its presence is highest, and that frame's number.
        frames: Numbers of its frames.
        values: Of each frame by name, about a kilobyte a frame.
    """

    best: tuple[ReconstructedHand, int]
    frames: list[int] = field(default_factory=list)
    values: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, hand: ReconstructedHand, frame: int) -> None:
        """Take the hand of the next frame."""
        if hand.presence > self.best[0].presence:
            self.best = (hand, frame)
        self.frames.append(frame)
        for name in _EACH_FRAME:
            value = getattr(hand, name)
            if value is not None:
                self.values.setdefault(name, []).append(np.asarray(value, np.float32))

    def write(self, path: Path) -> None:
        """Write the numbers as npz: one row a frame; the mesh's of the best frame, named ``best_frame``."""
        best, best_frame = self.best
        stacked = {name: np.stack(values) for name, values in self.values.items()}
        write_numbers(path, **(best.numbers() | stacked | {"frames": np.array(self.frames), "best_frame": best_frame}))


class Tracks:
    """The tracks of a video by number."""

    def __init__(self) -> None:
        self.by_number: dict[int, Track] = {}

    def add(self, hands: list[ReconstructedHand], frame: int) -> None:
        """Take the hands of the next frame."""
        for hand in hands:
            self.by_number.setdefault(hand.track or 0, Track((hand, frame))).add(hand, frame)
