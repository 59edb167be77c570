"""Image, camera, 2D and 3D labels of a sample move together."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from handlit.data.augmentation import Augmentation
from handlit.data.base import add_vertices
from handlit.data.frames import FrameTable
from handlit.data.images import read_image
from handlit.data.samples import HandDataset
from handlit.data.sampling import Ticket
from handlit.geometry.cameras import project
from handlit.hand.asset import load_hand
from handlit.hand.layer import HandLayer
from handlit.types import InputError, collate

SIZE = (640, 480)
INTRINSICS = np.array([[614.0, 0.0, 321.0], [0.0, 617.0, 238.0], [0.0, 0.0, 1.0]])
STRONG = Augmentation(rotation_deg=180, scale=0.2, translation=0.1)


def frame_with_dots(folder: Path, mirrored: bool = False) -> tuple[FrameTable, np.ndarray]:
    """A black picture with a bright dot at each joint of a random hand, and its labels."""
    rng = np.random.default_rng(3)
    joints = rng.uniform(-0.08, 0.08, (21, 3)) + (0.05, -0.02, 0.6)
    homogeneous = joints @ INTRINSICS.T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for point in pixels:
        cv2.circle(image, np.round(point * 16).astype(int).tolist(), 5 * 16, (255, 255, 255), -1, cv2.LINE_AA, shift=4)
    cv2.imwrite(str(folder / "a.png"), image)
    table = FrameTable(
        keys=np.array(["a/0"]),
        images=np.array(["a.png"]),
        image_sizes=np.array([SIZE]),
        intrinsics=INTRINSICS[None],
        boxes=np.concatenate([pixels.min(0), pixels.max(0)])[None],
        root_cam=joints[None, 0],
        joints_cam=joints[None],
        pose=rng.normal(size=(1, 48)) * 0.4,
        betas=rng.normal(size=(1, 10)),
        mirrored=np.array([mirrored]),
    )
    return table, pixels


@pytest.mark.parametrize("size", [96, 224])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rule", ["plain", "amvur", "mhentropy"])
def test_augmented_3d_projects_onto_the_augmented_picture(tmp_path: Path, rule, mirrored: bool, size: int) -> None:
    table, pixels = frame_with_dots(tmp_path, mirrored)
    dataset = HandDataset(tmp_path, table, rule, size, STRONG)
    for seed in range(5):
        sample = dataset[Ticket(0, seed)]
        projected = project(sample.joints_cam, sample.intrinsics)
        torch.testing.assert_close(projected, sample.joints_2d, atol=1e-3, rtol=1e-4)
        by_transform = torch.from_numpy(pixels).float() @ sample.crop_transform[:, :2].T + sample.crop_transform[:, 2]
        torch.testing.assert_close(projected, by_transform, atol=2e-3, rtol=1e-4)
        inside = ((projected > 3) & (projected < size - 4)).all(dim=1)
        assert inside.sum() > 5
        columns, rows = projected[inside].round().long().T
        # the dot's centre is bright where the label says the joint is
        assert (sample.image[0, rows, columns] > 100).all()


def test_half_size_decoding_moves_nothing(tmp_path: Path) -> None:
    """A dot's centroid in the crop is where the transform puts it, also when the file is decoded at half size."""
    image = np.zeros((480, 640), np.uint8)
    cv2.circle(image, (301 * 16, 203 * 16), 6 * 16, 255, -1, cv2.LINE_AA, shift=4)
    cv2.imwrite(str(tmp_path / "dot.jpg"), cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), [cv2.IMWRITE_JPEG_QUALITY, 98])
    table, _ = frame_with_dots(tmp_path)
    box = np.array([[200.0, 100, 400, 300]])
    table = FrameTable(**{**vars(table), "images": np.array(["dot.jpg"]), "boxes": box, "joints_cam": None})
    for size in (96, 250):
        sample = HandDataset(tmp_path, table, "plain", size)[0]
        weight = sample.image[0].double()
        ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        centroid = torch.stack([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
        expected = sample.crop_transform.double() @ torch.tensor([301.0, 203.0, 1.0], dtype=torch.float64)
        torch.testing.assert_close(centroid, expected, atol=0.06, rtol=0)


def test_vertices_from_an_augmented_pose_are_the_augmented_vertices(tmp_path: Path) -> None:
    table, _ = frame_with_dots(tmp_path)
    hand = HandLayer(load_hand())
    plain = add_vertices(collate([HandDataset(tmp_path, table, "plain", 64)[0]]), hand)
    known = FrameTable(**{**vars(table), "vertices_cam": plain.vertices_cam.numpy()})
    turned = collate([HandDataset(tmp_path, known, "plain", 64, STRONG)[Ticket(0, 0)]])
    expected = turned.vertices_cam.clone()
    assert (expected - plain.vertices_cam).abs().max() > 0.01
    turned.valid["vertices_cam"] = torch.tensor([False])
    torch.testing.assert_close(add_vertices(turned, hand).vertices_cam, expected, atol=2e-6, rtol=0)


def test_no_augmentation_is_deterministic(tmp_path: Path) -> None:
    table, _ = frame_with_dots(tmp_path)
    dataset = HandDataset(tmp_path, table, "amvur", 96)
    assert torch.equal(dataset[0].image, dataset[0].image)


def test_unknown_labels_are_flagged(tmp_path: Path) -> None:
    table, _ = frame_with_dots(tmp_path)
    without = FrameTable(**{**vars(table), "pose": None, "joints_cam": None})
    both = collate([HandDataset(tmp_path, t, "plain", 32)[0] for t in (table, without)])
    assert both.valid["pose"].tolist() == [True, False]
    assert both.valid["joints_2d"].tolist() == [True, False]
    assert both.valid["hand_mask"].tolist() == [False, False]
    assert both.pose[1].abs().sum() == 0
    filled = add_vertices(both, HandLayer(load_hand()))
    assert filled.valid["vertices_cam"].tolist() == [True, False]
    assert filled.vertices_cam[1].abs().sum() == 0


def test_missing_and_damaged_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg is missing"):
        read_image(tmp_path / "nowhere.jpg")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    with pytest.raises(InputError, match=r"broken\.jpg .* cannot be decoded"):
        read_image(tmp_path / "broken.jpg")
