from pathlib import Path

import numpy as np
import pytest

from handlit.formats.benchmark import PROTOCOLS
from handlit.formats.ground_truth import GroundTruth
from handlit.scoring.board import HEADLINES, ScoreBoard, ScoredPrediction, format_interval
from handlit.scoring.bootstrap import Bootstrap, Interval
from handlit.scoring.official.evaluation import evaluate
from handlit.scoring.official.joint_errors import joint_errors
from tests.scoring.hands import make_hands

COUNT = 12
PROTOCOL = PROTOCOLS["ho3d_v3"]


def predicted(label: str, noise: float, mirror: bool = False) -> ScoredPrediction:
    hands = make_hands(COUNT, PROTOCOL)
    rng = np.random.default_rng(int(1e4 * noise))
    sign = np.array([-1 if mirror else 1, 1, 1])
    joints = sign * hands.joints + rng.normal(0, noise, hands.joints.shape)
    vertices = sign * hands.vertices + rng.normal(0, noise, hands.vertices.shape)
    evaluation = evaluate(joints, vertices, hands.joints, hands.vertices, PROTOCOL)
    return ScoredPrediction(label, Path(label), None, evaluation, [], joints)


def truth() -> GroundTruth:
    hands = make_hands(COUNT, PROTOCOL)
    names = [f"S{i // 4}/{i:04d}" for i in range(COUNT)]
    return GroundTruth(PROTOCOL, hands.joints, hands.vertices, names, Path("nowhere"))


@pytest.fixture(scope="module")
def board() -> ScoreBoard:
    visible = np.ones((COUNT, 21), dtype=bool)
    visible[:, 16:] = False
    predictions = [predicted("a", 0.002), predicted("b", 0.004), predicted("m", 0.002, mirror=True)]
    return ScoreBoard(truth(), predictions, "b", visible)


def test_joint_errors_are_the_official_ones(board: ScoreBoard) -> None:
    for prediction in board.predictions:
        for kind in ("joints_root", "joints_procrustes"):
            errors = joint_errors(prediction.joints, board.ground_truth.joints, kind)
            statistics = prediction.evaluation.errors[kind]
            np.testing.assert_allclose(errors.mean(axis=0), statistics.per_point(), atol=1e-12)
            np.testing.assert_allclose(errors.mean(axis=1), statistics.per_frame(), atol=1e-12)


def test_headlines_are_the_published_numbers_with_their_intervals(board: ScoreBoard) -> None:
    bootstrap = Bootstrap(board.ground_truth.sequences, COUNT)
    for headline, row in zip(HEADLINES, board.headline_rows, strict=True):
        for number, prediction in enumerate(board.predictions):
            evaluation = prediction.evaluation
            known = {**evaluation.papers, **evaluation.official}
            assert row.values[number] == pytest.approx(known[headline.key])
            values = headline.per_frame(evaluation)
            assert values is not None
            assert row.intervals is not None
            assert row.intervals[number] == bootstrap.intervals(values[:, None])[0]
    assert board.headline_rows[0].best == board.headline_rows[0].values[0]


def test_differences_are_of_the_same_frames(board: ScoreBoard) -> None:
    assert len(board.differences) == 3 * len(HEADLINES)
    first = board.differences[0]
    assert (first.first, first.second, first.key) == ("a", "b", "root_aligned_mpjpe_mm")
    row = board.headline_rows[0]
    assert first.value == pytest.approx(row.values[1] - row.values[0])
    assert first.is_clear
    same = ScoreBoard(truth(), [predicted("a", 0.002), predicted("c", 0.002)], None).differences
    assert {difference.value for difference in same} == {0.0}
    assert not any(difference.is_clear for difference in same)


def test_visible_and_hidden_joints_apart(board: ScoreBoard) -> None:
    visible, hidden = board.visibility_rows("joints_root")
    assert (visible.name, hidden.name) == ("visible (75%)", "hidden (25%)")
    errors = 1000 * joint_errors(board.predictions[0].joints, board.ground_truth.joints, "joints_root")
    assert visible.values[0] == pytest.approx(errors[:, 1:16].mean())
    assert hidden.values[0] == pytest.approx(errors[:, 16:].mean())
    assert ScoreBoard(truth(), board.predictions, None).visibility_rows("joints_root") == []


def test_how_intervals_are_written(board: ScoreBoard) -> None:
    millimetres, shares = board.headline_rows[0], board.headline_rows[-1]
    assert format_interval(millimetres, Interval(1.234, 5.678)) == "1.2–5.7"
    assert format_interval(shares, Interval(0.1234, 0.5678)) == "0.12–0.57"
    assert format_interval(shares, None) == ""
