"""What knowing nothing scores: on synthetic data always, on the real ground truth where it is at hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from handlit.data.synthesis import synthesise
from handlit.formats.ground_truth import GroundTruth, read_ground_truth
from handlit.scoring.official.evaluation import Evaluation, evaluate


def score(joints: np.ndarray, vertices: np.ndarray, truth: GroundTruth) -> Evaluation:
    return evaluate(joints, vertices, truth.joints, truth.vertices, truth.benchmark)


def score_zero(truth: GroundTruth) -> dict[str, float]:
    return score(np.zeros_like(truth.joints), np.zeros_like(truth.vertices), truth).official


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> GroundTruth:
    root = tmp_path_factory.mktemp("synthetic")
    synthesise(root, train=1, evaluation=12, preset="easy", workers=0, progress=False)
    return read_ground_truth(root, "ho3d_v3")


def test_zero_on_a_synthetic_tree(truth: GroundTruth) -> None:
    scores = score_zero(truth)
    centred = truth.joints - truth.joints.mean(axis=1, keepdims=True)
    assert scores["xyz_mean3d"] == pytest.approx(100 * np.linalg.norm(truth.joints, axis=2).mean())
    assert scores["xyz_procrustes_al_mean3d"] == pytest.approx(100 * np.linalg.norm(centred, axis=2).mean(), rel=1e-6)
    assert np.isnan(scores["xyz_scale_trans_al_mean3d"])
    assert scores["f_score_5"] == scores["f_score_15"] == 0


def test_mean_hand_on_a_synthetic_tree(truth: GroundTruth) -> None:
    """At the true wrists the mean hand beats zero, aligned or not, and is far from right."""
    root = truth.joints[:, :1]
    joints = (truth.joints - root).mean(axis=0) + root
    vertices = (truth.vertices - root).mean(axis=0) + root
    result, zero = score(joints, vertices, truth), score_zero(truth)
    assert result.papers["mpjpe_mm"] == pytest.approx(result.papers["root_aligned_mpjpe_mm"])
    assert 0.5 < result.official["xyz_mean3d"] < zero["xyz_mean3d"] / 3
    assert 0.2 < result.official["xyz_procrustes_al_mean3d"] < zero["xyz_procrustes_al_mean3d"]


#: Centimetres and shares that the benchmarks' documentation gives for the all-zero prediction.
DOCUMENTED = {
    "HANDLIT_HO3D_V2_GT": (
        "ho3d_v2",
        {"xyz_mean3d": 56.87, "xyz_procrustes_al_mean3d": 5.19, "mesh_mean3d": 57.12, "mesh_al_mean3d": 5.47},
        {"f_score_5": 0.0, "f_score_15": 0.0, "f_al_score_5": 0.0, "f_al_score_15": 0.017},
    ),
    "HANDLIT_FREIHAND_GT": (
        "freihand",
        {"xyz_mean3d": 70.79, "xyz_al_mean3d": 4.73, "mesh_mean3d": 70.84, "mesh_al_mean3d": 5.07},
        {"f_score_5": 0.0, "f_score_15": 0.0, "f_al_score_5": 0.001, "f_al_score_15": 0.031},
    ),
}


@pytest.mark.parametrize("variable", DOCUMENTED)
def test_zero_on_the_real_ground_truth(variable: str) -> None:
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name the folder of the real ground truth")
    protocol, centimetres, shares = DOCUMENTED[variable]
    scores = score_zero(read_ground_truth(Path(os.environ[variable]), protocol))
    assert {key: scores[key] for key in centimetres} == pytest.approx(centimetres, abs=0.006)
    assert {key: scores[key] for key in shares} == pytest.approx(shares, abs=0.0006)
