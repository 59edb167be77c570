"""Joint names, the joint orders of every source, and the permutations between them.

Orders are lists of names; permutations are computed from the names and never typed in.

References:
    MANO's joints and tree: Romero et al., "Embodied Hands: Modeling and Capturing Hands and Bodies Together", 2017,
    https://doi.org/10.1145/3130800.3130883. Orders and tip vertices of the datasets: https://github.com/shreyashampali/ho3d
    and https://github.com/lmb-freiburg/freihand; of manopth: https://github.com/hassony2/manopth.
"""

from collections.abc import Sequence
from typing import Literal

FINGERS = ("thumb", "index", "middle", "ring", "pinky")

#: handlit's own order (also FreiHAND's and manopth's): wrist, then each finger from its base to its tip.
JOINTS: tuple[str, ...] = ("wrist", *(f"{finger}_{i}" for finger in FINGERS for i in (1, 2, 3, 4)))
NUM_JOINTS = len(JOINTS)
#: Position of the wrist: first in every joint order.
WRIST = 0

#: What is known of a finger without a scanner: codes of the label ``fingers``, -1 where nothing is.
FINGER_STATES: dict[str, int] = {"bent": 0, "stretched": 1, "touching": 2}

#: The fingers in MANO's order, which puts the pinky before the ring finger.
KINEMATIC_FINGERS = ("index", "middle", "pinky", "ring", "thumb")
#: The 16 joints of a MANO file, in its order.
KINEMATIC_JOINTS: tuple[str, ...] = ("wrist", *(f"{finger}_{i}" for finger in KINEMATIC_FINGERS for i in (1, 2, 3)))
#: Parent of each kinematic joint; the root's is -1.
KINEMATIC_PARENTS: tuple[int, ...] = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)

TIPS: tuple[str, ...] = tuple(f"{finger}_4" for finger in FINGERS)

JointOrder = Literal["handlit", "freihand", "ho3d", "mano_with_tips", "rhd"]

#: Every joint order that occurs in datasets, submissions and released weights.
ORDERS: dict[JointOrder, tuple[str, ...]] = {
    "handlit": JOINTS,
    "freihand": JOINTS,
    # HO-3D annotations and submissions: MANO's joints, then the finger tips thumb to pinky
    "ho3d": KINEMATIC_JOINTS + TIPS,
    "mano_with_tips": KINEMATIC_JOINTS + TIPS,
    # Rendered Handpose Dataset (and MHEntropy): each finger from its tip to its base
    "rhd": ("wrist", *(f"{finger}_{i}" for finger in FINGERS for i in (4, 3, 2, 1))),
}

#: The 20 bones as (parent, child) positions in handlit's order, finger by finger.
BONES: tuple[tuple[int, int], ...] = tuple(
    (0 if i == 1 else JOINTS.index(f"{finger}_{i - 1}"), JOINTS.index(f"{finger}_{i}"))
    for finger in FINGERS
    for i in (1, 2, 3, 4)
)

TipConvention = Literal["manopth", "amvur", "freihand", "ho3d"]

#: Vertex ids that stand for the finger tips (thumb, index, middle, ring, pinky), by source.
#: They are up to 6 mm apart on a MANO hand, so a dataset names the one that its labels were made with.
TIP_VERTICES: dict[TipConvention, tuple[int, int, int, int, int]] = {
    "manopth": (745, 317, 444, 556, 673),
    "amvur": (745, 317, 445, 556, 673),
    "freihand": (744, 320, 443, 555, 672),
    "ho3d": (744, 333, 444, 555, 672),
}


def permutation(source: Sequence[str], target: Sequence[str]) -> list[int]:
    """Indices that reorder an array from one joint order to another: ``array_target = array_source[permutation]``.

    Args:
        source: Joint names in the array's own order.
        target: Joint names in the order to bring it to.

    Returns:
        For each target joint its position in the source.

    Raises:
        ValueError: The two orders do not name the same joints.
    """
    if sorted(source) != sorted(target):
        raise ValueError(f"joint orders differ in their names: {sorted(set(source) ^ set(target))}")
    return [list(source).index(name) for name in target]


def reorder(source: JointOrder, target: JointOrder) -> list[int]:
    """Permutation between two named orders, see `permutation`."""
    return permutation(ORDERS[source], ORDERS[target])
