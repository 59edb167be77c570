import numpy as np
import roma
import torch

from handlit.hand.layer import HandLayer
from handlit.models.prior_net import PriorNet, RegressionHead
from tests.hand.synthetic_mano import synthetic_mano


def net(seed: int = 0) -> PriorNet:
    torch.manual_seed(seed)
    hand = HandLayer(synthetic_mano(), pose_space="pca", num_components=30, flat_hand_mean=False)
    module = PriorNet(24, hand, hidden=16)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def test_mean_mesh_is_the_hand_layers_with_the_predicted_parameters() -> None:
    module = net()
    prior = module(torch.randn(3, 24))
    layer = HandLayer(synthetic_mano())
    pose = prior.pose
    assert pose.shape == (3, 48)
    mesh = layer(pose[:, 3:], prior.betas, global_orient=pose[:, :3])
    expected = mesh.vertices - mesh.joints[:, :1]
    torch.testing.assert_close(prior.distribution.mean, expected, rtol=1e-4, atol=1e-5)


def test_finger_pose_is_the_mean_plus_components() -> None:
    asset, module = synthetic_mano(), net()
    feature = torch.randn(3, 24)
    coefficients = module.pose_head(feature).detach().double().numpy()
    expected = asset.pose_mean + coefficients @ asset.pose_components[:30]
    np.testing.assert_allclose(module(feature).finger_pose.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_every_parameter_matters() -> None:
    module = net()
    prior = module(torch.randn(3, 24))
    (prior.distribution.mean.square().sum() + prior.distribution.stddev.sum()).backward()
    dead = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


def test_untrained_prior_is_the_mean_hand_at_rest() -> None:
    torch.manual_seed(0)
    hand = HandLayer(synthetic_mano(), pose_space="pca", num_components=30, flat_hand_mean=False)
    prior = PriorNet(24, hand, initial_scale=0.02)(torch.randn(3, 24))
    rest = hand(torch.zeros(30))
    expected = (rest.vertices - rest.joints[:1]).expand(3, -1, -1)
    torch.testing.assert_close(prior.distribution.mean, expected, rtol=0, atol=5e-3)
    torch.testing.assert_close(prior.distribution.stddev, torch.full((3, 778, 3), 0.02), rtol=0.1, atol=0)


def test_rotation_is_proper() -> None:
    rotation = net()(torch.randn(8, 24)).rotation
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(8, 3, 3), rtol=0, atol=1e-5)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(8))
    assert roma.is_rotation_matrix(rotation, epsilon=1e-4)


def test_heads_are_not_linear() -> None:
    torch.manual_seed(0)
    head = RegressionHead(6, 16, [0.0, 1.0])
    x, y = torch.randn(2, 6)
    assert not torch.allclose(head(x) + head(y), head(x + y) + head(torch.zeros(6)), rtol=0, atol=1e-6)
    torch.testing.assert_close(head(x), torch.tensor([0.0, 1.0]), rtol=0, atol=0.02)
