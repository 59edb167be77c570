"""The 21 joints of the hand in a turned square of an image."""

import numpy as np

from handlit.geometry import crops
from handlit.landmarks.engine import Engine
from handlit.landmarks.hand import DetectedHand, extent
from handlit.landmarks.regions import Region, cut_out
from handlit.skeleton import NUM_JOINTS

#: Side of the network's input, pixels.
SIZE = 224
#: Share of the presence that is the confidence of a joint beyond the border of the image or of the region: chosen, not
#: measured.
OUTSIDE = 0.3


class JointNetwork:
    """Says whether there is a hand in a region, of which side, and where its joints are.

    Args:
        engine: Network: (224, 224, 3) to landmarks (63,) whose first two coordinates are pixels of its input, presence
            (1,), handedness (1,), and whatever else.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def __call__(self, image: np.ndarray, region: Region) -> DetectedHand | None:
        """The hand of a region; None where the network gives no numbers.

        Args:
            image: (H, W, 3) uint8 RGB.
            region: Where to look.
        """
        landmarks, presence, handedness, *_ = self.engine(cut_out(image, region, SIZE).astype(np.float32) / 255)
        if not all(np.isfinite(output).all() for output in (landmarks, presence, handedness)):
            return None
        # the network's pixels count from the outer edge of the first one, ours from its centre
        in_square = landmarks.astype(np.float64).reshape(NUM_JOINTS, 3)[:, :2] - 0.5
        joints_2d = crops.apply(region.inverse(SIZE), in_square)
        seen = crops.inside(in_square, SIZE) & crops.inside(joints_2d, image.shape[1::-1])
        sure = float(np.clip(presence[0], 0, 1))
        right = float(np.clip(handedness[0], 0, 1))
        return DetectedHand(
            box=extent(joints_2d),
            right=right > 0.5,
            handedness=right,
            joints_2d=joints_2d,
            confidence=np.where(seen, sure, OUTSIDE * sure),
            presence=sure,
        )
