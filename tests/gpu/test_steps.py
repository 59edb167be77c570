"""A training step of every method on a GPU: its loss, bfloat16, and no waiting for the device."""

import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from handlit.data.synthesis import population
from handlit.methods.amvur import AMVUR
from handlit.methods.method import HandMethod
from handlit.types import HandBatch
from tests.gpu.marks import CUDA, NEEDS_GPU
from tests.methods import test_gradients, test_lift, test_pixel_lift
from tests.methods.hands import hand_batch

pytestmark = NEEDS_GPU

METHODS: dict[str, Callable[[], HandMethod[Any]]] = {
    **test_gradients.METHODS,
    "Lift": test_lift.method,
    "PixelLift": test_pixel_lift.method,
}
#: Those whose loss is of random draws, which a CPU and a GPU draw differently.
DRAWN = {"MHEntropy", "MHEntropy, splines", "MHEntropy, all drawn, 2D", "MHEntropy, 3D"}
#: The rasteriser has to know how long its lists are.
TEXTURED = {name for name in METHODS if "texture" in name and "unused" not in name} | {"AMVUR, the prior's answer"}


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(population, "NUM_POSES", 200)
    # a late photometric loss has begun
    monkeypatch.setattr(AMVUR, "current_epoch", 21)
    # convolutions as exact as a CPU's
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    yield
    torch.cuda.set_sync_debug_mode("default")


def batch_of(name: str) -> HandBatch:
    return test_lift.labelled(8) if name == "Lift" else hand_batch(8)


def loss(method: HandMethod[Any], batch: HandBatch) -> torch.Tensor:
    torch.manual_seed(0)
    total = method.losses(method.infer(method.observe(batch)), batch).total
    assert total is not None
    return total


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_is_the_cpus_and_steps_lower_it(name: str) -> None:
    cpu, batch = METHODS[name]().eval(), batch_of(name)
    gpu, there = copy.deepcopy(cpu).to(CUDA), batch.to(CUDA)
    with torch.no_grad():
        expected, got = loss(cpu, batch), loss(gpu, there)
    if name not in DRAWN:
        torch.testing.assert_close(got.cpu(), expected, rtol=2e-3, atol=1e-4)
    gpu.train()
    optimiser = torch.optim.Adam((p for p in gpu.parameters() if p.requires_grad), lr=1e-3, fused=True)
    values = []
    for _ in range(5):
        optimiser.zero_grad()
        value = loss(gpu, there)
        value.backward()
        optimiser.step()
        values.append(value.item())
    assert all(p.grad is None or p.grad.isfinite().all() for p in gpu.parameters())
    assert min(values) < values[0]


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_changes_a_step_little(name: str) -> None:
    method, batch = METHODS[name]().to(CUDA).train(), batch_of(name).to(CUDA)
    with torch.no_grad():
        single = loss(method, batch)
        with torch.autocast("cuda", torch.bfloat16):
            half = loss(method, batch)
    with torch.autocast("cuda", torch.bfloat16):
        loss(method, batch).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())
    assert half.dtype == torch.float32
    assert (half - single).abs() < 0.05 * single.abs() + 0.05


@pytest.mark.parametrize("name", METHODS)
def test_a_step_does_not_wait_for_the_device(name: str, record_property: Callable[[str, object], None]) -> None:
    method, batch = METHODS[name]().to(CUDA).train(), batch_of(name).to(CUDA)
    optimiser = torch.optim.Adam((p for p in method.parameters() if p.requires_grad), lr=1e-6, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        loss(method, batch).backward()
        optimiser.step()

    step()  # what is made once, as kernels and the optimiser's state, may wait
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        step()
    torch.cuda.set_sync_debug_mode("default")
    waits = [f"{w.filename}:{w.lineno}" for w in caught if "synchronizing CUDA operation" in str(w.message)]
    record_property("host waits in a step", len(waits))
    # of the rasteriser four, of which one may wait twice
    assert len(waits) <= (5 if name in TEXTURED else 0), waits
