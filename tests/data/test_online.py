"""Hands rendered on the fly: labels belong to the pixels, and nothing but the seed decides what is drawn."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.nn.functional import max_pool2d

from handlit.cli import main
from handlit.data.loading.datamodule import add_vertices
from handlit.data.loading.sampling import TrainingSampler
from handlit.data.online import OnlineHands
from handlit.data.synthesis.online_scene import OnlineScene
from handlit.errors import InputError
from handlit.geometry.cameras import project
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.render import point_visibility
from handlit.skeleton import TipConvention
from handlit.types import OPTIONAL_LABELS, HandBatch

CONFIGS = Path(__file__).parents[2] / "configs"
SIZE, COUNT = 128, 12


def module(**options: Any) -> OnlineHands:
    settings: dict[str, Any] = {
        "image_size": SIZE,
        "batch_size": COUNT,
        "num_workers": 0,
        "epoch_samples": 12,
        "val_samples": COUNT,
    }
    data = OnlineHands(**{**settings, **options})
    data.setup("fit")
    return data


def scenes(data: OnlineHands) -> OnlineScene:
    return next(iter(data.val_dataloader()))


@pytest.fixture(scope="module")
def data() -> OnlineHands:
    return module()


@pytest.fixture(scope="module")
def batch(data: OnlineHands) -> HandBatch:
    return data.on_after_batch_transfer(scenes(data), 0)


def grown(mask: torch.Tensor, pixels: int) -> torch.Tensor:
    return max_pool2d(mask[:, None].float(), 2 * pixels + 1, 1, pixels)[:, 0].bool()


def test_every_label_is_there(batch: HandBatch) -> None:
    assert len(batch) == COUNT
    assert batch.image.shape == (COUNT, 3, SIZE, SIZE)
    assert batch.image.dtype == torch.uint8
    for name, (shape, dtype) in OPTIONAL_LABELS.items():
        value = getattr(batch, name)
        assert value.shape == (COUNT, *(shape or (SIZE, SIZE))), name
        assert value.dtype == dtype, name
        # nothing is detected in rendered hands, and nobody said which fingers they stretch
        assert batch.valid[name].all() == (name not in ("detected", "fingers")), name
    assert batch.key == [f"online/validation/{number}" for number in range(COUNT)]


@pytest.mark.parametrize("tips", ["ho3d", "freihand"])
def test_labels_are_the_hand_layers(tips: TipConvention) -> None:
    data = module(tips=tips, image_size=32)
    batch = data.on_after_batch_transfer(scenes(data), 0)
    hand = HandLayer(load_hand(), tips=tips, dtype=torch.float64)
    mesh = hand(batch.pose[:, 3:].double(), batch.betas.double(), batch.pose[:, :3].double())
    move = batch.root_cam[:, None] - mesh.joints[:, :1]
    torch.testing.assert_close(batch.vertices_cam, (mesh.vertices + move).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(batch.joints_cam, (mesh.joints + move).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(batch.joints_2d, project(batch.joints_cam, batch.intrinsics), atol=1e-3, rtol=0)
    # methods that fill in vertices where they are unknown would find the same ones
    batch.valid["vertices_cam"][:] = False
    before = batch.vertices_cam
    torch.testing.assert_close(add_vertices(batch, data.hand).vertices_cam, before, atol=1e-6, rtol=0)


def test_the_mask_is_the_projected_hand() -> None:
    """Drawn by another rasteriser; what is missing is under the object, or under the arm at the wrist."""
    data = module(occlusion=0.0)
    batch = data.on_after_batch_transfer(scenes(data), 0)
    uv = project(batch.vertices_cam, batch.intrinsics).numpy()
    for mask, points in zip(batch.hand_mask.numpy(), uv, strict=True):
        silhouette = np.zeros((SIZE, SIZE), np.uint8)
        for face in data.hand.faces.numpy():
            cv2.fillConvexPoly(silhouette, np.rint(points[face]).astype(np.int32), 1)
        assert mask.sum() > 0.03 * SIZE * SIZE
        assert not (mask & ~cv2.dilate(silhouette, np.ones((3, 3))).astype(bool)).any()
        assert mask.sum() > 0.7 * cv2.erode(silhouette, np.ones((3, 3))).sum()


def test_skin_is_painted_where_the_mask_says(data: OnlineHands) -> None:
    online = scenes(data)
    person = online.scene.person
    dark, bright = person.skin * 0 + 0.02, person.skin * 0 + 0.8
    # the arm takes its colours from the wrist's vertices
    wrist = data.renderer.renderer.wrist
    dark[:, wrist] = bright[:, wrist] = 0.2
    persons = [person._replace(skin=skin) for skin in (dark, bright)]
    rendered = [data.renderer(online._replace(scene=online.scene._replace(person=other))) for other in persons]
    difference = (rendered[1].image.int() - rendered[0].image.int()).amax(dim=1)
    mask = rendered[0].hand_mask
    assert (difference[~grown(mask, 1)] == 0).all()
    assert (difference[mask] > 10).float().mean() > 0.9


def test_vertices_are_seen_as_an_exact_test_sees_them(data: OnlineHands, batch: HandBatch) -> None:
    placed, _ = data.renderer.place(scenes(data))
    exact = point_visibility(batch.vertices_cam, placed.vertices, placed.faces, batch.intrinsics, (SIZE, SIZE))
    assert (exact == batch.vertices_visible).float().mean() > 0.97
    pixels = project(batch.vertices_cam, batch.intrinsics).round().long().clamp(0, SIZE - 1)
    rows = torch.arange(COUNT)[:, None].expand(-1, 778)
    on_hand = grown(batch.hand_mask, 2)[rows, pixels[..., 1], pixels[..., 0]][batch.vertices_visible]
    # what hides a vertex by less than the depth's tolerance may be drawn in its place
    assert on_hand.float().mean() > 0.995


def test_an_object_in_front_hides_joints() -> None:
    shares, covers = [], []
    for occlusion in (0.0, 1.0):
        data = module(occlusion=occlusion, image_size=64, val_samples=40, batch_size=40)
        batch = data.on_after_batch_transfer(scenes(data), 0)
        shares.append(batch.visible.float().mean().item())
        # joints that stay seen are on the hand in the image, not on the object
        pixels = batch.joints_2d.round().long().clamp(0, 63)
        rows = torch.arange(40)[:, None].expand(-1, 21)
        on_object = batch.object_mask[rows, pixels[..., 1], pixels[..., 0]]
        covers.append((on_object & batch.visible).sum().item() / batch.visible.sum().item())
    assert 0.5 < shares[0] < 0.95
    assert shares[1] < 0.75 * shares[0]
    assert covers[0] < 0.02
    assert covers[1] < 0.1


def epoch(data: OnlineHands, number: int) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    loader = data.train_dataloader()
    sampler = loader.sampler
    assert isinstance(sampler, TrainingSampler)
    sampler.set_epoch(number)
    found: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
    for batch in loader:
        images = data.on_after_batch_transfer(batch, 0).image
        found |= {
            key: (batch.scene.pose[row], batch.scene.background.noise[row], images[row])
            for row, key in enumerate(batch.key)
        }
    return found


def test_neither_workers_nor_batch_sizes_matter() -> None:
    one = epoch(module(batch_size=4, image_size=64), 0)
    two = epoch(module(batch_size=6, image_size=64, num_workers=2), 0)
    assert list(one) == list(two)
    for key, (pose, noise, image) in one.items():
        assert torch.equal(pose, two[key][0])
        assert torch.equal(noise, two[key][1])
        # sums over a batch of another size may round differently
        assert ((image.int() - two[key][2].int()).abs() > 1).float().mean() < 1e-3
    assert len(one) == 12
    assert len({tuple(pose.tolist()) for pose, *_ in one.values()}) == 12
    again, later = epoch(module(batch_size=4, image_size=64), 0), epoch(module(batch_size=4, image_size=64), 1)
    assert all(torch.equal(image, again[key][-1]) for key, (*_, image) in one.items())
    assert not set(later) & set(one)


def test_validation_does_not_depend_on_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    first = scenes(module())
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    assert torch.equal(first.scene.pose, scenes(module(epoch_samples=30)).scene.pose)


def test_bad_settings_are_explained() -> None:
    for options, message in (
        ({"epoch_samples": 0}, "epoch_samples"),
        ({"occlusion": 1.5}, "occlusion must be a number, at least 0 and at most 1"),
        ({"preset": "hard"}, "preset must be one of easy, full"),
        ({"margin": 0.5}, "margin"),
    ):
        with pytest.raises(InputError, match=message):
            module(**options)
    for stage in ("test", "predict"):
        with pytest.raises(InputError, match=f"nothing to {stage} on"):
            OnlineHands().setup(stage)


@pytest.mark.filterwarnings("ignore")
def test_a_method_trains_on_it(tmp_path: Path) -> None:
    options = (
        f"--run_dir {tmp_path / 'run'} --data.init_args.image_size 64 --data.init_args.num_workers 0 "
        "--data.init_args.batch_size 4 --data.init_args.epoch_samples 8 --data.init_args.val_samples 4 "
        "--trainer.max_epochs 1 --trainer.accelerator cpu --trainer.log_every_n_steps 1 "
        "--trainer.enable_progress_bar false --trainer.enable_model_summary false"
    )
    model, source = CONFIGS / "model" / "amvur_quickstart.yaml", CONFIGS / "data" / "online.yaml"
    main(["fit", "--model", str(model), "--data", str(source), *options.split()])
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
