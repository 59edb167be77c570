import math

import roma
import torch
from torch import Tensor

from handlit.geometry.cameras import project
from handlit.geometry.viewing_ray import HandView, view_hand

INTRINSICS = torch.tensor([[500.0, 0, 320], [0, 520.0, 240], [0, 0, 1]])


def joints(seed: int = 0, count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    middle = torch.tensor([0.15, -0.1, 0.5])
    return middle + 0.05 * torch.randn(count, 21, 3, generator=generator)


def seen(points: Tensor, known: Tensor | None = None) -> HandView:
    intrinsics = INTRINSICS.expand(len(points), 3, 3)
    known = torch.ones(points.shape[:2], dtype=torch.bool) if known is None else known
    return view_hand(project(points, intrinsics), known, intrinsics)


def test_the_box_is_normalised_and_its_middle_near_the_axis() -> None:
    view = seen(joints())
    low, high = view.points.amin(1), view.points.amax(1)
    torch.testing.assert_close(low + high, torch.zeros(4, 2), atol=1e-5, rtol=0)
    torch.testing.assert_close((high - low).amax(1), torch.ones(4))
    assert view.centre.abs().max() < 0.05
    assert torch.allclose(view.rotation @ view.rotation.mT, torch.eye(3), atol=1e-6)


def test_projecting_true_joints_gives_what_was_seen() -> None:
    points = joints()
    view = seen(points)
    torch.testing.assert_close(view.project(view.to_view(points)), view.points, atol=1e-5, rtol=0)
    torch.testing.assert_close(view.to_camera(view.to_view(points)), points)
    wrist = view.to_view(points[:, :1])[:, 0]
    torch.testing.assert_close(view.unproject(view.points[:, 0], wrist[:, 2]), wrist, atol=1e-6, rtol=0)


def test_the_same_hand_looks_the_same_wherever_the_camera_is_turned() -> None:
    points = joints()
    turn = roma.rotvec_to_rotmat(torch.tensor([0.2, -0.25, 0.0]))
    first, second = seen(points), seen(points @ turn.mT)
    # the two virtual cameras differ by a roll about the axis that both share
    roll = second.rotation.mT @ turn @ first.rotation
    assert roll[:, 2, 2].min() > math.cos(0.05)
    unrolled = first.to_view(points) @ roll.mT
    torch.testing.assert_close(second.to_view(points @ turn.mT), unrolled, atol=1e-6, rtol=0)


def test_unknown_joints_do_not_matter() -> None:
    points = joints()
    known = torch.ones(4, 21, dtype=torch.bool)
    known[:, 5:9] = False
    moved = points.clone()
    moved[:, 5:9] += 0.3
    first, second = seen(points, known), seen(moved, known)
    torch.testing.assert_close(first.points, second.points)
    assert (first.points[:, 5:9] == 0).all()


def test_a_hand_of_which_nothing_is_known_is_finite() -> None:
    view = seen(joints(), torch.zeros(4, 21, dtype=torch.bool))
    assert view.points.abs().max() == 0
    assert view.size.isfinite().all()
    torch.testing.assert_close(view.rotation, torch.eye(3).expand(4, 3, 3))


def test_the_root_of_joints_that_were_seen_is_found() -> None:
    points = joints()
    known = torch.rand(4, 21, generator=torch.Generator().manual_seed(1)) < 0.7
    view = seen(points, known)
    root_relative = view.to_view(points - points[:, :1])
    found = view.fit_root(root_relative)
    torch.testing.assert_close(found, view.to_view(points[:, :1])[:, 0], atol=0.004, rtol=0)
    # several hypotheses at once
    torch.testing.assert_close(view.fit_root(root_relative.expand(3, 4, 21, 3)), found.expand(3, 4, 3))


def test_the_root_is_the_least_squares_solution() -> None:
    points = joints()
    view = seen(points)
    hand = view.to_view(points - points[:, :1]) + 0.01 * torch.randn(
        4, 21, 3, generator=torch.Generator().manual_seed(5)
    )
    plane = view.points * view.size[:, None, None] + view.centre[:, None]
    rows, right = [], []
    for axis in range(2):
        row = torch.zeros(4, 21, 3)
        row[..., axis], row[..., 2] = 1, -plane[..., axis]
        rows.append(row)
        right.append(plane[..., axis] * hand[..., 2] - hand[..., axis])
    trust = (1e-3**0.5 * view.size)[:, None]
    last = torch.cat([torch.zeros(4, 2), trust], 1)[:, None]
    system = torch.cat([*rows, last], 1)
    wanted = torch.cat([*right, trust * (0.14 / view.size)[:, None]], 1)
    solution = torch.linalg.lstsq(system, wanted[..., None]).solution[..., 0]
    usual = 0.14 / view.size
    inside = (solution[:, 2] > usual / 3) & (solution[:, 2] < 3 * usual)
    assert inside.any()
    torch.testing.assert_close(view.fit_root(hand)[inside], solution[inside], atol=1e-4, rtol=1e-3)


def test_a_single_joint_leaves_the_distance_at_the_usual_one() -> None:
    known = torch.zeros(4, 21, dtype=torch.bool)
    known[:, 3] = True
    view = seen(joints(), known)
    found = view.fit_root(torch.zeros(4, 21, 3))
    torch.testing.assert_close(found[:, 2], 0.14 / view.size, rtol=1e-3, atol=0)
