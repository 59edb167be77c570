import numpy as np
import pytest
import torch
from torch import Tensor

from handlit.models.keypoints import KeypointHead, Keypoints, heat_moments


def test_moments_are_those_of_the_cells_weighted_one_by_one() -> None:
    torch.manual_seed(0)
    heat = 3 * torch.randn(2, 3, 4, 5, dtype=torch.float64)
    mean, covariance = heat_moments(heat)
    for image in range(2):
        for joint in range(3):
            weights, points = [], []
            for y in range(4):
                for x in range(5):
                    weights.append(np.exp(heat[image, joint, y, x].item()))
                    points.append((x, y))
            expected = np.average(points, axis=0, weights=weights)
            np.testing.assert_allclose(mean[image, joint], expected)
            spread = np.cov(np.array(points).T, aweights=weights, ddof=0) + np.eye(2) / 12
            np.testing.assert_allclose(covariance[image, joint], spread)


def head(seed: int = 0) -> tuple[KeypointHead, list[Tensor], Tensor]:
    torch.manual_seed(seed)
    maps = [torch.randn(2, 8, 24, 24), torch.randn(2, 12, 12, 12), torch.randn(2, 16, 6, 6)]
    return KeypointHead((8, 12, 16), 10, width=16).eval(), maps, torch.randn(2, 10)


def test_a_peak_in_the_map_is_the_joint_in_the_image() -> None:
    """Cell (5, 17) of 24 in a crop of 96 pixels: its centre is pixel 4 * 5.5 - 0.5."""
    network, maps, pooled = head()
    heat = torch.zeros(2, 21, 24, 24)
    heat[:, :, 17, 5] = 40
    network.merge = torch.nn.Identity()  # type: ignore[assignment]
    network.lateral = torch.nn.ModuleList([_Constant(heat), _Constant(0 * heat), _Constant(0 * heat)])
    keypoints = network(maps, pooled, 96)
    torch.testing.assert_close(keypoints.mean, torch.tensor([21.5, 69.5]).expand(2, 21, 2), atol=1e-3, rtol=0)
    torch.testing.assert_close(keypoints.scale, torch.full((2, 21), 4 / 12**0.5), atol=1e-3, rtol=0)


class _Constant(torch.nn.Module):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, _: Tensor) -> Tensor:
        return self.value


def test_the_density_is_that_of_a_gaussian_in_pixels() -> None:
    network, maps, pooled = head()
    torch.nn.init.normal_(network.beside.weight)
    with torch.no_grad():
        keypoints = network(maps, pooled, 96)
    points = keypoints.mean + 3 * torch.randn(2, 21, 2)
    covariance = keypoints.scale_tril @ keypoints.scale_tril.mT
    apart = (points - keypoints.mean)[..., None]
    square = (apart.mT @ covariance.inverse() @ apart)[..., 0, 0]
    expected = -0.5 * square - 0.5 * covariance.det().log() - np.log(2 * np.pi)
    torch.testing.assert_close(keypoints.log_prob(points), expected, atol=1e-3, rtol=1e-3)


def test_the_pooled_feature_widens_a_joint() -> None:
    network, maps, pooled = head()
    before = network(maps, pooled, 96)
    torch.testing.assert_close(before.seen_logit, torch.zeros(2, 21))
    with torch.no_grad():
        network.beside.bias.view(21, 3)[4, :2] = 1.0
    after = network(maps, pooled, 96)
    ratio = after.scale / before.scale
    assert ratio[:, 4].min() > 2
    torch.testing.assert_close(ratio[:, 5], torch.ones(2))
    torch.testing.assert_close(after.mean, before.mean)


def test_heat_maps_are_read_in_single_precision() -> None:
    network, maps, pooled = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        keypoints = network(maps, pooled, 96)
    assert {keypoints.mean.dtype, keypoints.scale_tril.dtype, keypoints.seen_logit.dtype} == {torch.float32}


@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_scales_state_how_far_joints_are_off(spread: float) -> None:
    torch.manual_seed(0)
    tril = spread * torch.eye(2).expand(1, 21, 2, 2)
    keypoints = Keypoints(torch.zeros(1, 21, 2), tril, torch.zeros(1, 21))
    drawn = torch.randn(4000, 21, 2) * spread
    torch.testing.assert_close(drawn.std((0, 2)), keypoints.scale[0], atol=0.03 * spread, rtol=0.03)
