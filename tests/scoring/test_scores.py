from pathlib import Path

import numpy as np
import pytest

from handlit.formats.ground_truth import GroundTruth
from handlit.formats.registry import benchmark_named
from handlit.scoring.bootstrap import Bootstrap, Statistic
from handlit.scoring.official.evaluation import evaluate
from handlit.scoring.official.joint_errors import joint_errors
from handlit.scoring.official.measures import HEADLINES
from handlit.scoring.scores import ScoredPrediction, Scores
from tests.scoring.hands import make_hands

COUNT = 12
PROTOCOL = benchmark_named("ho3d_v3")


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
def scores() -> Scores:
    visible = np.ones((COUNT, 21), dtype=bool)
    visible[:, 16:] = False
    predictions = [predicted("a", 0.002), predicted("b", 0.004), predicted("m", 0.002, mirror=True)]
    return Scores(truth(), predictions, "b", visible)


def test_joint_errors_are_the_official_ones(scores: Scores) -> None:
    for prediction in scores.predictions:
        for kind in ("joints_root", "joints_procrustes"):
            errors = joint_errors(prediction.joints, scores.ground_truth.joints, kind)
            statistics = prediction.evaluation.errors[kind]
            np.testing.assert_allclose(errors.mean(axis=0), statistics.per_point(), atol=1e-12)
            np.testing.assert_allclose(errors.mean(axis=1), statistics.per_frame(), atol=1e-12)


def test_headlines_are_the_published_numbers_with_their_intervals(scores: Scores) -> None:
    bootstrap = Bootstrap(scores.ground_truth.sequences, COUNT)
    table = scores.headline_table()
    for measure, row, shown in zip(HEADLINES, scores.headlines, table.rows, strict=True):
        assert shown.measure is measure
        for number, prediction in enumerate(scores.predictions):
            evaluation = prediction.evaluation
            known = {**evaluation.papers, **evaluation.official}
            estimate = row[number]
            assert estimate is not None
            assert estimate.value == pytest.approx(known[measure.key])
            values = measure.per_frame(evaluation)
            assert values is not None
            (expected,) = bootstrap.estimates([Statistic([values])])
            assert expected is not None
            assert estimate.interval == expected.interval
    assert [cell.is_best for cell in table.rows[0].cells] == [True, False, False]
    assert [cell.ratio is None for cell in table.rows[0].cells] == [False, True, False]


def test_differences_are_of_the_same_frames(scores: Scores) -> None:
    assert len(scores.differences) == 3 * len(HEADLINES)
    first = scores.differences[0]
    assert (first.first, first.second, first.measure.key) == ("a", "b", "root_aligned_mpjpe_mm")
    of_a, of_b = scores.headlines[0][:2]
    assert of_a is not None
    assert of_b is not None
    assert first.estimate.value == pytest.approx(of_b.value - of_a.value)
    assert first.is_clear
    same = Scores(truth(), [predicted("a", 0.002), predicted("c", 0.002)], None).differences
    assert {difference.estimate.value for difference in same} == {0.0}
    assert not any(difference.is_clear for difference in same)


def test_a_prediction_that_is_not_a_number_has_none(scores: Scores) -> None:
    hands = make_hands(COUNT, PROTOCOL)
    joints = hands.joints.copy()
    joints[3] = np.nan
    evaluation = evaluate(joints, hands.vertices, hands.joints, hands.vertices, PROTOCOL)
    broken = ScoredPrediction("broken", Path("broken"), None, evaluation, [], joints)
    row = Scores(truth(), [broken, scores.predictions[0]], None).headlines[0]
    assert row[0] is None
    assert row[1] is not None


def test_visible_and_hidden_joints_apart(scores: Scores) -> None:
    visible, hidden = scores.visibility_table("joints_root").rows
    assert (visible.group, hidden.group) == ("visible (75%)", "hidden (25%)")
    errors = 1000 * joint_errors(scores.predictions[0].joints, scores.ground_truth.joints, "joints_root")
    for row, expected in ((visible, errors[:, 1:16].mean()), (hidden, errors[:, 16:].mean())):
        estimate = row.cells[0].estimate
        assert estimate is not None
        assert estimate.value == pytest.approx(expected)
    assert Scores(truth(), scores.predictions, None).visibility_table("joints_root").rows == []
