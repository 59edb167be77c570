import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from handlit.models.keypoints import KeypointHead, Keypoints, heat_moments


def test_moments_are_those_of_the_cells_weighted_one_by_one() -> None:
    torch.manual_seed(0)
    heat = 3 * torch.randn(2, 3, 4, 5, dtype=torch.float64)
    mean, deviation = heat_moments(heat)
    for image in range(2):
        for joint in range(3):
            weights, points = [], []
            for y in range(4):
                for x in range(5):
                    weights.append(np.exp(heat[image, joint, y, x].item()))
                    points.append((x, y))
            expected = np.average(points, axis=0, weights=weights)
            np.testing.assert_allclose(mean[image, joint], expected)
            covariance = np.cov(np.array(points).T, aweights=weights, ddof=0) + np.eye(2) / 12
            np.testing.assert_allclose(deviation[image, joint], np.sqrt(np.diag(covariance)))


def head(seed: int = 0) -> tuple[KeypointHead, list[Tensor], Tensor]:
    torch.manual_seed(seed)
    maps = [torch.randn(2, 8, 24, 24), torch.randn(2, 12, 12, 12), torch.randn(2, 16, 6, 6)]
    return KeypointHead((8, 12, 16), 10, width=16).eval(), maps, torch.randn(2, 10)


def merged_maps(network: KeypointHead, maps: list[Tensor], pooled: Tensor) -> Tensor:
    merged: Tensor = network.lateral[0](maps[0])
    for lateral, features in zip(list(network.lateral)[1:], maps[1:], strict=True):
        size = merged.shape[-2:]
        merged = merged + F.interpolate(lateral(features), size, mode="bilinear", align_corners=False)
    both: Tensor = network.merge(merged + network.whole(pooled)[..., None, None])
    return both


def test_a_peak_in_the_map_is_the_joint_in_the_image() -> None:
    """Cell (5, 17) of 24 in a crop of 96 pixels: its centre is pixel 4 * 5.5 - 0.5."""
    network, maps, pooled = head()
    heat = torch.zeros(2, 21, 24, 24)
    heat[:, :, 17, 5] = 40
    network.heat = _Constant(heat)  # type: ignore[assignment]
    keypoints = network(maps, pooled, 96)
    torch.testing.assert_close(keypoints.mean, torch.tensor([21.5, 69.5]).expand(2, 21, 2), atol=1e-3, rtol=0)
    # until it has learned how far joints are off, a cell
    torch.testing.assert_close(keypoints.scale, torch.full((2, 21), 4.0))


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


def test_what_is_seen_at_a_joint_and_a_spread_map_widen_that_joint_alone() -> None:
    network, maps, pooled = head()
    before = network(maps, pooled, 96)
    torch.testing.assert_close(before.seen_logit, torch.zeros(2, 21))
    # of each joint 16 features, then the logarithms of the map's deviations
    weights = network.beside.weight.view(21, 4, 18)
    with torch.no_grad():
        weights[4, :2, :16] = before.features[0, 4] / before.features[0, 4].norm()
        weights[9, 0, 16] = weights[9, 1, 17] = 1.0
    after = network(maps, pooled, 96)
    factor = (after.scale_tril / before.scale_tril).diagonal(dim1=-2, dim2=-1)
    expected = (3 * (before.features[0, 4].norm() / 3).tanh()).exp()
    torch.testing.assert_close(factor[0, 4], expected.expand(2))
    torch.testing.assert_close(factor[:, 5], torch.ones(2, 2))
    _, deviation = heat_moments(network.heat(merged_maps(network, maps, pooled)))
    torch.testing.assert_close(factor[:, 9], (3 * (deviation[:, 9].log() / 3).tanh()).exp())
    torch.testing.assert_close(after.mean, before.mean)


def test_the_gaussian_learns_how_far_joints_are_off_by_its_likelihood_alone() -> None:
    """Joint 3 is off by 1 pixel in x and 3 in y, which go together; where it is stays as it was."""
    network, maps, pooled = head()
    with torch.no_grad():
        start = network(maps, pooled, 96)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 2000, generator=generator)
    off = torch.stack([x, 3 * (0.8 * x + 0.6 * y)], -1)
    optimizer = torch.optim.Adam(network.beside.parameters(), 0.02)
    for _ in range(250):
        keypoints = network([m[:1] for m in maps], pooled[:1], 96)
        optimizer.zero_grad()
        (-keypoints.log_prob(keypoints.mean.detach() + off[:, None])[:, 3]).mean().backward()
        optimizer.step()
    tril = keypoints.scale_tril[0, 3].detach()
    expected = torch.cov(off.T)
    torch.testing.assert_close(tril @ tril.mT, expected, atol=0.1, rtol=0.05)
    torch.testing.assert_close(keypoints.mean, start.mean[:1])


def test_heat_maps_are_read_in_single_precision() -> None:
    network, maps, pooled = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        keypoints = network(maps, pooled, 96)
    assert {keypoints.mean.dtype, keypoints.scale_tril.dtype, keypoints.seen_logit.dtype} == {torch.float32}


def keypoints_of(tril: Tensor, heat: Tensor | None = None, cell: tuple[float, float] = (4.0, 4.0)) -> Keypoints:
    """Joints of one image at the first pixel."""
    heat = torch.zeros(1, 21, 6, 8) if heat is None else heat
    joint = torch.zeros(1, 21)
    return Keypoints(torch.zeros(1, 21, 2), tril, joint, heat, torch.tensor(cell), joint[..., None])


@pytest.mark.parametrize("spread", [0.5, 4.0])
def test_scales_state_how_far_joints_are_off(spread: float) -> None:
    torch.manual_seed(0)
    keypoints = keypoints_of(spread * torch.eye(2).expand(1, 21, 2, 2))
    drawn = torch.randn(4000, 21, 2) * spread
    torch.testing.assert_close(drawn.std((0, 2)), keypoints.scale[0], atol=0.03 * spread, rtol=0.03)


def test_the_probability_of_a_point_s_cells_is_interpolated_between_the_four_around_it() -> None:
    torch.manual_seed(0)
    heat = torch.randn(1, 21, 6, 8)
    keypoints = keypoints_of(torch.eye(2).expand(1, 21, 2, 2), heat, cell=(4.0, 5.0))
    share = heat.flatten(2).log_softmax(-1).view(1, 21, 6, 8)[0]
    # pixel x is cell (x + 0.5) / 4 - 0.5, y is (y + 0.5) / 5 - 0.5
    inside, outside = torch.tensor([12.5, 9.0]), torch.tensor([-20.0, 400.0])
    found = keypoints.cell_log_prob(torch.stack([inside, outside]).repeat(11, 1)[None, :21])[0]
    column, row = 13.0 / 4 - 0.5, 9.5 / 5 - 0.5
    x, y = int(column), int(row)
    right, below = column - x, row - y
    top = (1 - right) * share[:, y, x] + right * share[:, y, x + 1]
    bottom = (1 - right) * share[:, y + 1, x] + right * share[:, y + 1, x + 1]
    torch.testing.assert_close(found[0::2], ((1 - below) * top + below * bottom)[0::2])
    torch.testing.assert_close(found[1::2], share[1::2, 5, 0])


def test_the_likeliest_map_has_its_mean_at_the_joint() -> None:
    """Also where the joint lies between cells: nothing pulls it to their centres."""
    heat = torch.zeros(1, 21, 6, 8, requires_grad=True)
    points = torch.tensor([[13.2, 9.7]]).expand(21, 2)[None]
    optimizer = torch.optim.Adam([heat], 0.2)
    for _ in range(300):
        optimizer.zero_grad()
        (-keypoints_of(torch.eye(2).expand(1, 21, 2, 2), heat).cell_log_prob(points)).mean().backward()
        optimizer.step()
    mean, _ = heat_moments(heat.detach())
    torch.testing.assert_close(4 * (mean + 0.5) - 0.5, points, atol=0.05, rtol=0)


def test_the_feature_of_a_joint_is_the_mean_over_its_cells() -> None:
    network, maps, pooled = head()
    keypoints = network(maps, pooled, 96)
    merged = merged_maps(network, maps, pooled)
    weight = network.heat(merged)[1, 7].flatten().softmax(0)
    torch.testing.assert_close(keypoints.features[1, 7], (merged[1].flatten(1) * weight).sum(1))
