"""A method that looks at crops gets exactly those that the data module of own images would give it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import orjson
import pytest
import torch
from torch import Tensor

from handlit.data.folder import HandFolder
from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.geometry.crops import CropRule
from handlit.methods.mean_hand import MeanHand
from handlit.reconstruct import Reconstructor
from handlit.reconstruct.cropped import CroppedHands
from tests.reconstruct.fakes import FakeDetector, detected_hand, mirrored, picture

RIGHT = detected_hand()
LEFT = mirrored(RIGHT, 240)


class Watched(MeanHand):
    """Remembers the crops that it is given."""

    def infer(self, image: Tensor) -> Any:
        self.seen = image
        return super().infer(image)


@pytest.fixture
def method() -> Watched:
    method = Watched(image_size=32)
    vertices, joints = method.hand(torch.zeros(1, 45), torch.zeros(1, 10))
    method.vertex_mean.copy_((vertices - joints[:, :1])[0])
    method.vertex_squares.fill_(1e-6)
    method.vertex_count.fill_(1)
    # pixels of the half side for a metre, and the wrist at the middle of the crop
    method.camera_mean.copy_(torch.tensor([6.0, 1, 1]).log())
    return method


@pytest.mark.parametrize("crop", ["plain", "amvur", "mhentropy_reference"])
@pytest.mark.parametrize("hand", [RIGHT, LEFT], ids=["right", "left"])
def test_crops_are_the_data_module_s(tmp_path: Path, method: Watched, crop: CropRule, hand: Any) -> None:
    image = picture()
    cv2.imwrite(str(tmp_path / "image.png"), image[..., ::-1])
    entry = {"hand": "right" if hand.right else "left", "box": hand.box.tolist()}
    (tmp_path / "annotations.json").write_bytes(orjson.dumps({"image.png": [entry]}))
    data = HandFolder(str(tmp_path), crop=crop, image_size=32)
    data.setup("predict")
    sample = data.datasets["predict"][0]

    reconstructor = Reconstructor(CroppedHands(method, crop), detector=FakeDetector(hand))
    (found,) = reconstructor(image)
    assert method.seen[0].tolist() == sample.image.tolist()
    assert found._frame.transform == pytest.approx(sample.crop_transform.numpy(), abs=1e-4)
    assert found._frame.intrinsics == pytest.approx(sample.intrinsics.numpy(), abs=1e-4)
    assert found.right == hand.right
    scale, tx, ty = found.camera
    side = 32 / abs(found._frame.transform[0, 0])
    assert scale == pytest.approx(6 * side / 2, rel=0.02)
    assert [tx, ty] == pytest.approx(found._frame.to_image(np.array([15.5, 15.5])), abs=0.02 * side)
    shown = project(torch.from_numpy(found.joints_cam), torch.from_numpy(found.intrinsics)).numpy()
    assert np.abs(shown - (scale * found.joints_root[:, :2] + [tx, ty])).max() < 0.15 * side


def test_a_box_outside_the_image_is_refused(method: Watched) -> None:
    far = replace(RIGHT, box=np.array([500.0, 500, 600, 600]))
    reconstructor = Reconstructor(CroppedHands(method, "mhentropy"), detector=FakeDetector(far))
    with pytest.raises(InputError, match="outside the 240x180 image"):
        reconstructor(picture())
