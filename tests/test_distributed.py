"""Two real processes (gloo, CPU) against one: losses, weights and metrics, with labels that are spread unevenly."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader

from handlit.data.loading.sampling import EvaluationSampler, ResumableLoader, SeededIndex, TrainingSampler
from handlit.hand.asset import HandAsset
from handlit.methods import AMVUR, MHEntropy
from handlit.methods.method import HandMethod
from handlit.methods.supervision import WeakSupervision
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.mhentropy import MHEntropyNetwork
from handlit.models.texture import TextureDecoder
from handlit.skeleton import TipConvention
from handlit.types import HandSample, collate
from tests.methods.hands import SIZE, hand_samples
from tests.processes import ddp, tensors_by_name

pytestmark = pytest.mark.filterwarnings("ignore")

TRAIN, VAL, STEPS = 12, 7, 3


def network(asset: HandAsset, tips: TipConvention, texture: bool = False) -> AMVURNetwork:
    sizes: dict[str, Any] = {
        "hidden": (32, 16, 8),
        "layers": 1,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "head_hidden": 64,
    }
    small: dict[str, Any] = {
        "hidden": 24,
        "feedforward": 24,
        "heads": 2,
        "layers": 1,
        "dropout": 0.0,
        "hide_radius_m": 0.0,
    }
    build = partial(TextureDecoder, **small) if texture else None
    return AMVURNetwork(asset, tips, Backbone("resnet10t", maps=texture), texture=build, **sizes)


class FixedStatistics(AMVUR):
    """Batch normalisation by its running statistics, as the others' batches are not seen; plain gradient descent."""

    def train(self, mode: bool = True) -> "FixedStatistics":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class Samples(list[HandSample]):
    """A list that takes seeded indices."""

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(index.index if isinstance(index, SeededIndex) else index)


class Hands(pl.LightningDataModule):
    """Labelled hands; of every third one only the image is known."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        known, bare = hand_samples(TRAIN, seed=1), hand_samples(TRAIN, seed=1, labelled=False)
        self.train_samples = Samples(bare[i] if i % 3 == 0 else known[i] for i in range(TRAIN))
        self.val_samples = hand_samples(VAL, seed=2)

    def setup(self, stage: str) -> None:
        # tensors that travelled to several processes lie in memory that these share
        module: pl.LightningModule = self.trainer.lightning_module
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.data = tensor.data.clone()

    def train_dataloader(self) -> DataLoader[Any]:
        sampler = TrainingSampler([TRAIN], seed=5)
        return ResumableLoader(
            cast(Any, self.train_samples), sampler=sampler, batch_size=self.batch_size, collate_fn=collate
        )

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val_samples, 2, sampler=EvaluationSampler(VAL), collate_fn=collate)  # type: ignore[arg-type]


def fit(method: HandMethod[Any], folder: Path, devices: int, batch_size: int) -> tuple[dict[str, float], list[str]]:
    """Three steps and a validation; returns the last metrics and the rows of the log."""
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=devices,
        # plain: DDP raises at the second step if a parameter had no gradient at the first
        strategy=ddp() if devices > 1 else "auto",
        max_epochs=1,
        limit_train_batches=STEPS,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        logger=CSVLogger(str(folder), name="", version=""),
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with tensors_by_name():
        trainer.fit(method, datamodule=Hands(batch_size))
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return metrics, (folder / "metrics.csv").read_text().splitlines()


@pytest.mark.parametrize("labels", ["full", "weak, with texture"])
def test_two_processes_are_one_with_the_doubled_batch(labels: str, tmp_path: Path) -> None:
    def method() -> FixedStatistics:
        if labels == "full":
            return FixedStatistics(network, image_size=SIZE).train()
        build = partial(network, texture=True)
        return FixedStatistics(build, WeakSupervision(), image_size=SIZE, photometric=1e-4, photometric_from=0).train()

    torch.manual_seed(0)
    one, two = method(), method()
    two.load_state_dict(one.state_dict())
    start = {name: value.clone() for name, value in one.state_dict().items()}
    metrics, rows = fit(one, tmp_path / "one", devices=1, batch_size=4)
    metrics_two, rows_two = fit(two, tmp_path / "two", devices=2, batch_size=2)

    names = [name for name, _ in one.named_parameters()]
    states = one.state_dict(), two.state_dict()
    # plain gradient descent: the movements are the gradients
    moved = {name: (states[0][name] - start[name]).abs().max().item() for name in names}
    apart = {name: (states[0][name] - states[1][name]).abs().max().item() for name in names}
    assert max(moved.values()) > 1e-3
    # an absolute error's gradient jumps where rounding moves it over 0
    wrong = {name: (apart[name], moved[name]) for name in names if apart[name] > 0.02 * moved[name] + 1e-6}
    assert not wrong
    # the logged losses of every step, and the metrics of 7 samples over 2 processes
    assert rows[0] == rows_two[0]
    assert len(rows) == len(rows_two) >= STEPS + 1
    for row, other in zip(rows[1:], rows_two[1:], strict=True):
        numbers = [[float(cell) for cell in line.split(",") if cell] for line in (row, other)]
        assert numbers[0] == pytest.approx(numbers[1], rel=2e-4, abs=1e-6)
    assert metrics == pytest.approx(metrics_two, rel=2e-4, abs=1e-6)
    assert {"val/pa_mpjpe_mm", "val/loss"} <= set(metrics)


@pytest.mark.parametrize("name", ["weak, texture to come", "MHEntropy"])
def test_every_parameter_takes_part(name: str, tmp_path: Path) -> None:
    if name == "MHEntropy":
        flow = MHEntropyNetwork(Backbone("resnet10t"), features=32, hidden=(16,), steps=2)
        method: HandMethod[Any] = MHEntropy(flow, image_size=SIZE)
    else:
        build = partial(network, texture=True)
        method = AMVUR(build, WeakSupervision(), image_size=SIZE, photometric=1e-4, photometric_from=1)
    before = {name: value.clone() for name, value in method.named_parameters()}
    metrics, _ = fit(method, tmp_path, devices=2, batch_size=2)
    assert all(torch.tensor(value).isfinite() for value in metrics.values())
    still = {name for name, value in method.named_parameters() if torch.equal(value, before[name])}
    # Adam leaves where it is what has had gradients of 0 alone
    if name == "MHEntropy":
        assert not still
    else:
        texture = {name for name in before if name.startswith("network.texture.")}
        assert texture
        assert texture <= still


def noise(epoch: int, batch: int, rank: int) -> torch.Tensor:
    class Here(FixedStatistics):
        current_epoch = epoch
        global_rank = rank

    HandMethod.on_train_batch_start(Here.__new__(Here), None, batch)
    return torch.rand(3)


def test_noise_depends_on_the_place_and_the_process_alone() -> None:
    first = noise(1, 2, 0)
    torch.rand(17)
    assert torch.equal(first, noise(1, 2, 0))
    others = [noise(1, 2, 1), noise(1, 3, 0), noise(2, 2, 0)]
    assert all(not torch.equal(first, other) for other in others)
