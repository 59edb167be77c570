"""The frame and unit that MHEntropy compares hands in: a bone of the middle finger.

References:
    Chen et al., "MHEntropy: Entropy Meets Multiple Hypotheses for Pose and Shape Recovery", ICCV 2023;
    https://github.com/GloryyrolG/MHEntropy at commit 2a4c775.
"""

from torch import Tensor

from handlit.skeleton import JOINTS

#: The middle finger's base, which joints are relative to, and the end of the bone that is their unit.
BONE_ROOT, BONE_END = JOINTS.index("middle_1"), JOINTS.index("middle_2")


def bone_relative(joints: Tensor) -> tuple[Tensor, Tensor]:
    """Joints relative to the middle finger's base and in units of its first bone.

    Args:
        joints: (..., 21, 3) in any unit.

    Returns:
        (..., 21, 3) without unit, and the bone's length (...,) in the joints' unit.
    """
    relative = joints - joints[..., BONE_ROOT : BONE_ROOT + 1, :]
    length = relative[..., BONE_END, :].norm(dim=-1)
    return relative / length[..., None, None], length
