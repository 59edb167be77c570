import numpy as np
import pytest
import torch

from handlit.formats.registry import benchmark_named, benchmarks
from handlit.scoring.official.evaluation import evaluate
from handlit.skeleton import JOINTS, ORDERS
from tests.scoring.hands import Hands, make_hands
from tests.scoring.official import frame_by_frame

MESH_KEYS = ["mesh_mean3d", "mesh_auc3d", "mesh_al_mean3d", "mesh_al_auc3d"]
F_KEYS = ["f_score_5", "f_al_score_5", "f_score_15", "f_al_score_15"]
HO3D_KEYS = [
    *("xyz_mean3d", "xyz_auc3d", "xyz_procrustes_al_mean3d", "xyz_procrustes_al_auc3d"),
    *("xyz_scale_trans_al_mean3d", "xyz_scale_trans_al_auc3d", *MESH_KEYS, *F_KEYS),
]
FREIHAND_KEYS = ["xyz_mean3d", "xyz_auc3d", "xyz_al_mean3d", "xyz_al_auc3d", *MESH_KEYS, *F_KEYS]


def spoil(hands: Hands, how: str) -> tuple[np.ndarray, np.ndarray]:
    """A prediction that is wrong in a named way."""
    rng = np.random.default_rng(5)
    joints, vertices = hands.joints.copy(), hands.vertices.copy()
    if how == "noisy":
        return joints + rng.normal(0, 0.006, joints.shape), vertices + rng.normal(0, 0.004, vertices.shape)
    if how == "mirrored":
        return joints * [-1, 1, 1], vertices * [-1, 1, 1] + rng.normal(0, 0.003, vertices.shape)
    if how == "millimetres":
        return 1000 * joints, 1000 * vertices
    if how == "zero":
        return 0 * joints, 0 * vertices
    if how == "flat":
        joints[..., 2] = joints[:, :1, 2]
        vertices[..., 2] = vertices[:, :1, 2]
        return joints, vertices
    if how == "exact":
        return joints, vertices
    if how == "shifted by the threshold":
        return joints + [0.005, 0, 0], vertices + [0.005, 0, 0]
    if how == "coarse mesh":
        return joints + rng.normal(0, 0.006, joints.shape), vertices[:, ::4] + rng.normal(
            0, 0.002, (len(joints), 195, 3)
        )
    if how == "fine mesh":
        return joints, np.concatenate([vertices, vertices + 0.004], axis=1)
    raise AssertionError(how)


SPOILED = ["noisy", "mirrored", "millimetres", "zero", "flat", "exact", "shifted by the threshold"]


@pytest.mark.parametrize("how", [*SPOILED, "coarse mesh", "fine mesh"])
@pytest.mark.parametrize("name", ["ho3d_v2", "freihand"])
def test_equals_the_documented_definition(how: str, name: str) -> None:
    protocol = benchmark_named(name)
    hands = make_hands(7, protocol)
    joints, vertices = spoil(hands, how)
    copies = joints.copy(), vertices.copy()
    result = evaluate(joints, vertices, hands.joints, hands.vertices, protocol)
    expected = frame_by_frame.evaluate(joints, vertices, hands.joints, hands.vertices, ho3d=name != "freihand")
    assert list(result.official) == list(expected) == list(protocol.keys)
    np.testing.assert_allclose(list(result.official.values()), list(expected.values()), atol=1e-9, rtol=1e-12)
    np.testing.assert_array_equal(joints, copies[0])
    np.testing.assert_array_equal(vertices, copies[1])


def test_keys_and_their_order() -> None:
    assert list(benchmark_named("ho3d_v2").keys) == list(benchmark_named("ho3d_v3").keys) == HO3D_KEYS
    assert list(benchmark_named("freihand").keys) == FREIHAND_KEYS


def test_more_frames_than_a_chunk_and_a_low_precision_matmul_setting() -> None:
    hands = make_hands(70, benchmark_named("ho3d_v3"))
    joints, vertices = spoil(hands, "noisy")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        result = evaluate(joints, vertices, hands.joints, hands.vertices, benchmark_named("ho3d_v3"))
    finally:
        torch.set_float32_matmul_precision(before)
    expected = frame_by_frame.evaluate(joints, vertices, hands.joints, hands.vertices, ho3d=True)
    np.testing.assert_allclose(list(result.official.values()), list(expected.values()), atol=1e-9)
    assert result.errors["joints"].per_frame().shape == (70,)


def test_zero_prediction() -> None:
    hands = make_hands(5, benchmark_named("ho3d_v2"))
    result = evaluate(0 * hands.joints, 0 * hands.vertices, hands.joints, hands.vertices, benchmark_named("ho3d_v2"))
    centred = hands.joints - hands.joints.mean(1, keepdims=True)
    assert result.official["xyz_mean3d"] == pytest.approx(100 * np.linalg.norm(hands.joints, axis=2).mean())
    assert result.official["xyz_procrustes_al_mean3d"] == pytest.approx(100 * np.linalg.norm(centred, axis=2).mean())
    assert np.isnan(result.official["xyz_scale_trans_al_mean3d"])
    assert result.official["xyz_scale_trans_al_auc3d"] == 0
    assert result.official["f_score_5"] == 0


def test_paper_numbers() -> None:
    hands = make_hands(6, benchmark_named("freihand"))
    joints, vertices = spoil(hands, "noisy")
    joints[0] *= [-1, 1, 1]
    vertices[0] *= [-1, 1, 1]
    result = evaluate(joints, vertices, hands.joints, hands.vertices, benchmark_named("freihand"))
    papers = result.papers
    rooted = np.linalg.norm((joints - joints[:, :1]) - (hands.joints - hands.joints[:, :1]), axis=2)
    mesh = np.linalg.norm((vertices - joints[:, :1]) - (hands.vertices - hands.joints[:, :1]), axis=2)
    assert papers["root_aligned_mpjpe_mm"] == pytest.approx(1000 * rooted.mean())
    assert papers["root_aligned_mpvpe_mm"] == pytest.approx(1000 * mesh.mean())
    assert papers["mpjpe_mm"] == pytest.approx(10 * result.official["xyz_mean3d"])
    assert papers["pa_mpvpe_mm"] == pytest.approx(10 * result.official["mesh_al_mean3d"])
    assert papers["pa_mpjpe_proper_mm"] > papers["pa_mpjpe_mm"] + 0.5
    assert papers["mirrored_share"] == pytest.approx(1 / 6)


def test_paper_numbers_leave_out_what_another_mesh_does_not_have() -> None:
    hands = make_hands(3, benchmark_named("ho3d_v2"))
    result = evaluate(*spoil(hands, "coarse mesh"), hands.joints, hands.vertices, benchmark_named("ho3d_v2"))
    assert result.official["mesh_mean3d"] == result.official["mesh_al_auc3d"] == -1
    assert not [name for name in result.papers if "mpvpe" in name]


def test_official_conventions_go_there_and_back() -> None:
    joints = np.random.default_rng(0).normal(size=(2, 21, 3)).astype(np.float32)
    for protocol in benchmarks().values():
        np.testing.assert_array_equal(protocol.joints_from_official(protocol.joints_to_official(joints)), joints)
    ho3d = benchmark_named("ho3d_v2").joints_to_official(joints)
    ring = ORDERS["ho3d"].index("ring_1")
    np.testing.assert_array_equal(ho3d[:, ring], joints[:, JOINTS.index("ring_1")] * np.array([1, -1, -1], np.float32))
    np.testing.assert_array_equal(benchmark_named("freihand").joints_to_official(joints), joints)
    assert ORDERS["ho3d"][benchmark_named("ho3d_v2").scale_joint or 0] == "middle_1"


def test_shapes_are_checked() -> None:
    hands = make_hands(3, benchmark_named("ho3d_v2"))
    with pytest.raises(ValueError, match="predicted joints"):
        evaluate(hands.joints[:, :20], hands.vertices, hands.joints, hands.vertices, benchmark_named("ho3d_v2"))
    with pytest.raises(ValueError, match="predicted vertices"):
        evaluate(hands.joints, hands.vertices[:2], hands.joints, hands.vertices, benchmark_named("ho3d_v2"))
    with pytest.raises(ValueError, match="no frame"):
        evaluate(hands.joints[:0], hands.vertices[:0], hands.joints[:0], hands.vertices[:0], benchmark_named("ho3d_v2"))
