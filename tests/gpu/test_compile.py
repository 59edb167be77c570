"""Every method's network through ``torch.compile`` on a GPU: the same loss, and its graph breaks."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch._inductor.config

from handlit.data.synthesis import population
from tests.gpu.marks import CUDA, NEEDS_GPU
from tests.gpu.test_steps import METHODS, batch_of, loss

pytestmark = NEEDS_GPU

#: Methods that call parts of their network, not all of it.
BY_PARTS = {"Deterministic"}


@pytest.mark.parametrize("name", ["AMVUR", "AMVUR, texture", "Deterministic", "MHEntropy", "Lift"])
def test_a_compiled_step_has_the_loss_of_the_plain_one(
    name: str, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(population, "NUM_POSES", 200)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    plain, batch = METHODS[name]().to(CUDA).train(), batch_of(name).to(CUDA)
    compiled = copy.deepcopy(plain)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    network = compiled.get_submodule("network")
    for part in ("backbone", "decoder") if name in BY_PARTS else ("",):
        network.get_submodule(part).compile()
    # the compiler's own random numbers are others
    with torch._inductor.config.patch(fallback_random=True):
        expected, got = loss(plain, batch), loss(compiled, batch)
        got.backward()
    record_property("graph breaks", sum(torch._dynamo.utils.counters["graph_break"].values()))
    record_property("graphs", torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert all(p.grad is None or p.grad.isfinite().all() for p in compiled.parameters())
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    torch.testing.assert_close(got, expected, rtol=0.02, atol=0.02)
