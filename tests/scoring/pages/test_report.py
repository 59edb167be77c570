"""The report: complete, self-contained, and shown without complaint by a real browser."""

import base64
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from handlit.errors import InputError
from handlit.formats.registry import benchmark_named
from handlit.scoring.official.predicted_scale import read_joint_scale, scale_curve
from handlit.scoring.score import score
from handlit.skeleton import reorder
from tests.formats.test_ground_truth import write_truth
from tests.scoring.pages.reading import browse, check_page
from tests.scoring.test_score import COUNT, quiet, write_prediction

SECTIONS = (
    "Headline numbers",
    "Pairs of predictions",
    "Share of points within a distance",
    "Error of each joint",
    "Error against predicted scale",
    "Sequences",
    "Worst and median images",
    "All numbers",
    "How the predictions were made",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two predictions on a root with images and cameras; one prediction comes with scales."""
    folder = tmp_path_factory.mktemp("report")
    truth = write_truth(folder / "HO3D_v2", "ho3d_v2", COUNT)
    for number, name in enumerate((truth / "evaluation.txt").read_text().split()):
        sequence, frame = name.split("/")
        for kind in ("rgb", "meta"):
            (truth / "evaluation" / sequence / kind).mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(number).integers(0, 255, (480, 640, 3), dtype=np.uint8)
        cv2.imwrite(str(truth / "evaluation" / sequence / "rgb" / f"{frame}.png"), cv2.blur(picture, (31, 31)))
        camera = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
        meta = truth / "evaluation" / sequence / "meta" / f"{frame}.pkl"
        meta.write_bytes(pickle.dumps({"camMat": camera}, protocol=2))
    first = write_prediction(folder / "m" / "pred.zip", "ho3d_v2", 0.003)
    second = write_prediction(folder / "b" / "pred.zip", "ho3d_v2", 0.01)
    scale = np.random.default_rng(0).uniform(0.001, 0.02, (COUNT, 21))
    np.savez(folder / "m" / "pred.scale.npz", index=np.arange(COUNT), joint_scale_m=scale)
    score([f"<script>&={first}", f"b={second}"], truth, out=folder / "out", reference="b", console=quiet())
    return folder / "out" / "report.html"


def test_it_stands_alone_and_is_complete(report: Path) -> None:
    text = report.read_text()
    page = check_page(text)
    for title in SECTIONS:
        assert f"<h2>{title}</h2>" in text
    for part in (
        "<script>&",
        "SM1",
        "zero prediction",
        "×0.",
        "mirrored share",
        "xyz_procrustes_al_auc3d",
        "Back of a",
    ):
        assert part in page.shown
    # 4 curves, 2 x 2 hands, 2 bar charts, 1 of scales, 2 of sequences
    assert page.tags.count("svg") == 13
    # 6 frames with image, truth and two predictions
    assert len(page.references) == 6 * 4
    assert len(text) < 3_000_000


def test_every_picture_is_one(report: Path) -> None:
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', report.read_text())
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(code), np.uint8), 1) for code in pictures]
    assert {picture.shape for picture in decoded} == {(220, 220, 3)}
    # the drawn hand changes the picture
    for image, *drawn in zip(*[iter(decoded)] * 4, strict=True):
        for other in drawn:
            assert np.abs(image.astype(int) - other).max() > 60


def test_without_images_scales_and_sequences(tmp_path: Path) -> None:
    truth = write_truth(tmp_path / "frei", "freihand", COUNT)
    model = write_prediction(tmp_path / "m.zip", "freihand", 0.003)
    score([model], truth, out=tmp_path / "out", console=quiet())
    text = (tmp_path / "out" / "report.html").read_text()
    absent = {"Pairs of predictions", "Error against predicted scale", "Sequences", "Worst and median images"}
    for title in SECTIONS:
        assert (f"<h2>{title}</h2>" in text) == (title not in absent)
    assert "95 % bootstrap interval over 6 images" in check_page(text).shown


def test_predicted_scales(tmp_path: Path) -> None:
    path = tmp_path / "pred.scale.npz"
    protocol = benchmark_named("ho3d_v2")
    assert read_joint_scale(path, 4, protocol) is None
    scale = np.arange(84).reshape(4, 21) / 1000
    index = np.array([2, 0, 3, 1])
    np.savez(path, index=index, joint_scale_m=scale)
    read = read_joint_scale(path, 4, protocol)
    assert read is not None
    np.testing.assert_array_equal(read[index], scale[:, reorder("handlit", "ho3d")])
    with pytest.raises(InputError, match="every frame once"):
        read_joint_scale(path, 5, protocol)
    # of another prediction than the one beside it, of another length or not
    np.savez(path, index=index, joint_scale_m=scale, prediction_sha256="aa")
    for count in (4, 5):
        assert read_joint_scale(path, count, protocol, "bb") is None
    assert read_joint_scale(path, 4, protocol, "aa") is not None
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a readable zip archive"):
        read_joint_scale(path, 4, protocol)
    np.savez(path, index=index, joint_scale_m=np.full((4, 21), "a"))
    with pytest.raises(InputError, match=r"expected numbers .* predict again"):
        read_joint_scale(path, 4, protocol)
    curve = scale_curve(scale, 2 * scale)
    assert curve.rank_correlation == pytest.approx(1)
    np.testing.assert_allclose(curve.error_mm, 2 * curve.scale_mm)
    assert np.isnan(scale_curve(np.ones((4, 21)), scale).rank_correlation)


def test_a_browser_shows_it(report: Path, tmp_path: Path) -> None:
    browsed = browse(report.read_text(), tmp_path)
    assert browsed.images == [220] * 24
    assert len(browsed.words) > 1500
