"""Skeletons and meshes over images, and the colours that say something of them."""

import numpy as np
import torch

from handlit.hand.loading import load_hand
from handlit.render import overlays
from handlit.skeleton import BONES


def test_a_skeleton_leaves_out_what_is_not_finite() -> None:
    blank = np.zeros((100, 100, 3), np.uint8)
    joints = np.tile(np.linspace(10, 90, 21)[:, None], (1, 2))
    whole = overlays.draw_skeleton(blank, joints)
    assert (whole.max(axis=2) > 0).mean() > 0.02
    joints[BONES[-1][1]] = np.nan
    assert (overlays.draw_skeleton(blank, joints)[80:] == 0).mean() > (whole[80:] == 0).mean()
    assert not overlays.draw_skeleton(blank, np.full((21, 2), np.inf)).any()
    assert not blank.any()


def test_a_mesh_covers_the_image_where_it_is_and_nowhere_else() -> None:
    asset = load_hand(None)
    vertices = torch.tensor(asset.template).float()
    vertices = vertices - vertices.mean(0) + torch.tensor([0.0, 0.0, 0.6])
    intrinsics = torch.tensor([[300.0, 0, 64], [0, 300, 64], [0, 0, 1]])
    image = np.full((128, 128, 3), 200, np.uint8)
    drawn = overlays.draw_mesh(image, vertices, torch.tensor(asset.faces).long(), intrinsics, opacity=1)
    changed = (drawn != image).any(axis=2)
    assert 0.05 < changed.mean() < 0.9
    assert not changed[0].any()
    points = vertices @ intrinsics.T
    columns, rows = (points[:, :2] / points[:, 2:]).round().long().T
    assert changed[rows, columns].mean() > 0.9


def test_scale_colours_grow_from_dark_to_bright() -> None:
    scale = torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [0.05, 0, 0]])
    brightness = overlays.scale_colours(scale).sum(dim=1)
    assert brightness[0] < brightness[1] < brightness[2]


def test_overlaid_skeletons_are_dense_where_they_agree() -> None:
    blank = np.zeros((200, 200, 3), np.uint8)
    joints = np.full((20, 21, 2), np.nan)
    joints[:, 0] = [20, 100]
    joints[:, 1] = np.stack([np.full(20, 180), np.linspace(20, 180, 20)], axis=1)
    white = np.full((20, 3), 255, np.uint8)
    picture = overlays.draw_skeletons(blank, joints, white)
    assert picture[100, 25].max() > 200
    assert 40 < picture[:, 170].max() < 160
    assert not blank.any()
