import pytest
import roma
import torch

from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.methods.lift_terms import LiftWeights, fully_labelled, lift_terms
from tests.methods.test_lift import few_poses, labelled, method

__all__ = ["few_poses"]


@torch.no_grad()
def test_distances_are_those_of_the_estimate_in_the_likely_orientation() -> None:
    lift, batch = method().eval(), labelled(6)
    output = lift.infer(lift.observe(batch))
    terms = lift_terms(output, batch)
    true = output.view.rotation.mT @ roma.rotvec_to_rotmat(batch.pose[:, :3])
    density = output.rotation.logits.log_softmax(-1) + output.rotation.component_log_prob(true)
    for number in range(6):
        row = density[number].tolist()
        best = row.index(max(row))
        estimate = output.at(output.rotation.means[:, best])
        assert estimate.root_cam is not None
        apart = estimate.joints_root[number, 0] - (batch.joints_cam[number] - batch.root_cam[number])
        torch.testing.assert_close(terms["joints"][number], 1000 * apart.norm(dim=-1).mean(), rtol=1e-4, atol=1e-3)
        shown = project(estimate.joints_root[:, 0] + estimate.root_cam[:, 0, None], batch.intrinsics)[number]
        pixels = (shown - batch.joints_2d[number]).norm(dim=-1)
        box = (output.view.size[number] * batch.intrinsics[number, 0, 0]).item()
        # the virtual camera's plane is not the image's: a few per cent
        assert terms["reprojection"][number].item() == pytest.approx(min(100 * pixels.mean().item() / box, 50), rel=0.2)


@torch.no_grad()
def test_the_likelihood_is_that_of_the_labels() -> None:
    lift, batch = method().eval(), labelled(4)
    output = lift.infer(lift.observe(batch))
    before = lift_terms(output, batch)
    batch.betas = batch.betas + 5
    after = lift_terms(output, batch)
    assert (after["hand"] > before["hand"] + 10).all()
    torch.testing.assert_close(after["rotation"], before["rotation"])


def test_a_hand_that_lacks_a_label_is_not_fully_labelled() -> None:
    for name in ("pose", "betas", "root_cam", "joints_cam"):
        batch = labelled(3)
        batch.valid[name] = torch.tensor([True, False, True])
        assert fully_labelled(batch).tolist() == [True, False, True]


def test_negative_weights_are_refused() -> None:
    with pytest.raises(InputError, match="reprojection"):
        LiftWeights(reprojection=-1)
