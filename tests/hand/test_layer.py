"""The hand layer against recorded numbers of the reference layer and a literal, joint by joint implementation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handlit.hand import skinning
from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.skeleton import FINGERS, JOINTS, KINEMATIC_JOINTS, TIP_VERTICES, reorder
from tests.hand.synthetic_mano import sines, synthetic_mano

ASSET = synthetic_mano()


def dense_regressor_asset() -> HandAsset:
    """The synthetic hand with a regressor that mixes 60 vertices per joint, as MANO's mixes neighbours."""
    regressor = np.zeros((16, 778))
    regressor[:, 40:100] = 1 + sines(16, 60, step=0.3, start=0.0)
    return replace(ASSET, joint_regressor=regressor / regressor.sum(1, keepdims=True))


def literal_hand(
    asset: HandAsset, rotations: np.ndarray, betas: np.ndarray, transl: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One hand by the definition of linear blend skinning: (16, 3, 3) rotations to 778 vertices and 16 joints."""
    rest = asset.template + asset.shape_directions @ betas
    rest_joints = asset.joint_regressor @ rest
    rest = rest + asset.pose_directions @ (rotations[1:] - np.eye(3)).reshape(135)
    world: list[np.ndarray] = []
    for joint, parent in enumerate(asset.parents):
        local = np.eye(4)
        local[:3, :3] = rotations[joint]
        local[:3, 3] = rest_joints[joint] - (rest_joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    vertices = np.zeros((778, 3))
    for vertex in range(778):
        for joint in range(16):
            to_joint = np.eye(4)
            to_joint[:3, 3] = -rest_joints[joint]
            moved = world[joint] @ to_joint @ np.append(rest[vertex], 1)
            vertices[vertex] += asset.weights[vertex, joint] * moved[:3]
    return vertices + transl, np.stack([transform[:3, 3] for transform in world]) + transl


def with_tips(joints: np.ndarray, vertices: np.ndarray, tips: tuple[int, ...]) -> np.ndarray:
    """21 joints in handlit order, placed by name."""
    named = dict(zip(KINEMATIC_JOINTS, joints, strict=True))
    for finger, vertex in zip(FINGERS, tips, strict=True):
        named[f"{finger}_4"] = vertices[vertex]
    return np.stack([named[name] for name in JOINTS])


def random_arguments(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    return (
        generator.normal(0, 0.8, 45),
        generator.normal(0, 1, 10),
        generator.normal(0, 1.5, 3),
        generator.normal(0, 0.5, 3),
    )


def tensors(*arrays: np.ndarray) -> list[torch.Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def test_recorded_numbers_of_the_reference_layer() -> None:
    """PCA pose with the mean added, tips and root of manopth, joints in RHD order, crop camera."""
    hand = HandLayer(ASSET, pose_space="pca", flat_hand_mean=False, tips="manopth")
    pose, betas, orient = (
        torch.from_numpy(values).float()
        for values in (
            0.8 * sines(45, step=0.6, start=0.9),
            0.5 * sines(10, step=0.8, start=0.1),
            1.2 * sines(3, step=1.1, start=0.2),
        )
    )
    mesh = hand(pose, betas, orient)
    root = mesh.joints[9]
    vertices_mm, joints_mm = (mesh.vertices - root).numpy() * 1000, (mesh.joints - root).numpy() * 1000
    np.testing.assert_allclose(vertices_mm[0], (70.58548, 161.62192, 45.76784), atol=2e-4)
    np.testing.assert_allclose(vertices_mm[777], (55.00740, 217.55760, 22.68486), atol=2e-4)
    recorded = {
        0: (-11.4218, 49.8949, -31.6787),
        4: (1.2322, 3.3107, 30.2286),
        10: (61.6008, 196.1773, 50.4720),
        20: (53.7360, 83.7419, 47.9315),
    }
    for joint, values in recorded.items():
        np.testing.assert_allclose(joints_mm[joint], values, atol=2e-4)

    bone = np.linalg.norm(joints_mm[10])
    normalised = joints_mm[reorder("handlit", "rhd")] / bone
    np.testing.assert_allclose(normalised[0], (-0.05395, 0.23566, -0.14962), atol=1e-5)
    np.testing.assert_allclose(normalised[1], (0.00582, 0.01564, 0.14277), atol=1e-5)
    np.testing.assert_allclose(normalised[11], (0.29095, 0.92657, 0.23838), atol=1e-5)
    np.testing.assert_allclose(vertices_mm[0] / bone, (0.333382, 0.763357, 0.216166), atol=2e-6)
    pixels = (0.3 * normalised[:, :2] + (0.05, -0.1) + 1) / 2 * 256
    np.testing.assert_allclose(pixels[0], (132.3285, 124.2493), atol=1e-4)
    np.testing.assert_allclose(pixels[1], (134.6235, 115.8004), atol=1e-4)
    np.testing.assert_allclose(pixels[12], (134.4, 115.2), atol=1e-4)


@pytest.mark.parametrize("tips", list(TIP_VERTICES))
def test_equals_the_literal_implementation(tips: str) -> None:
    generator = np.random.default_rng(len(tips))
    pose, betas, orient, transl = random_arguments(generator)
    hand = HandLayer(ASSET, tips=tips, dtype=torch.float64)  # type: ignore[arg-type]
    mesh = hand(*tensors(pose, betas, orient, transl))
    rotations = Rotation.from_rotvec(np.concatenate((orient, pose)).reshape(16, 3)).as_matrix()
    vertices, joints = literal_hand(ASSET, rotations, betas, transl)
    np.testing.assert_allclose(mesh.vertices.numpy(), vertices, atol=1e-13)
    expected = with_tips(joints, vertices, TIP_VERTICES[tips])  # type: ignore[index]
    np.testing.assert_allclose(mesh.joints.numpy(), expected, atol=1e-13)


def test_float32_is_right_to_a_micrometre() -> None:
    generator = np.random.default_rng(1)
    arguments = tensors(
        *(np.stack(column) for column in zip(*(random_arguments(generator) for _ in range(50)), strict=True))
    )
    exact = HandLayer(ASSET, dtype=torch.float64)(*arguments)
    single = HandLayer(ASSET)(*(value.float() for value in arguments))
    assert single.vertices.dtype == single.joints.dtype == torch.float32
    assert (single.vertices - exact.vertices).abs().max() < 1e-6
    assert (single.joints - exact.joints).abs().max() < 1e-6


def test_zero_pose_is_the_template() -> None:
    mesh = HandLayer(ASSET, dtype=torch.float64)(torch.zeros(45))
    np.testing.assert_allclose(mesh.vertices.numpy(), ASSET.template, atol=1e-15)
    np.testing.assert_allclose(mesh.joints[0].numpy(), ASSET.joint_regressor[0] @ ASSET.template, atol=1e-15)


def test_global_rotation_turns_about_the_rest_wrist() -> None:
    pose, betas, orient, transl = tensors(*random_arguments(np.random.default_rng(2)))
    hand = HandLayer(ASSET, dtype=torch.float64)
    still = hand(pose, betas)
    turned = hand(pose, betas, orient, transl)
    wrist = hand.rest_wrist(betas)
    torch.testing.assert_close(still.joints[0], wrist)
    torch.testing.assert_close(turned.joints[0], wrist + transl)
    matrix = torch.from_numpy(Rotation.from_rotvec(orient.numpy()).as_matrix())
    torch.testing.assert_close(turned.vertices, (still.vertices - wrist) @ matrix.mT + wrist + transl)
    torch.testing.assert_close(turned.joints, (still.joints - wrist) @ matrix.mT + wrist + transl)


def test_pose_spaces_agree() -> None:
    generator = np.random.default_rng(3)
    coefficients, betas, orient, transl = random_arguments(generator)
    coefficients[12:] = 0
    mean_added = ASSET.pose_mean + coefficients @ ASSET.pose_components
    fingers = Rotation.from_rotvec(mean_added.reshape(15, 3)).as_matrix()
    root = Rotation.from_rotvec(orient).as_matrix()
    expected = HandLayer(ASSET, dtype=torch.float64)(*tensors(mean_added, betas, orient, transl))

    def six(matrix: np.ndarray) -> np.ndarray:
        # lengths and a share of the first column in the second do not matter
        return np.concatenate((2 * matrix[..., 0], 3 * matrix[..., 1] + matrix[..., 0]), -1)

    layers = {
        "axis_angle": (
            HandLayer(ASSET, flat_hand_mean=False, dtype=torch.float64),
            mean_added - ASSET.pose_mean,
            orient,
        ),
        "pca": (
            HandLayer(ASSET, pose_space="pca", num_components=12, flat_hand_mean=False, dtype=torch.float64),
            coefficients[:12],
            orient,
        ),
        "rotation_6d": (HandLayer(ASSET, pose_space="rotation_6d", dtype=torch.float64), six(fingers), six(root)),
        "matrix": (HandLayer(ASSET, pose_space="matrix", dtype=torch.float64), fingers, root),
    }
    for hand, pose, turn in layers.values():
        mesh = hand(*tensors(pose, betas, turn, transl))
        torch.testing.assert_close(mesh.vertices, expected.vertices)
        torch.testing.assert_close(mesh.joints, expected.joints)
        unturned = hand(*tensors(pose, betas))
        np.testing.assert_allclose(
            (unturned.joints - unturned.joints[0]).numpy() @ root.T, (mesh.joints - mesh.joints[0]).numpy(), atol=1e-13
        )
        angles = Rotation.from_rotvec(hand.full_pose(torch.from_numpy(pose)).numpy().reshape(15, 3)).as_matrix()
        np.testing.assert_allclose(angles, fingers, atol=1e-12)


def test_pca_with_a_flat_mean_leaves_the_mean_out() -> None:
    coefficients = torch.from_numpy(sines(45, step=0.4, start=0.2))
    hand = HandLayer(ASSET, pose_space="pca", dtype=torch.float64)
    expected = HandLayer(ASSET, dtype=torch.float64)(coefficients @ torch.from_numpy(ASSET.pose_components))
    torch.testing.assert_close(hand(coefficients).vertices, expected.vertices)


@pytest.mark.parametrize("joints", ["kinematic", "regressed"])
def test_joints_only_equals_the_joints_of_the_mesh(joints: str) -> None:
    asset = dense_regressor_asset()
    arguments = tensors(*random_arguments(np.random.default_rng(4)))
    hand = HandLayer(asset, tips="amvur", joints=joints, dtype=torch.float64)  # type: ignore[arg-type]
    mesh = hand(*arguments)
    torch.testing.assert_close(hand.joints_only(*arguments), mesh.joints)
    regressed = hand.joint_matrix @ mesh.vertices
    by_name = with_tips(asset.joint_regressor @ mesh.vertices.numpy(), mesh.vertices.numpy(), TIP_VERTICES["amvur"])
    np.testing.assert_allclose(regressed.numpy(), by_name, atol=1e-15)
    if joints == "regressed":
        torch.testing.assert_close(mesh.joints, regressed)
    else:
        # the two definitions agree in a flat hand and part in a bent one
        flat = hand(torch.zeros(45))
        torch.testing.assert_close(flat.joints, hand.joint_matrix @ flat.vertices)
        assert (mesh.joints - regressed).abs().max() > 1e-3


def test_joint_matrix_rows_sum_to_one() -> None:
    hand = HandLayer(dense_regressor_asset(), dtype=torch.float64)
    assert hand.joint_matrix.shape == (21, 778)
    torch.testing.assert_close(hand.joint_matrix.sum(1), torch.ones(21, dtype=torch.float64))
    assert hand.faces.shape == (1538, 3)


@pytest.mark.parametrize("batch", [(), (1,), (7,), (2, 3), (0,), (3, 0, 2)])
def test_any_batch_shape(batch: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    pose, betas, orient, transl = (torch.randn(*batch, k, generator=generator) for k in (45, 10, 3, 3))
    hand = HandLayer(ASSET)
    mesh = hand(pose, betas, orient, transl)
    assert mesh.vertices.shape == (*batch, 778, 3)
    assert mesh.joints.shape == hand.joints_only(pose, betas, orient, transl).shape == (*batch, 21, 3)
    assert hand.rest_wrist(betas).shape == (*batch, 3)
    for index in np.ndindex(*batch):
        one = hand(pose[index], betas[index], orient[index], transl[index])
        torch.testing.assert_close(mesh.vertices[index], one.vertices, atol=1e-6, rtol=0)
        torch.testing.assert_close(mesh.joints[index], one.joints, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pose_space", ["rotation_6d", "matrix"])
def test_empty_batch_in_other_pose_spaces(pose_space: str) -> None:
    hand = HandLayer(ASSET, pose_space=pose_space)  # type: ignore[arg-type]
    trailing = (15, 6) if pose_space == "rotation_6d" else (15, 3, 3)
    assert hand(torch.zeros(0, *trailing)).joints.shape == (0, 21, 3)


def test_arguments_broadcast() -> None:
    pose, betas, orient, transl = torch.randn(4, 5, 45), torch.randn(4, 1, 10), torch.randn(5, 3), torch.randn(3)
    hand = HandLayer(ASSET)
    mesh = hand(pose, betas, orient, transl)
    full = hand(pose, betas.expand(4, 5, 10), orient.expand(4, 5, 3), transl.expand(4, 5, 3))
    torch.testing.assert_close(mesh.vertices, full.vertices)
    torch.testing.assert_close(mesh.joints, full.joints)
    placed = hand(pose[0, 0], transl=torch.stack((transl, -transl)))
    assert placed.vertices.shape == (2, 778, 3)
    torch.testing.assert_close(placed.joints[0] - placed.joints[1], 2 * transl.expand(21, 3))


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pose, betas = torch.randn(23, 45, dtype=torch.float64), torch.randn(23, 10, dtype=torch.float64)
    hand = HandLayer(ASSET, dtype=torch.float64)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        leaf = pose.clone().requires_grad_()
        vertices = hand(leaf, betas).vertices
        vertices.square().sum().backward()
        assert leaf.grad is not None
        return vertices, leaf.grad

    whole = run()
    monkeypatch.setattr(skinning, "CPU_BLOCK", 5 * 778)
    torch.testing.assert_close(run(), whole)


def test_gradients_at_zero_are_those_of_small_rotations() -> None:
    hand = HandLayer(ASSET, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(21, 3, generator=generator, dtype=torch.float64)

    def loss(pose: torch.Tensor, orient: torch.Tensor) -> torch.Tensor:
        return (hand.joints_only(pose, None, orient) * weights).sum()

    pose, orient = (
        torch.zeros(45, dtype=torch.float64, requires_grad=True),
        torch.zeros(3, dtype=torch.float64, requires_grad=True),
    )
    gradients = torch.autograd.grad(loss(pose, orient), (pose, orient))
    step = 1e-6
    for k in range(45):
        bump = step * torch.eye(45, dtype=torch.float64)[k]
        numeric = (loss(bump, orient) - loss(-bump, orient)) / (2 * step)
        assert gradients[0][k].item() == pytest.approx(numeric.item(), abs=1e-8)
    for k in range(3):
        bump = step * torch.eye(3, dtype=torch.float64)[k]
        numeric = (loss(pose, bump) - loss(pose, -bump)) / (2 * step)
        assert gradients[1][k].item() == pytest.approx(numeric.item(), abs=1e-8)


@pytest.mark.parametrize("scale", [0.0, 1e-12, 1e-6, 1e-3, 1.0, math.pi])
def test_float32_gradients_are_finite_at_any_angle(scale: float) -> None:
    pose = (scale * torch.randn(3, 45, generator=torch.Generator().manual_seed(2))).requires_grad_()
    mesh = HandLayer(ASSET)(pose)
    mesh.vertices.sum().backward()
    assert pose.grad is not None
    assert pose.grad.isfinite().all()
    exact = pose.detach().double().requires_grad_()
    HandLayer(ASSET, dtype=torch.float64)(exact).vertices.sum().backward()
    assert exact.grad is not None
    torch.testing.assert_close(pose.grad.double(), exact.grad, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("pose_space", ["axis_angle", "rotation_6d", "matrix"])
def test_gradients_against_finite_differences(pose_space: str) -> None:
    hand = HandLayer(ASSET, pose_space=pose_space, dtype=torch.float64)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(3)
    trailing = {"axis_angle": ((45,), (3,)), "rotation_6d": ((15, 6), (6,)), "matrix": ((15, 3, 3), (3, 3))}[pose_space]
    pose, orient, betas, transl = (
        torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in (*trailing, (10,), (3,))
    )
    projection = torch.randn(778, 3, generator=generator, dtype=torch.float64)

    def function(*arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mesh = hand(*arguments)
        return (mesh.vertices * projection).sum(), mesh.joints

    assert torch.autograd.gradcheck(function, (pose, betas, orient, transl), fast_mode=True)


def test_autocast_does_not_lower_the_precision() -> None:
    pose, betas = torch.randn(4, 45), torch.randn(4, 10)
    hand = HandLayer(ASSET, joints="regressed")
    plain = hand(pose, betas)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (pose @ pose.mT).dtype == torch.bfloat16
        cast = hand(pose, betas)
        joints = hand.joints_only(pose, betas)
        low = hand(pose.bfloat16(), betas.bfloat16())
    torch.testing.assert_close(cast, plain, rtol=0, atol=0)
    torch.testing.assert_close(joints, plain.joints, rtol=0, atol=1e-6)
    assert low.vertices.dtype == torch.float32


def test_a_half_precision_layer_is_refused() -> None:
    with pytest.raises(TypeError, match="bfloat16"):
        HandLayer(ASSET).bfloat16()(torch.zeros(45))


def test_checkpoints_hold_nothing_of_the_asset() -> None:
    hand = HandLayer(ASSET)
    assert hand.state_dict() == {}
    assert list(hand.parameters()) == []
    hand.load_state_dict({}, strict=True)
    assert hand.double()(torch.zeros(45)).vertices.dtype == torch.float64


def test_compiles_without_graph_breaks() -> None:
    hand = HandLayer(ASSET)
    pose, betas, orient = torch.randn(3, 45), torch.randn(3, 10), torch.randn(3, 3)
    compiled = torch.compile(hand, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(pose, betas, orient), hand(pose, betas, orient))


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="flat_hand_mean"):
        HandLayer(ASSET, pose_space="matrix", flat_hand_mean=False)
    with pytest.raises(ValueError, match="num_components"):
        HandLayer(ASSET, num_components=30)
    with pytest.raises(ValueError, match="1 to 45"):
        HandLayer(ASSET, pose_space="pca", num_components=46)
    with pytest.raises(ValueError, match="parents"):
        HandLayer(replace(ASSET, parents=(-1,) + (0,) * 15))


def test_wrong_shapes_are_named() -> None:
    hand = HandLayer(ASSET)
    with pytest.raises(ValueError, match=r"pose has shape \(2, 48\), expected \(\.\.\., 45\)"):
        hand(torch.zeros(2, 48))
    with pytest.raises(ValueError, match="betas"):
        hand(torch.zeros(2, 45), torch.zeros(2, 11))


def test_twice_the_bones_are_twice_the_reach() -> None:
    layer = HandLayer(ASSET)
    pose, betas = torch.randn(5, 45, generator=torch.Generator().manual_seed(0)), torch.zeros(5, 10)
    plain, longer = layer(pose, betas), layer(pose, betas, ratios=torch.full((5, 20), 2.0))
    kinematic = [JOINTS.index(name) for name in KINEMATIC_JOINTS]
    reach, twice = ((hand.joints - hand.joints[:, :1])[:, kinematic] for hand in (plain, longer))
    torch.testing.assert_close(twice, 2 * reach)
