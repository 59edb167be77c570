"""Arms continue the hand without a hole, and sleeves begin where they should."""

import numpy as np
import torch

from handlit.data.synthesis.arm import (
    BARE,
    NUM_RINGS,
    RING_THICKNESS,
    RING_WIDTH,
    RINGS,
    SLEEVE_EASE,
    arm_faces,
    arm_rings,
    arm_vertices,
    rotate,
    wrist_boundary,
)
from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.motion import rotation_matrices


def test_wrist_boundary_is_the_open_one(model: HandModel) -> None:
    boundary = wrist_boundary(model.asset.faces)
    assert len(boundary) == len(set(boundary.tolist())) == 16
    faces = {tuple(sorted(edge)) for face in model.asset.faces for edge in zip(face, np.roll(face, 1), strict=True)}
    assert all(tuple(sorted(edge)) in faces for edge in zip(boundary, np.roll(boundary, 1), strict=True))


def test_hand_and_arm_form_a_closed_surface(model: HandModel) -> None:
    faces = np.concatenate([model.asset.faces, arm_faces(model.wrist, 778)])
    wrist = torch.from_numpy(model.asset.template[model.wrist])[None]
    vertices = arm_vertices(wrist, torch.eye(3)[None].double(), torch.zeros(1, 3), torch.ones(1), torch.tensor([BARE]))
    assert faces.max() == 778 + vertices.shape[1] - 1
    directed = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    assert len(directed) == faces.size
    assert all((b, a) in directed for a, b in directed)


def test_rings_of_bare_and_dressed_arms() -> None:
    distance, cloth, wide = arm_rings(torch.tensor([BARE, 0.1]))
    assert distance.shape == (2, NUM_RINGS)
    assert (distance.diff(dim=1) >= 0).all()
    assert not cloth[0].any()
    assert not wide[0].any()
    # skin, then the hem: cloth as narrow as the arm and cloth as wide as the sleeve at the same place
    at_hem = (distance[1] == 0.1).nonzero().flatten().tolist()
    assert [(bool(cloth[1, i]), bool(wide[1, i])) for i in at_hem] == [(False, False), (True, False), (True, True)]
    assert torch.equal(cloth[1] & wide[1], distance[1] > 0.1) or bool(wide[1, at_hem[-1]])
    assert not cloth[1][distance[1] < 0.1].any()
    assert wide[1][distance[1] > 0.1].all()


def test_a_straight_arm_has_its_profile() -> None:
    angle = torch.linspace(0, 2 * np.pi, 17)[:-1]
    wrist = torch.stack([torch.zeros(16), 0.02 * angle.sin(), 0.03 * angle.cos()], dim=1)[None]
    arguments = torch.eye(3)[None], torch.zeros(1, 3), torch.tensor([1.1])
    for sleeve_from, outer in ((BARE, 1.0), (0.05, SLEEVE_EASE)):
        sleeve = torch.tensor([sleeve_from])
        rings = arm_vertices(wrist, *arguments, sleeve)[0, :-1].view(NUM_RINGS, 16, 3)
        distance = arm_rings(sleeve)[0][0]
        torch.testing.assert_close(rings[..., 0], distance[:, None].expand(-1, 16))
        for at, width, thickness in zip(RINGS[3:], RING_WIDTH[3:], RING_THICKNESS[3:], strict=True):
            ring = rings[(distance == at).nonzero()[0, 0]]
            assert abs(ring[:, 2].max().item() - width * 1.1 * outer) < 1e-6
            assert abs(ring[:, 1].max().item() - thickness * 1.1 * outer) < 1e-6


def test_arms_turn_with_their_hands_and_bend() -> None:
    rng = np.random.default_rng(0)
    wrist = torch.from_numpy(rng.normal(0, 0.02, (2, 16, 3)))
    bend, girth, sleeve = (
        torch.tensor([[0.1, -0.3, 0.2]]).double(),
        torch.ones(1).double(),
        torch.tensor([0.1]).double(),
    )
    upright = arm_vertices(wrist, torch.eye(3).expand(2, 3, 3).double(), bend, girth, sleeve)
    rotation = torch.from_numpy(rotation_matrices(rng.normal(size=(2, 3))))
    turned = arm_vertices(rotate(wrist, rotation), rotation, bend, girth, sleeve)
    torch.testing.assert_close(turned, rotate(upright, rotation))
    # beyond the bend the arm runs straight along the bent axis; its rings' points are not evenly spread
    rings = upright[:, :-1].view(2, NUM_RINGS, 16, 3).mean(dim=2)
    along = torch.nn.functional.normalize(rings[:, -1] - rings[:, -3], dim=1)
    axis = torch.from_numpy(rotation_matrices(bend.numpy()))[:, :, 0].expand(2, 3)
    torch.testing.assert_close(along, axis, atol=5e-3, rtol=0)
