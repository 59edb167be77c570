import torch

from handlit.methods.method import Losses
from handlit.methods.pixel_lift import PixelLift, PixelLiftWeights
from handlit.models.backbones import Backbone
from handlit.models.lift import LiftNetwork
from handlit.models.pixel_lift import PixelLiftNetwork
from handlit.types import HandBatch, collate
from tests.methods.hands import SIZE, hand_batch, hand_samples
from tests.models.test_lift import SMALL


def method(**settings: object) -> PixelLift:
    torch.manual_seed(0)
    network = PixelLiftNetwork(Backbone("resnet10t", maps=True), LiftNetwork(**SMALL), width=16)
    return PixelLift(network, image_size=SIZE, **settings)  # type: ignore[arg-type]


def losses(module: PixelLift, batch: HandBatch) -> Losses:
    return module.losses(module.infer(module.observe(batch)), batch)


def test_it_learns_where_joints_are_and_what_hand_they_mean() -> None:
    module, batch = method(), hand_batch(8)
    before = losses(module, batch).terms
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        losses(module, batch).total.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 50.0)
        optimizer.step()
    after = losses(module, batch).terms
    for name in ("cells", "keypoints", "distance", "rotation", "hand", "joints"):
        assert after[name] < before[name] - 0.1 * before[name].abs(), name


def test_bfloat16_changes_its_terms_little() -> None:
    module, batch = method().train(), hand_batch(8)
    with torch.no_grad():
        single = losses(module, batch).terms
    with torch.autocast("cpu", torch.bfloat16):
        half = losses(module, batch)
    half.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())
    for name, term in half.terms.items():
        assert (term - single[name]).abs() < 0.05 * single[name].abs() + 0.05, name


def test_2d_labels_alone_leave_the_lifting_network_as_it_is() -> None:
    module = method(supervision="2d")
    losses(module, hand_batch(4)).total.backward()
    assert all(p.grad is None or not p.grad.any() for p in module.network.lifter.parameters())
    assert any(p.grad is not None and p.grad.any() for p in module.network.keypoints.parameters())


def test_the_likelihood_of_hands_moves_the_keypoints() -> None:
    off = PixelLiftWeights(cells=0, keypoints=0, distance=0, seen=0)
    module = method(weights=off)
    losses(module, hand_batch(4)).total.backward()
    assert any(p.grad is not None and p.grad.any() for p in module.network.keypoints.merge.parameters())


def test_how_far_joints_are_trusted_is_learned_from_their_own_errors_alone() -> None:
    off = PixelLiftWeights(cells=0, keypoints=0, distance=0, seen=0)
    module = method(weights=off)
    losses(module, hand_batch(4)).total.backward()
    beside = [p.grad for p in module.network.keypoints.beside.parameters()]
    assert all(gradient is None or not gradient.any() for gradient in beside)
    module = method()
    losses(module, hand_batch(4)).total.backward()
    gradient = module.network.keypoints.beside.weight.grad
    assert gradient is not None
    assert gradient.any()


def test_images_without_labels_are_ignored_and_leave_gradients_finite() -> None:
    module, batch = method().eval(), hand_batch(4)
    wanted = losses(module, collate(hand_samples(4)[:2]))
    for name in ("pose", "betas", "root_cam", "joints_cam", "joints_2d"):
        batch.valid[name] = torch.arange(4) < 2
        getattr(batch, name)[2:] = torch.nan if name == "joints_2d" else 0
    found = losses(module, batch)
    for name, term in wanted.terms.items():
        torch.testing.assert_close(found.terms[name], term, atol=2e-3, rtol=1e-3)
    found.total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


@torch.no_grad()
def test_a_prediction_is_of_the_crop_s_camera_and_of_no_label() -> None:
    module, batch = method().eval(), hand_batch(3)
    module.network.keypoints.beside.bias.normal_()
    first = module(module.observe(batch))
    blank = hand_batch(3, labelled=False)
    blank.image, blank.intrinsics = batch.image, batch.intrinsics
    torch.testing.assert_close(module(module.observe(blank)).joints_root, first.joints_root)
    batch.intrinsics[:, 0, 0] *= 2
    assert (module(module.observe(batch)).joints_root - first.joints_root).abs().max() > 1e-4
    drawn = first.distribution.hypotheses(5, density=True)
    assert drawn.joints_root.shape == (3, 5, 21, 3)
    assert drawn.log_prob.shape == (3, 5)


@torch.no_grad()
def test_at_the_start_the_image_s_feature_adds_nothing_to_its_keypoints() -> None:
    module, batch = method().eval(), hand_batch(2)
    output = module.infer(module.observe(batch))
    keypoints, steps = output.keypoints, output.hands.steps
    expected = module.network.lifter(steps.view, steps.confidence)  # type: ignore[attr-defined]
    torch.testing.assert_close(expected.rotation.means, steps.rotation.means)
    assert (steps.confidence >= 0.05).all()  # type: ignore[attr-defined]
    widest = keypoints.scale.argmax(1)
    assert (steps.confidence.gather(1, widest[:, None])[:, 0] <= steps.confidence.amin(1)).all()  # type: ignore[attr-defined]


@torch.no_grad()
def test_the_graph_gives_what_the_method_gives() -> None:
    module = method().eval()
    graph = module.graph()
    inputs = graph.example(2, 3)
    outputs = dict(zip([port.name for port in graph.outputs], graph(*inputs), strict=True))
    prediction = module(module.of_crops(*inputs[:2]))
    torch.testing.assert_close(outputs["joints_root"], prediction.joints_root)
    assert outputs["hypotheses_joints_root"].shape == (2, 3, 21, 3)
