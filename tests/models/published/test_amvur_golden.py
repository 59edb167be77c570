"""The released network, whole and at full size, against numbers recorded from AMVUR's released code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from handlit.models.published.amvur import AMVURReferenceNetwork, ReferenceOutput
from handlit.models.published.amvur.cameras import CROP_SIZE, ReferencePerspectiveCamera
from handlit.models.published.amvur_weights import convert_amvur
from tests.hand.synthetic_mano import synthetic_mano
from tests.models.published.released_amvur import image, released_state_dict

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "amvur_network.json").read_text())
MODES = ("orthographic", "perspective")


@pytest.fixture(scope="module")
def outputs() -> dict[str, Any]:
    released = released_state_dict()
    assert len(released) == 2328
    check = GOLDEN["check"]
    np.testing.assert_allclose(released["backbone.conv1.weight"].flatten()[:3], check["conv1"], atol=1e-6)
    np.testing.assert_allclose(released["upsampling.weight"].flatten()[:3], check["upsampling"], atol=1e-6)
    pixels = image()
    np.testing.assert_allclose(pixels.double().sum(), -376.127542, atol=1e-3)
    network = AMVURReferenceNetwork(synthetic_mano()).eval()
    network.load_state_dict(convert_amvur(released, network.state_dict()).weights)
    del released
    results: dict[str, Any] = {}
    with torch.no_grad():
        results["feature"] = network.backbone(pixels).pooled
        for mode in MODES:
            network.camera = mode  # type: ignore[assignment]
            output = network(pixels)
            results[mode] = output, network.colours(output)
        noise = torch.tensor([[1.0, -0.5, 2.0, 0.3]])
        results["drawn"] = network(pixels, noise)
    return results


def compare(measured: torch.Tensor, expected: Any, rtol: float = 1e-4, atol: float = 2e-5) -> None:
    np.testing.assert_allclose(measured, expected, rtol=rtol, atol=atol)


def test_feature_and_maps(outputs: dict[str, Any]) -> None:
    feature, golden = outputs["feature"], GOLDEN["feature"]
    compare(feature[0, :4], golden["first4"], atol=1e-6)
    compare(torch.stack([feature.mean(), feature.std(), feature.max()]), [golden[k] for k in ("mean", "std", "max")])
    for each, expected in zip(outputs["orthographic"][0].maps, GOLDEN["maps_mean_std"], strict=True):
        compare(torch.stack([each.mean(), each.std()]), expected)


@pytest.mark.parametrize("mode", MODES)
def test_meshes_joints_and_log_variances(outputs: dict[str, Any], mode: str) -> None:
    output: ReferenceOutput = outputs[mode][0]
    golden = GOLDEN[mode]
    vertices = output.attention.vertices[0]
    compare(vertices[0], golden["amvur_vertex_0"])
    compare(vertices[777], golden["amvur_vertex_777"])
    compare(vertices.mean(0), golden["amvur_vertices_mean"])
    compare(vertices.std(0), golden["amvur_vertices_std"])
    compare(output.attention.log_variance[0, 0], golden["amvur_vertex_logvar_0"])
    compare(output.attention.joints[0, 20], golden["amvur_joint_20"])
    compare(output.attention.joint_log_variance[0, 20], golden["amvur_joint_logvar_20"])
    compare(output.prior.vertices[0, 0], golden["mano_vertex_0"])
    compare(output.prior.vertices[0].mean(0), golden["mano_vertices_mean"])
    compare(output.prior.log_variance[0, 0], golden["mano_vertex_logvar_0"])
    compare(output.prior.joints[0, 20], golden["mano_joint_20"])
    compare(output.amplitude.squeeze(), GOLDEN["amplitude_3d"])


@pytest.mark.parametrize("mode", MODES)
def test_colours(outputs: dict[str, Any], mode: str) -> None:
    for vertex in (0, 100, 777):
        compare(outputs[mode][1][0, vertex], GOLDEN[mode][f"reference_colour_{vertex}"], rtol=1e-3, atol=1e-3)


def test_orthographic_camera(outputs: dict[str, Any]) -> None:
    output, golden = outputs["orthographic"][0], GOLDEN["orthographic"]
    compare(output.camera.values[0], golden["camera"])
    compare(output.attention.joints_2d[0, 20], golden["amvur_j2d_20"])
    compare(output.attention.joint_2d_log_variance[0, 20], golden["amvur_j2d_logvar_20"])
    compare(output.prior.joint_2d_log_variance[0, 20], golden["mano_j2d_logvar_20"])
    # the released renderer sees the mesh from far, through a lens of 1000 pixels; its x and y point the other way
    magnification, offset = output.camera.values[0].split((1, 2))
    depth = 2 * 1000 / (CROP_SIZE * magnification.abs() + 1e-9)
    compare(torch.cat([-offset, depth]), golden["renderer_T"])
    compare((depth - output.prior.vertices[0, :, 2].mean()).abs() + 20, [golden["zfar"]])


def test_perspective_camera(outputs: dict[str, Any]) -> None:
    output, golden = outputs["perspective"][0], GOLDEN["perspective"]
    camera: ReferencePerspectiveCamera = output.camera
    compare(camera.mean[0], golden["kappa_mu"])
    compare(camera.log_variance_of_mean[0], golden["kappa_logvar"])
    assert torch.equal(camera.drawn, camera.mean)
    drawn = outputs["drawn"]
    noise = camera.amplitude * torch.tensor([[1.0, -0.5, 2.0, 0.3]]) * (camera.log_variance_of_mean / 2).exp()
    compare(drawn.camera.drawn, (camera.mean + noise).abs())
    # another draw moves the image points alone
    assert torch.equal(drawn.attention.vertices, output.attention.vertices)
    assert not torch.allclose(drawn.attention.joints_2d, output.attention.joints_2d)
    assert torch.equal(drawn.camera.texture_points(drawn.prior.vertices), camera.texture_points(output.prior.vertices))
