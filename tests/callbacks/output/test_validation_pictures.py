"""Pictures of validation images, whatever the validation set has, and a training that does not notice them."""

import types
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import trimesh
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Dataset

from handlit.callbacks import MovingAverage, ValidationPictures
from handlit.callbacks.output import validation_pictures
from handlit.data.ho3d import HO3D
from handlit.errors import InputError
from handlit.hand.asset import HandAsset
from handlit.methods import AMVUR, MeanHand
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandSample, collate
from tests.callbacks.conftest import LoggedRun
from tests.methods.hands import SIZE, hand_samples, loader

NOISE = pytest.mark.filterwarnings("ignore:.*(num_workers|val_dataloader|srun|eval mode|litlogger|LeafSpec|exceeds)")
FILES = {"predictions.png", "hypotheses.png", "reliability.png"}


class Draws(MeanHand):
    """Notes the random numbers that are left to each epoch of training."""

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self.noted = [*getattr(self, "noted", []), float(torch.rand(()))]


def train(folder: Path, data: Path, **settings: Any) -> Draws:
    module = HO3D(str(data), image_size=32, crop="plain", batch_size=4, num_workers=0, val_fraction=0.1)
    pl.seed_everything(0, verbose=False)
    method = Draws(image_size=32)
    fit(folder, method, module, ValidationPictures(**settings))
    return method


def fit(folder: Path, method: MeanHand, data: Any, pictures: ValidationPictures, **settings: Any) -> None:
    quiet(folder, [pictures], **settings).fit(method, data)


def quiet(folder: Path, callbacks: list[pl.Callback], **settings: Any) -> pl.Trainer:
    return pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 3, "logger": False, **settings},
    )


def test_pictures_and_meshes_are_of_the_right_epochs_and_hands(logged_run: LoggedRun) -> None:
    media = logged_run.folder / "media"
    # the default is every tenth epoch and the last
    assert [path.name for path in media.iterdir()] == ["epoch_0001"]
    (epoch,) = media.iterdir()
    assert {path.name for path in epoch.glob("*.png")} == FILES
    sheet = cv2.imread(str(epoch / "predictions.png"))
    assert sheet.shape == (28 + 4 * 228, 5 * 228, 3)
    for path in epoch.glob("*.glb"):
        mesh: Any = trimesh.load(path, force="mesh", process=False)
        assert mesh.vertices.shape == (778, 3)
        assert 0.1 < np.ptp(mesh.vertices, axis=0).max() < 0.3
    assert len(list(epoch.glob("*.glb"))) == 4


def test_training_is_the_same_with_and_without_pictures(logged_run: LoggedRun, tmp_path: Path) -> None:
    drawn = train(tmp_path / "drawn", logged_run.data, every_n_epochs=2, count=50, num_hypotheses=3)
    plain = train(tmp_path / "plain", logged_run.data, every_n_epochs=0)
    assert not (tmp_path / "plain" / "media").exists()
    assert drawn.noted == plain.noted
    epochs = sorted((tmp_path / "drawn" / "media").iterdir())
    assert [path.name for path in epochs] == ["epoch_0001", "epoch_0002"]
    # fewer images than hands asked for; the same draws of the same answer each time: one epoch is MeanHand's training
    rows = {path.name: cv2.imread(str(path / "hypotheses.png")) for path in epochs}
    assert 28 < rows["epoch_0001"].shape[0] < 28 + 50 * 228
    np.testing.assert_array_equal(rows["epoch_0001"], rows["epoch_0002"])


class Photographs(Dataset[HandSample]):
    """Images without labels."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> HandSample:
        camera = torch.tensor([[50.0, 0, 15.5], [0, 50, 15.5], [0, 0, 1]])
        image = torch.full((3, 32, 32), 100, dtype=torch.uint8)
        return HandSample(f"a/{index}", index, image, camera, torch.eye(3)[:2])


def test_without_labels_there_is_no_reliability(tmp_path: Path, logged_run: LoggedRun) -> None:
    loader = DataLoader(Photographs(), batch_size=2, collate_fn=collate)
    method = train(tmp_path / "labelled", logged_run.data, every_n_epochs=0)
    trained = {name: value.clone() for name, value in method.state_dict().items()}
    module = HO3D(str(logged_run.data), image_size=32, crop="plain", batch_size=4, num_workers=0, val_fraction=0.1)
    module.val_dataloader = lambda: loader  # type: ignore[method-assign]
    fit(tmp_path / "photos", method, module, ValidationPictures(every_n_epochs=3))
    (epoch,) = (tmp_path / "photos" / "media").iterdir()
    assert {path.name for path in epoch.glob("*.png")} == FILES - {"reliability.png"}
    assert len(list(epoch.glob("*.glb"))) == 3
    assert trained.keys() == method.state_dict().keys()


def test_a_full_disk_ends_no_training(
    tmp_path: Path, logged_run: LoggedRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(validation_pictures, "write_image", full)
    method = train(tmp_path, logged_run.data)
    assert len(method.noted) == 3
    assert "No space left" in caplog.text


def test_a_full_device_ends_no_training(
    tmp_path: Path, logged_run: LoggedRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(validation_pictures, "_predictions", full)
    method = train(tmp_path, logged_run.data, every_n_epochs=1)
    assert len(method.noted) == 3
    # in training's mode, as before
    assert method.training
    assert caplog.text.count("OutOfMemoryError: CUDA out of memory") == 3


class Tiny(AMVUR):
    """Trained by gradients; notes a weight in each validation."""

    def __init__(self) -> None:
        super().__init__(network, image_size=SIZE)
        self.validated: list[torch.Tensor] = []

    def validation_step(self, batch: HandBatch, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.validated.append(weight(self))


def network(asset: HandAsset, tips: TipConvention) -> AMVURNetwork:
    return AMVURNetwork(asset, tips, Backbone("resnet10t"), hidden=(32, 16, 8), layers=1, head_hidden=64)


def weight(method: pl.LightningModule) -> torch.Tensor:
    return next(method.parameters()).detach().clone()


class Drawn(ValidationPictures):
    """Notes what is drawn, and draws two by two black pixels."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.drawn: list[torch.Tensor] = []
        self.steps: list[int] = []

    def _draw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> tuple[dict[str, np.ndarray], list[Any]]:
        assert not pl_module.training
        assert not torch.is_grad_enabled()
        self.drawn.append(weight(pl_module))
        self.steps.append(trainer.global_step)
        return {"black": np.zeros((2, 2, 3), np.uint8)}, []


class Stops(pl.Callback):
    """Ends training in the second epoch, as early stopping and max_time do."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == 3


@pytest.mark.parametrize(
    ("every", "settings", "stop", "steps", "folders"),
    [
        (2, {}, False, [4, 6], ["epoch_0001", "epoch_0002"]),
        (3, {}, False, [6], ["epoch_0002"]),
        (10, {"max_epochs": -1, "max_steps": 3}, False, [3], ["epoch_0001"]),
        (10, {"max_steps": 1}, False, [1], ["epoch_0000"]),
        (1, {}, True, [2, 3], ["epoch_0000", "epoch_0001"]),
        (10, {"limit_val_batches": 0}, False, [], None),
        (0, {}, False, [], None),
    ],
)
@NOISE
def test_the_last_state_is_drawn_once_whatever_ends_the_training(
    every: int, settings: dict[str, int], stop: bool, steps: list[int], folders: list[str] | None, tmp_path: Path
) -> None:
    pictures = Drawn(every_n_epochs=every)
    trainer = quiet(tmp_path, [pictures, *([Stops()] if stop else [])], num_sanity_val_steps=0, **settings)
    trainer.fit(Tiny(), loader(hand_samples(4), 2), loader(hand_samples(2, seed=1), 2))
    assert pictures.steps == steps
    media = tmp_path / "media"
    assert folders == (sorted(path.name for path in media.iterdir()) if media.exists() else None)


@NOISE
def test_averaged_weights_are_drawn_as_they_were_measured(tmp_path: Path) -> None:
    method, pictures = Tiny(), Drawn(every_n_epochs=1)
    trainer = quiet(tmp_path, [MovingAverage(0.5), pictures], max_epochs=2, max_steps=3, num_sanity_val_steps=0)
    trainer.fit(method, loader(hand_samples(4), 2), loader(hand_samples(2, seed=1), 2))
    # the third step ends training within the second epoch, and the average stays
    measured = [method.validated[0], weight(method)]
    assert pictures.steps == [2, 3]
    assert all(torch.equal(*pair) for pair in zip(pictures.drawn, measured, strict=True))
    assert not torch.equal(*measured)


@NOISE
def test_tensorboard_shows_numbers_and_pictures(tmp_path: Path, logged_run: LoggedRun) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = TensorBoardLogger(str(tmp_path), name="", version="tensorboard", default_hp_metric=False)
    module = HO3D(str(logged_run.data), image_size=32, crop="plain", batch_size=4, num_workers=0, val_fraction=0.1)
    fit(tmp_path, Draws(image_size=32), module, ValidationPictures(), logger=logger, log_every_n_steps=1)
    events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    numbers = events.Scalars("val/pa_mpjpe_mm")
    assert [event.step for event in numbers] == sorted({event.step for event in numbers})
    assert len(numbers) == 3
    assert all(event.value > 0 for event in numbers)
    (event,) = events.Images("media/predictions")
    shown = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(shown, cv2.imread(str(tmp_path / "media" / "epoch_0002" / "predictions.png")))


def test_wandb_gets_pictures_and_meshes(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "predictions.png"), np.zeros((4, 6, 3), np.uint8))
    trimesh.creation.box().export(tmp_path / "a_0.glb")
    logged: list[tuple[dict[str, Any], int]] = []
    logger: Any = types.SimpleNamespace(log_metrics=lambda media, step: logged.append((media, step)))
    hand: Any = types.SimpleNamespace(file_stem="a_0")
    validation_pictures._to_wandb(logger, tmp_path, ["predictions"], [hand], 7)
    [(media, step)] = logged
    assert step == 7
    assert media["media/predictions"].image.size == (6, 4)
    assert [type(mesh).__name__ for mesh in media["media/meshes"]] == ["Object3D"]


def test_tensorboard_gets_pictures_and_meshes(tmp_path: Path) -> None:
    calls: list[tuple[str, tuple[int, ...], int]] = []

    class Writer:
        def add_image(self, name: str, picture: np.ndarray, step: int, dataformats: str) -> None:
            assert dataformats == "HWC"
            calls.append((name, picture.shape, step))

        def add_mesh(
            self, name: str, vertices: torch.Tensor, colors: torch.Tensor, faces: torch.Tensor, global_step: int
        ) -> None:
            assert colors.shape == vertices.shape
            assert faces.shape == (1, 1538, 3)
            calls.append((name, tuple(vertices.shape), global_step))

    hand: Any = types.SimpleNamespace(
        file_stem="a_0", vertices_cam=torch.zeros(778, 3), faces=torch.zeros(1538, 3, dtype=torch.long)
    )
    logger: Any = types.SimpleNamespace(experiment=Writer())
    validation_pictures._to_tensorboard(logger, {"predictions": np.zeros((4, 6, 3), np.uint8)}, [hand], 7)
    assert calls == [("media/predictions", (4, 6, 3), 7), ("media/a_0", (1, 778, 3), 7)]


@pytest.mark.parametrize("settings", [{"every_n_epochs": -1}, {"count": 0}, {"num_hypotheses": 0}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        ValidationPictures(**settings)
