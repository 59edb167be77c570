import torch

from handlit.geometry.bone_relative import bone_relative


def test_bone_relative_poses_forget_place_and_size() -> None:
    joints = torch.randn(4, 21, 3)
    relative, length = bone_relative(joints)
    again, longer = bone_relative(2.5 * joints + torch.randn(4, 1, 3))
    torch.testing.assert_close(relative, again, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(longer, 2.5 * length)
    torch.testing.assert_close((relative[:, 10] - relative[:, 9]).norm(dim=-1), torch.ones(4))
