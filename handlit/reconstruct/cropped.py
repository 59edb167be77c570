"""A method that looks at a crop around each hand; the detector gives the box."""

from functools import partial
from typing import Any, cast

import cv2
import numpy as np
import torch

from handlit.data.loading.augmentation import NO_CHANGE
from handlit.data.loading.cropping import View, place_crop
from handlit.data.loading.reference_crops import REFERENCE_CROPS
from handlit.geometry.crops import CropRule, SquareRule
from handlit.landmarks import DetectedHand
from handlit.methods.method import HandMethod
from handlit.reconstruct.hand import MethodFrame
from handlit.types import HandPrediction


class CroppedHands:
    """Predicts hands from crops, cut as the method's data module cuts them.

    Args:
        method: A trained method; it is put into evaluation mode.
        crop: The rule it was trained with.
    """

    def __init__(self, method: HandMethod[Any], crop: CropRule) -> None:
        self.method = method.eval()
        self.faces = method.hand.faces.cpu().numpy()
        self._place = REFERENCE_CROPS.get(crop) or partial(place_crop, cast(SquareRule, crop))

    def __call__(
        self, image: np.ndarray, hand: DetectedHand, intrinsics: np.ndarray
    ) -> tuple[HandPrediction, MethodFrame]:
        """The prediction of one hand; arguments as for `reconstructor.HandPredictor`.

        Raises:
            InputError: The hand's box lies outside the image.
        """
        height, width = image.shape[:2]
        view = View((width, height), intrinsics, hand.box, mirrored=not hand.right)
        crop = self._place(view, self.method.image_size, NO_CHANGE)
        # as a file without loss, so that exactly the data module's code decodes and warps it
        _, content = cv2.imencode(".bmp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        pixels = crop.image(content.reshape(-1), "given as an array")
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
        camera = torch.from_numpy(crop.intrinsics).float()[None]
        observed = self.method.of_crops(batch.to(self.method.device), camera.to(self.method.device))
        return self.method(observed), MethodFrame(crop.transform, crop.intrinsics)
