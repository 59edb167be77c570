import itertools

import numpy as np
import pytest

from handlit.skeleton import (
    BONES,
    JOINTS,
    KINEMATIC_JOINTS,
    KINEMATIC_PARENTS,
    ORDERS,
    TIP_VERTICES,
    JointOrder,
    permutation,
    reorder,
)


@pytest.mark.parametrize(("source", "target"), [*itertools.product(ORDERS, repeat=2)])
def test_every_order_is_brought_to_every_other_by_name(source: JointOrder, target: JointOrder) -> None:
    array = np.array(ORDERS[source])
    there = reorder(source, target)
    assert tuple(array[there]) == ORDERS[target]
    assert tuple(array[there][reorder(target, source)]) == ORDERS[source]


def test_the_wrist_is_first_and_every_joint_named_once() -> None:
    for order in ORDERS.values():
        assert order[0] == "wrist"
        assert len(order) == len(set(order)) == 21


def test_bones_lead_from_the_wrist_to_the_tips() -> None:
    assert len(BONES) == 20
    assert sorted(child for _, child in BONES) == list(range(1, 21))
    for parent, child in BONES:
        finger, number = JOINTS[child].split("_")
        assert JOINTS[parent] == ("wrist" if number == "1" else f"{finger}_{int(number) - 1}")


def test_each_kinematic_joint_follows_its_parent() -> None:
    for joint, parent in zip(KINEMATIC_JOINTS[1:], KINEMATIC_PARENTS[1:], strict=True):
        finger, number = joint.split("_")
        assert KINEMATIC_JOINTS[parent] == ("wrist" if number == "1" else f"{finger}_{int(number) - 1}")


def test_tips_are_five_vertices_of_the_mesh() -> None:
    for tips in TIP_VERTICES.values():
        assert len(set(tips)) == 5
        assert all(0 <= vertex < 778 for vertex in tips)


def test_orders_of_other_joints_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['elbow', 'wrist'\]"):
        permutation(["wrist", "thumb_1"], ["elbow", "thumb_1"])
