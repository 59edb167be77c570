"""``export`` takes a run's method with its weights, and refuses in a line what it cannot take."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handlit.cli import main
from handlit.methods.mean_hand import MeanHand

CONFIG = """
model:
  class_path: handlit.methods.MeanHand
data:
  class_path: handlit.data.folder.HandFolder
  init_args: {root: nowhere, image_size: 32}
trainer: {devices: 8, accelerator: gpu, precision: bf16-mixed}
"""


def write_run(folder: Path) -> list[str]:
    """A run's configuration and weights, as options."""
    (folder / "config.yaml").write_text(CONFIG)
    method = MeanHand(image_size=32)
    method.vertex_mean.copy_(torch.linspace(-0.1, 0.1, 778 * 3).view(778, 3))
    method.vertex_count.fill_(2)
    method.vertex_squares.fill_(2 * 0.01**2)
    checkpoint = {"state_dict": method.state_dict(), "pytorch-lightning_version": "2.6.6"}
    torch.save(checkpoint, folder / "best.ckpt")
    return ["--config", str(folder / "config.yaml"), "--ckpt_path", str(folder / "best.ckpt")]


def test_a_run_becomes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ort: Any = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    main(["export", *write_run(tmp_path), "--out", str(tmp_path / "hand.onnx")])
    assert "largest difference from torch" in capsys.readouterr().out
    session = ort.InferenceSession(str(tmp_path / "hand.onnx"))
    outputs = dict(
        zip(
            (item.name for item in session.get_outputs()),
            session.run(None, {"image": np.zeros((2, 3, 32, 32), np.uint8)}),
            strict=True,
        )
    )
    np.testing.assert_allclose(outputs["vertices_root"][1].ravel(), np.linspace(-0.1, 0.1, 778 * 3), atol=1e-6)
    np.testing.assert_allclose(outputs["vertex_scale"], 0.01, rtol=1e-4)
    names = [port["name"] for port in json.loads(session.get_modelmeta().custom_metadata_map["outputs"])]
    assert names == list(outputs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--out", "hand.pt"], "ends in .onnx"),
        (["--out", "hand.onnx", "--ckpt_path", "other.ckpt"], "there is no checkpoint other.ckpt"),
        (["--out", "hand.onnx", "--config", "other.yaml"], "other.yaml"),
    ],
)
def test_what_it_cannot_take_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["export", *write_run(tmp_path), *changes])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.strip()
    assert not list(tmp_path.glob("*.onnx"))
