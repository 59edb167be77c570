"""What needs whole runs or processes on a GPU: exact resume, synchronised statistics, and lifting."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from handlit.callbacks.running.last_checkpoint import Preempted
from handlit.data.synthesis import population
from handlit.methods.lift import shipped_lift
from handlit.models.backbones import Backbone
from tests.gpu.marks import CUDA, NEEDS_GPU
from tests.methods.test_lift import labelled
from tests.processes import ranks
from tests.test_resume import Runs, differences

pytestmark = NEEDS_GPU


def test_a_stopped_run_resumes_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # warn: what has no deterministic form shows in the bits
    gpu = ["--trainer.accelerator", "gpu", "--trainer.devices", "1", "--trainer.deterministic", "warn"]
    runs = Runs(tmp_path)
    code, said = runs.fit("whole", *gpu)
    assert code == 0, said
    code, said = runs.fit("stopped", "--resume", *gpu, stop=(0, 5, "SIGTERM"))
    assert code == Preempted.EXIT_CODE, said
    code, said = runs.fit("stopped", "--resume", *gpu)
    assert code == 0, said
    assert differences(runs.state("whole"), runs.state("stopped")) == []


def images() -> Tensor:
    return torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def backbone() -> Backbone:
    torch.manual_seed(0)
    return Backbone("resnet10t").train()


def half(rank: int, store: str, out: str) -> None:
    """A process's half of the images, through synchronised normalisation."""
    number = rank % torch.cuda.device_count()
    torch.cuda.set_device(number)
    # NCCL wants a GPU for each process
    backend = "nccl" if torch.cuda.device_count() > 1 else "gloo"
    dist.init_process_group(backend, f"file://{store}", rank=rank, world_size=2)
    network: Backbone = nn.SyncBatchNorm.convert_sync_batchnorm(backbone()).cuda(number)
    part = images()[4 * rank : 4 * rank + 4].cuda(number)
    network(network.normalise(part)).pooled.square().mean().backward()
    torch.save({name: value.cpu() for name, value in network.named_buffers()}, f"{out}.{rank}")
    dist.destroy_process_group()


def test_synchronised_statistics_are_those_of_the_whole_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    whole = backbone().to(CUDA)
    whole(whole.normalise(images().to(CUDA))).pooled.square().mean().backward()
    ranks(half, (str(tmp_path / "store"), str(tmp_path / "buffers")), 2)
    for rank in range(2):
        buffers = torch.load(tmp_path / f"buffers.{rank}", weights_only=True)
        for name, value in whole.named_buffers():
            torch.testing.assert_close(buffers[name], value.cpu(), rtol=1e-2, atol=1e-4)


def test_the_package_s_lift_gives_the_cpus_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `demo` calls for each hand."""
    monkeypatch.setattr(population, "NUM_POSES", 200)
    batch, method = labelled(16), shipped_lift()
    joints, confidence = batch.joints_2d, torch.ones(16, 21)
    with torch.no_grad():
        expected = method.lift(joints, confidence, batch.intrinsics).joints_root
        method.to(CUDA)
        prediction = method.lift(joints.to(CUDA), confidence.to(CUDA), batch.intrinsics.to(CUDA))
        drawn = prediction.distribution.hypotheses(50)
    # half a millimetre
    torch.testing.assert_close(prediction.joints_root.cpu(), expected, rtol=0, atol=5e-4)
    assert drawn.joints_root.shape == (16, 50, 21, 3)
    assert drawn.joints_root.device.type == CUDA.type
    assert drawn.joints_root.isfinite().all()
