import torch

from handlit.hand.chains import FingerChains
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.standin import load_standin


def posed(count: int = 40) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    layer = HandLayer(load_standin(), pose_space="matrix")
    fingers = JointAngles().matrices(torch.randn(count, 27))
    betas, ratios = torch.randn(count, 10), (0.05 * torch.randn(count, 20)).exp()
    joints = layer.joints_only(fingers, betas, ratios=ratios)
    chains = FingerChains(layer)
    return joints - joints[:, :1], *chains.pose(chains.bones(betas, ratios), fingers), fingers


def test_joints_are_the_layer_s_and_tips_the_ends_of_rigid_bones() -> None:
    joints, chains, _, _ = posed()
    apart = 1000 * (joints - chains).norm(dim=-1)
    tips = [4, 8, 12, 16, 20]
    assert apart[:, [i for i in range(21) if i not in tips]].max() < 1e-3
    assert apart[:, tips].max() < 3
    assert apart[:, tips].mean() < 0.5


def test_axes_are_those_in_which_a_joint_s_rotation_moves_what_follows() -> None:
    """Turning one joint turns the bone after it about the frame in which the joint's rotation is stated."""
    _, joints, frames, fingers = posed(3)
    bone = joints[:, 7] - joints[:, 6]  # index finger, from its second joint to its third
    flat = FingerChains(HandLayer(load_standin(), pose_space="matrix"))
    rest = flat.bones(torch.zeros(3, 10), torch.ones(3, 20))[:, 1, 2]
    direction = (frames[:, 1, 1] @ fingers[:, 1] @ rest[..., None])[..., 0]
    cosine = torch.nn.functional.cosine_similarity(bone, direction)
    # shape changes directions of bones by a little
    assert cosine.min() > 0.99
    torch.testing.assert_close(frames[:, 0], torch.eye(3).expand(3, 5, 3, 3))


def test_gradients_reach_the_angles() -> None:
    layer = HandLayer(load_standin(), pose_space="matrix")
    free, chains = torch.zeros(1, 27, requires_grad=True), FingerChains(layer)
    joints, _ = chains.pose(chains.bones(torch.zeros(1, 10), torch.ones(1, 20)), JointAngles().matrices(free))
    (joints**2).sum().backward()
    assert free.grad is not None
    assert (free.grad.abs() > 0).any()
