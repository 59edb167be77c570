import torch

from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.labels import image_labels, mesh_labels
from handlit.types import collate
from tests.methods.hands import hand_batch, hand_samples


def matrix() -> torch.Tensor:
    return HandLayer(load_hand(None), tips="ho3d").joint_matrix


def test_joints_are_regressed_from_the_mesh_and_projected() -> None:
    batch, regressor = hand_batch(), matrix()
    labels = mesh_labels(batch, regressor)
    joints = torch.einsum("jv,bvc->bjc", regressor, batch.vertices_cam)
    torch.testing.assert_close(labels.joints_root, joints - joints[:, :1], rtol=0, atol=1e-6)
    torch.testing.assert_close(labels.joints_2d, project(joints, batch.intrinsics), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(labels.vertices_root + batch.root_cam[:, None], batch.vertices_cam)
    assert labels.any_valid.all()


def test_images_without_a_mesh_keep_the_datasets_joints() -> None:
    samples = hand_samples(3)
    samples[1].vertices_cam = None
    samples[2].vertices_cam = samples[2].joints_cam = samples[2].root_cam = None
    batch = collate(samples)
    labels = mesh_labels(batch, matrix())
    assert labels.vertices_valid.tolist() == [True, False, False]
    assert labels.joints_valid.tolist() == [True, True, False]
    assert labels.joints_2d_valid.tolist() == [True, True, True]
    torch.testing.assert_close(labels.joints_root[1], batch.joints_cam[1] - batch.joints_cam[1, :1])
    torch.testing.assert_close(labels.joints_2d[1:], batch.joints_2d[1:])
    assert labels.joints_2d.isfinite().all()


def test_an_unlabelled_image_is_marked_so() -> None:
    labels = mesh_labels(hand_batch(labelled=False), matrix())
    assert not labels.any_valid.any()


def test_a_mesh_that_reaches_behind_the_camera_has_no_projection() -> None:
    batch = hand_batch(2)
    batch.vertices_cam[1, :, 2] -= 1.0
    labels = mesh_labels(batch, matrix())
    assert labels.vertices_valid.all()
    assert labels.joints_2d_valid.tolist() == [True, False]
    assert labels.joints_2d.isfinite().all()


def test_image_labels_are_the_datasets_own() -> None:
    samples = hand_samples(4)
    seen = torch.arange(21) < 7
    samples[0].visible = seen
    samples[1].visible = torch.zeros(21, dtype=torch.bool)
    samples[2].joints_2d = None
    batch = collate(samples)
    every = image_labels(batch)
    assert torch.equal(every.joints_2d, batch.joints_2d)
    assert every.valid.all(1).tolist() == [True, True, False, True]
    labels = image_labels(batch, visible_only=True)
    assert torch.equal(labels.valid[0], seen)
    # hidden altogether, without 2D joints, without a word on visibility
    assert labels.any_valid.tolist() == [True, False, False, True]
    assert labels.valid[3].all()


def test_joints_weigh_by_their_confidence() -> None:
    samples = hand_samples(4)
    confidence = torch.linspace(0, 1, 21)
    for sample in samples[:3]:
        sample.confidence = confidence
    samples[1].joints_2d = None
    samples[2].vertices_cam = samples[2].joints_cam = samples[2].root_cam = None
    samples[0].visible = torch.arange(21) < 7
    batch = collate(samples)
    weight = image_labels(batch).weight
    torch.testing.assert_close(weight, torch.stack([confidence, torch.zeros(21), confidence, torch.ones(21)]))
    seen = image_labels(batch, visible_only=True)
    torch.testing.assert_close(seen.weight[0], confidence * samples[0].visible)
    assert seen.valid[0].nonzero().flatten().tolist() == list(range(1, 7))
    # a mesh tells its joints exactly, whatever a detector thought of them
    labels = mesh_labels(batch, matrix())
    ones = torch.ones(21)
    torch.testing.assert_close(labels.joints_2d_weight, torch.stack([ones, ones, confidence, ones]))
    batch.confidence.zero_()
    assert mesh_labels(batch, matrix()).joints_2d_valid.tolist() == [True, True, False, True]
    assert image_labels(batch).any_valid.tolist() == [False, False, False, True]
