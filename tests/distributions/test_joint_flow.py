import torch

from handlit.distributions.joint_flow import JointFlow


def test_a_log_scale_is_bounded_whatever_the_condition_is() -> None:
    """A hand that was drawn far off must not blow up the next step."""
    torch.manual_seed(0)
    flow = JointFlow(6, condition_features=4, hidden=16, couplings=2)
    z = torch.randn(5, 3, 6)
    with torch.no_grad():
        _, log_determinant = flow(1e4 * torch.randn(3, 4)).push(z)
    # three coordinates move by at most e in each coupling; the triangular map's diagonal is within e^3
    assert log_determinant.abs().max() <= 2 * 3 + 6 * 3


def test_coordinates_correlate_even_without_couplings() -> None:
    """The triangular map at the end: its covariance is any that there is."""
    torch.manual_seed(0)
    flow = JointFlow(4, condition_features=3, hidden=8, couplings=1)
    torch.nn.init.zeros_(flow.couplings[0].out.weight)  # type: ignore[union-attr, arg-type]
    torch.nn.init.zeros_(flow.couplings[0].out.bias)  # type: ignore[union-attr, arg-type]
    torch.nn.init.normal_(flow.couplings[-1].out.bias)  # type: ignore[union-attr, arg-type]
    distribution = flow(torch.randn(1, 3))
    with torch.no_grad():
        correlation = torch.corrcoef(distribution.sample((4000,))[:, 0].mT)
        jacobian = torch.autograd.functional.jacobian(lambda z: distribution.push(z[None])[0][0], torch.zeros(4))
    assert (correlation - torch.eye(4)).abs().max() > 0.1
    assert (jacobian.triu(1) == 0).all()
    covariance = jacobian @ jacobian.mT
    expected = covariance / covariance.diagonal().sqrt().outer(covariance.diagonal().sqrt())
    torch.testing.assert_close(correlation, expected, atol=0.06, rtol=0)


def test_every_coordinate_depends_on_every_other() -> None:
    torch.manual_seed(0)
    flow = JointFlow(6, condition_features=4, hidden=16, couplings=4)
    distribution = flow(torch.randn(1, 4))
    jacobian = torch.autograd.functional.jacobian(lambda z: distribution.push(z[None])[0][0], torch.randn(6))
    assert (jacobian.abs() > 0).all()
