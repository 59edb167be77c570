from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from handlit.formats.registry import benchmark_named
from handlit.scoring.official.linter import lint
from handlit.skeleton import JOINTS, ORDERS, TIP_VERTICES, permutation
from tests.scoring.hands import make_hands

COUNT = 40
Arrays = tuple[np.ndarray, np.ndarray]


def names(joints: np.ndarray, vertices: np.ndarray, protocol: Any = "ho3d_v2", count: int = COUNT) -> list[str]:
    return [finding.name for finding in lint(joints, vertices, benchmark_named(protocol), count)]


@pytest.mark.parametrize("protocol", ["ho3d_v2", "ho3d_v3", "freihand"])
@pytest.mark.parametrize("seed", range(3))
def test_good_submissions_have_no_finding(protocol: Any, seed: int) -> None:
    hands = make_hands(COUNT, benchmark_named(protocol), seed)
    assert names(hands.joints, hands.vertices, protocol) == []
    noise = np.random.default_rng(seed).normal(0, 0.003, hands.joints.shape)
    assert names(hands.joints + noise, hands.vertices, protocol) == []


def swap(order: tuple[str, ...], first: str, second: str) -> list[int]:
    renamed = [
        name.replace(first, "*").replace(second, first).replace("*", second) if name[-1].isdigit() else name
        for name in order
    ]
    return permutation(order, renamed)


def spoil_first(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """The first hand moved to 8 m from the camera."""
    wrist = joints[0, 0]
    return np.concatenate([points[:1] - wrist + 8 * wrist / np.linalg.norm(wrist), points[1:]])


MISTAKES: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], Arrays]]] = {
    "opencv axes": ("wrong_axes", lambda j, v: (j * [1, -1, -1], v * [1, -1, -1])),
    "millimetres": ("wrong_unit", lambda j, v: (1000 * j, 1000 * v)),
    "centimetres": ("wrong_unit", lambda j, v: (100 * j, 100 * v)),
    "a tenth of the size": (
        "odd_size",
        lambda j, v: (j[:, :1] + 0.1 * (j - j[:, :1]), j[:, :1] + 0.1 * (v - j[:, :1])),
    ),
    "no root": ("root_relative", lambda j, v: (j - j[:, :1], v - j[:, :1])),
    "joints of another image": ("joints_apart_from_mesh", lambda j, v: (np.roll(j, 1, axis=0), v)),
    "vertices without root": ("joints_apart_from_mesh", lambda j, v: (j, v - j[:, :1])),
    "vertices in millimetres": ("joints_apart_from_mesh", lambda j, v: (j, 1000 * v)),
    "padded": ("wrong_count", lambda j, v: (np.concatenate([j, j[:3]]), np.concatenate([v, v[:3]]))),
    "copies": ("repeated_predictions", lambda j, v: (np.concatenate([j[:-3], j[:3]]), np.concatenate([v[:-3], v[:3]]))),
    "too few": ("wrong_count", lambda j, v: (j[:-1], v[:-1])),
    "lists differ": ("wrong_count", lambda j, v: (j, v[:-1])),
    "left hands": ("mirrored_hand", lambda j, v: (j * [-1, 1, 1], v * [-1, 1, 1])),
    "root added twice": ("odd_depth", lambda j, v: (j + 7 * j[:, :1], v + 7 * j[:, :1])),
    "one root lost": ("odd_depth", lambda j, v: (spoil_first(j, j), spoil_first(v, j))),
    "zeros": ("all_zero", lambda j, v: (0 * j, 0 * v)),
    "coarse": ("other_topology", lambda j, v: (j, v[:, ::4])),
    "shape": ("wrong_shape", lambda j, v: (j.reshape(COUNT, 63), v)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_named(mistake: str) -> None:
    expected, inject = MISTAKES[mistake]
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    found = names(*inject(hands.joints, hands.vertices))
    assert expected in found
    side_effects = {"padded": {"repeated_predictions"}, "zeros": {"repeated_predictions"}}
    assert set(found) - side_effects.get(mistake, set()) == {expected}


def _of_joint(row: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda joints, vertices: joints[:, row : row + 1]


ORIGINS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    **{name: _of_joint(row) for row, name in enumerate(ORDERS["ho3d"])},
    "centre of the joints": lambda j, v: j.mean(axis=1, keepdims=True),
    "centre of the mesh": lambda j, v: v.mean(axis=1, keepdims=True),
    "a vertex": lambda j, v: v[:, 700:701],
    "the middle of the palm": lambda j, v: (j[:, :1] + j[:, 4:5]) / 2,
}


@pytest.mark.parametrize("noise", [0.0, 0.008, 0.02])
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("protocol", ["ho3d_v2", "freihand"])
def test_relative_to_any_point_of_the_hand(protocol: Any, origin: str, noise: float) -> None:
    """Also where the network predicts that point with an error: the axes are not to blame."""
    hands = make_hands(COUNT, benchmark_named(protocol))
    shift = ORIGINS[origin](hands.joints, hands.vertices)
    shift = shift + np.random.default_rng(1).normal(0, noise, (COUNT, 1, 3))
    for scale, others in ((1, []), (1000, ["wrong_unit"])):
        joints, vertices = scale * (hands.joints - shift), scale * (hands.vertices - shift)
        assert names(joints, vertices, protocol) == ["root_relative", *others]


@pytest.mark.parametrize("mistake", ["opencv axes", "millimetres", "left hands", "root added twice"])
def test_noise_changes_no_diagnosis(mistake: str) -> None:
    expected, inject = MISTAKES[mistake]
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    shift = np.random.default_rng(2).normal(0, 0.02, (COUNT, 1, 3))
    jitter = np.random.default_rng(3).normal(0, 0.003, hands.joints.shape)
    assert names(*inject(hands.joints + shift + jitter, hands.vertices + shift)) == [expected]


def test_hands_of_an_odd_size_are_not_called_relative() -> None:
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    joints, vertices = (hands.joints[:, :1] + 5 * (x - hands.joints[:, :1]) for x in (hands.joints, hands.vertices))
    assert set(names(joints, vertices)) <= {"odd_size", "behind_camera"}
    assert set(names(joints * [1, -1, -1], vertices * [1, -1, -1])) == {"wrong_axes", "odd_size"}
    small = [0.1 * (x - hands.joints[:, 4:5]) for x in (hands.joints, hands.vertices)]
    assert set(names(*small)) == {"root_relative", "odd_size"}


def test_what_to_do_is_said() -> None:
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    (finding,) = lint(1000 * hands.joints, 1000 * hands.vertices, benchmark_named("ho3d_v2"), COUNT)
    assert finding.fix == "Divide by 1000."
    assert finding.severity == "error"
    padded = lint(*MISTAKES["padded"][1](hands.joints, hands.vertices), benchmark_named("ho3d_v2"), COUNT)
    assert "sampler" in padded[0].fix
    assert "expected 11524" in lint(hands.joints, hands.vertices, benchmark_named("ho3d_v2"))[0].message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(value: float) -> None:
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    hands.vertices[7, 3, 1] = value
    (finding,) = lint(hands.joints, hands.vertices, benchmark_named("ho3d_v2"), COUNT)
    assert finding.name == "not_finite"
    assert "number 7" in finding.message


def test_freihand_in_opengl_axes() -> None:
    hands = make_hands(COUNT, benchmark_named("freihand"))
    assert names(hands.joints * [1, -1, -1], hands.vertices * [1, -1, -1], "freihand") == ["wrong_axes"]
    hands.joints[3] *= [1, -1, -1]
    hands.vertices[3] *= [1, -1, -1]
    assert names(hands.joints, hands.vertices, "freihand") == ["behind_camera"]


@pytest.mark.parametrize(
    ("protocol", "written"),
    [("ho3d_v2", "handlit"), ("ho3d_v2", "rhd"), ("freihand", "ho3d"), ("freihand", "rhd")],
)
def test_joints_in_another_known_order(protocol: Any, written: Any) -> None:
    order = benchmark_named(protocol).joint_order
    hands = make_hands(COUNT, benchmark_named(protocol))
    joints = hands.joints[:, permutation(order, ORDERS[written])]
    findings = [f for f in lint(joints, hands.vertices, benchmark_named(protocol), COUNT) if f.name == "joint_order"]
    assert len(findings) == 1
    named: Any = findings[0].message.split("'")[-2]
    assert ORDERS[written] == ORDERS[named]


@pytest.mark.parametrize("protocol", ["ho3d_v2", "freihand"])
@pytest.mark.parametrize(
    ("first", "second"), [("ring", "pinky"), ("index", "middle"), ("thumb", "pinky"), ("index", "pinky")]
)
def test_swapped_fingers(protocol: Any, first: str, second: str) -> None:
    order = benchmark_named(protocol).joint_order
    hands = make_hands(COUNT, benchmark_named(protocol))
    joints = hands.joints[:, swap(order, first, second)]
    (finding,) = lint(joints, hands.vertices, benchmark_named(protocol), COUNT)
    assert finding.name == "joint_order"
    assert first in finding.message
    assert second in finding.message


def test_tips_in_the_finger_order_of_mano() -> None:
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    written = ORDERS["ho3d"][:16] + tuple(f"{f}_4" for f in ("index", "middle", "pinky", "ring", "thumb"))
    joints = hands.joints[:, permutation(ORDERS["ho3d"], written)]
    (finding,) = lint(joints, hands.vertices, benchmark_named("ho3d_v2"), COUNT)
    assert finding.name == "joint_order"
    assert "tips in MANO's finger order" in finding.message


def test_tips_of_another_convention() -> None:
    hands = make_hands(COUNT, benchmark_named("ho3d_v2"))
    tips = permutation(ORDERS["ho3d"], JOINTS)[4::4]
    hands.joints[:, tips] += 0.003
    hands.vertices[:, list(TIP_VERTICES["manopth"])] = hands.joints[:, tips]
    (finding,) = lint(hands.joints, hands.vertices, benchmark_named("ho3d_v2"), COUNT)
    assert finding.name == "tip_convention"
    assert finding.severity == "warning"
    assert "'manopth'" in finding.message
