"""Every loss gives every trained parameter a gradient, whatever labels there are, as DDP expects."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from handlit.methods.amvur import AMVUR
from handlit.methods.method import HandMethod
from handlit.methods.supervision import FullSupervision, WeakSupervision
from handlit.types import HandBatch, collate
from tests.methods import test_amvur, test_amvur_texture, test_deterministic, test_mhentropy
from tests.methods.hands import hand_samples

METHODS: dict[str, Callable[[], HandMethod[Any]]] = {
    "AMVUR": lambda: test_amvur.method(supervision=FullSupervision()),
    "AMVUR, perspective": lambda: test_amvur.method("perspective", supervision=FullSupervision()),
    "AMVUR, the prior's answer": lambda: test_amvur_texture.method(answer="prior", photometric=1e-3),
    "AMVUR, texture": lambda: test_amvur_texture.method(photometric=1e-3),
    "AMVUR, texture unused": lambda: test_amvur_texture.method(),
    "AMVUR, weak": lambda: test_amvur.weak_method(),
    "AMVUR, weak, seen joints": lambda: test_amvur.weak_method(visible_only=True),
    "AMVUR, weak, texture": lambda: test_amvur_texture.method(
        "perspective", supervision=WeakSupervision(), photometric=1e-4, photometric_from=21
    ),
    "Deterministic": lambda: test_deterministic.method(),
    "Deterministic, perspective": lambda: test_deterministic.method("perspective"),
    "MHEntropy": lambda: test_mhentropy.method(),
    "MHEntropy, splines": lambda: test_mhentropy.method(flow="spline"),
    "MHEntropy, all drawn, 2D": lambda: test_mhentropy.method("all", supervision="all_2d"),
    "MHEntropy, 3D": lambda: test_mhentropy.method(supervision="2d_and_3d"),
}
#: Fields of the samples that a batch lacks.
LACKING = {
    "nothing": (),
    "3D": ("root_cam", "joints_cam", "vertices_cam", "pose", "betas"),
    "2D": ("joints_2d", "visible"),
    "visibility": ("visible",),
    "all labels": ("root_cam", "joints_cam", "vertices_cam", "pose", "betas", "joints_2d", "visible"),
}


def batch_without(*fields: str) -> HandBatch:
    samples = hand_samples(2)
    for sample in samples:
        sample.visible = torch.arange(21) % 3 != 0
        for field in fields:
            setattr(sample, field, None)
    return collate(samples)


@pytest.mark.parametrize("name", METHODS)
def test_every_trained_parameter_gets_a_gradient(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = METHODS[name]().train()
    trained = {key: parameter for key, parameter in module.named_parameters() if parameter.requires_grad}
    # before and after a late photometric loss begins
    for epoch in (0, 21) if isinstance(module, AMVUR) else (0,):
        monkeypatch.setattr(type(module), "current_epoch", epoch)
        for lacking, fields in LACKING.items():
            module.zero_grad(set_to_none=True)
            batch = batch_without(*fields)
            total = module.losses(module.infer(batch.image), batch).total
            assert total is not None
            total.backward()
            missing = [key for key, parameter in trained.items() if parameter.grad is None]
            assert not missing, f"epoch {epoch}, a batch that lacks {lacking}"
            assert all(parameter.grad.isfinite().all() for parameter in trained.values()), lacking
            if lacking == "nothing":
                assert any(parameter.grad.any() for parameter in trained.values())
