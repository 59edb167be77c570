"""One sample: picture, camera, masks, 2D and 3D labels move together; what cannot be read is handled as asked."""

import logging
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.utils.data import DataLoader

from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.dataset import HandDataset, collate_read, moved_pose
from handlit.data.loading.sampling import SeededIndex
from handlit.errors import InputError
from handlit.formats.frame_table import FrameTable
from handlit.formats.images import decode, read_bytes
from handlit.formats.index import open_arrays, save_arrays
from handlit.geometry.cameras import project
from handlit.geometry.crops import CropRule, rotation_about_z
from handlit.types import HandSample

SIZE = (640, 480)
INTRINSICS = np.array([[614.0, 0.0, 321.0], [0.0, 617.0, 238.0], [0.0, 0.0, 1.0]])
STRONG = Augmentation(rotation_deg=180, scale=0.3, translation=0.2, colour=0.3)
PATCHES = Augmentation(rotation_deg=90, translation=0.1, occlusion=1.0)


def read_masks(path: Path) -> tuple[np.ndarray, np.ndarray]:
    image = decode(read_bytes(path), path)
    return image == 255, image == 64


def make_frames(folder: Path, count: int = 1, mirrored: bool = False) -> FrameTable:
    """Black pictures with a bright dot at each joint of a random hand, masks of dots and object, and all labels."""
    rng = np.random.default_rng(3)
    joints = rng.uniform(-0.08, 0.08, (21, 3)) + (0.05, -0.02, 0.6)
    vertices = rng.uniform(-0.08, 0.08, (778, 3)) + (0.05, -0.02, 0.6)
    homogeneous = joints @ INTRINSICS.T
    pixels = homogeneous[:, :2] / homogeneous[:, 2:]
    image = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    for point in pixels:
        cv2.circle(image, np.round(point * 16).astype(int).tolist(), 9 * 16, 255, -1, cv2.LINE_AA, shift=4)
    cv2.rectangle(image, (250, 100), (330, 140), 64, -1)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), image)
        cv2.imwrite(str(folder / f"seg{number}.png"), image[2::4, 2::4])
    arrays = {
        "intrinsics": INTRINSICS,
        "image_sizes": np.array(SIZE),
        "boxes": np.concatenate([pixels.min(0), pixels.max(0)]),
        "object_boxes": np.array([250.0, 100, 330, 140]),
        "root_cam": joints[0],
        "joints_cam": joints,
        "vertices_cam": vertices,
        "pose": rng.normal(size=48) * 0.4,
        "betas": rng.normal(size=10),
        "mirrored": np.array(mirrored),
        "visible": (np.arange(21) % 5 > 0).astype(np.int8),
        "vertices_visible": (np.arange(778) % 3 > 0).astype(np.int8),
    }
    names = {
        "keys": np.array([f"a/{number}" for number in range(count)]),
        "images": np.array([f"{number}.png" for number in range(count)]),
        "masks": np.array([f"seg{number}.png" for number in range(count)]),
    }
    return FrameTable(**names, **{name: value[None].repeat(count, axis=0) for name, value in arrays.items()})


def sample_of(dataset: HandDataset, item: int | SeededIndex = 0) -> HandSample:
    sample = dataset[item]
    assert sample is not None
    return sample


@pytest.mark.parametrize("size", [96, 224])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rule", ["plain", "amvur", "mhentropy", "mhentropy_reference"])
def test_picture_masks_and_labels_move_together(tmp_path: Path, rule: CropRule, mirrored: bool, size: int) -> None:
    frames = make_frames(tmp_path, mirrored=mirrored)
    augmentation = Augmentation(published="mhentropy") if rule == "mhentropy_reference" else STRONG
    dataset = HandDataset(tmp_path, frames, rule, size, augmentation, read_masks=read_masks)
    seen = 0
    for seed in range(6):
        sample = sample_of(dataset, SeededIndex(0, seed))
        assert sample.joints_cam is not None
        assert sample.joints_2d is not None
        assert sample.hand_mask is not None
        assert sample.object_mask is not None
        projected = project(sample.joints_cam, sample.intrinsics)
        torch.testing.assert_close(projected, sample.joints_2d, atol=1e-3, rtol=0)
        homogeneous = torch.from_numpy(frames.joints_cam[0] @ INTRINSICS.T)
        pixels = homogeneous[:, :2] / homogeneous[:, 2:]
        transform = sample.crop_transform.double()
        by_transform = pixels @ transform[:, :2].T + transform[:, 2]
        torch.testing.assert_close(sample.joints_2d.double(), by_transform, atol=2e-3, rtol=0)
        inside = ((projected > 4) & (projected < size - 5)).all(dim=1)
        columns, rows = projected[inside].round().long().T
        assert (sample.image[0, rows, columns] > 100).all()
        bright, grey = sample.image[0] > 110, (sample.image[0] > 30) & (sample.image[0] < 110)
        # blocks of 4 pixels against smooth outlines: nearly all agrees, and nothing without the right map
        overlap = (bright & sample.hand_mask).sum() / (bright | sample.hand_mask).sum()
        assert overlap > 0.75
        assert (grey & sample.object_mask).sum() >= 0.8 * sample.object_mask.sum()
        seen += int(inside.sum())
        rotated = torch.linalg.norm(sample.joints_cam - sample.root_cam, dim=1)
        kept = np.linalg.norm(frames.joints_cam[0] - frames.joints_cam[0, 0], axis=1)
        np.testing.assert_allclose(rotated, kept, atol=1e-6)
    assert seen > 30


@pytest.mark.parametrize("mirrored", [False, True])
def test_amvur_reference_labels_stay_within_its_rounding_of_the_picture(tmp_path: Path, mirrored: bool) -> None:
    frames = make_frames(tmp_path, mirrored=mirrored)
    dataset = HandDataset(tmp_path, frames, "amvur_reference", 224, Augmentation(published="amvur"))
    for seed in range(4):
        sample = sample_of(dataset, SeededIndex(0, seed))
        assert sample.joints_2d is not None
        homogeneous = torch.from_numpy(frames.joints_cam[0] @ INTRINSICS.T)
        transform = sample.crop_transform.double()
        by_transform = homogeneous[:, :2] / homogeneous[:, 2:] @ transform[:, :2].T + transform[:, 2]
        # truncated and one too large, and the box truncated too
        assert (sample.joints_2d - by_transform).abs().max() < 3
        columns, rows = sample.joints_2d.long().T
        assert (sample.image[0, rows, columns] > 100).all()


def test_full_resolution_masks_match_the_picture_to_its_outline(tmp_path: Path) -> None:
    frames = make_frames(tmp_path)
    frames = replace(frames, masks=frames.images)
    dataset = HandDataset(tmp_path, frames, "plain", 224, STRONG, read_masks=read_masks)
    sample = sample_of(dataset, SeededIndex(0, 5))
    assert sample.hand_mask is not None
    differs = sample.hand_mask != (sample.image[0] > 110)
    assert differs.float().mean() < 0.01
    assert sample.hand_mask.float().mean() > 0.05


def test_a_sample_depends_on_its_seed_alone(tmp_path: Path) -> None:
    frames = make_frames(tmp_path, count=3)
    dataset = HandDataset(tmp_path, frames, "amvur", 96, replace(STRONG, occlusion=1.0))
    first, torch_state = sample_of(dataset, SeededIndex(1, 11)), torch.random.get_rng_state()
    sample_of(dataset, SeededIndex(2, 5))
    again, other = sample_of(dataset, SeededIndex(1, 11)), sample_of(dataset, SeededIndex(1, 12))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.joints_2d, again.joints_2d)
    assert not torch.equal(first.joints_2d, other.joints_2d)
    assert torch.equal(torch_state, torch.random.get_rng_state())
    plain = HandDataset(tmp_path, frames, "amvur", 96)
    assert torch.equal(sample_of(dataset, 1).image, sample_of(plain, 1).image)
    assert torch.equal(sample_of(plain, SeededIndex(1, 11)).image, sample_of(plain, 1).image)
    assert first.index == 1
    assert first.key == "a/1"


def test_rows_choose_samples_of_a_whole_table(tmp_path: Path) -> None:
    dataset = HandDataset(tmp_path, make_frames(tmp_path, count=4), "plain", 32, rows=np.array([3, 1]))
    assert [(sample_of(dataset, i).key, sample_of(dataset, i).index) for i in range(2)] == [("a/3", 0), ("a/1", 1)]


def test_patches_hide_joints_vertices_and_masks(tmp_path: Path) -> None:
    frames = make_frames(tmp_path)
    frames = replace(frames, visible=np.ones_like(frames.visible), vertices_visible=np.ones((1, 778), np.int8))
    covered_dataset = HandDataset(tmp_path, frames, "plain", 224, PATCHES, read_masks=read_masks)
    hidden = 0
    for seed in range(8):
        sample = sample_of(covered_dataset, SeededIndex(0, seed))
        # the same draw without its patches: the last of the numbers that are drawn
        free = sample_of(
            HandDataset(tmp_path, frames, "plain", 224, replace(PATCHES, occlusion=0.0), read_masks=read_masks),
            SeededIndex(0, seed),
        )
        assert torch.equal(sample.joints_2d, free.joints_2d)
        covered = (sample.image != free.image).any(dim=0)
        assert 0.005 < covered.float().mean() < 0.6
        for name in ("hand_mask", "object_mask"):
            left, whole = getattr(sample, name), getattr(free, name)
            # a pixel of a patch may by chance have the colour that it covers: covered is at most too small
            assert torch.equal(left, left & whole & ~covered)
            assert (whole & ~left & ~covered).sum() < 0.02 * whole.numel()
        vertices_2d = project(sample.vertices_cam, sample.intrinsics)
        for points_2d, visible, before in (
            (sample.joints_2d, sample.visible, free.visible),
            (vertices_2d, sample.vertices_visible, free.vertices_visible),
        ):
            columns, rows = points_2d.round().long().clip(0, 223).T
            under = covered[rows, columns]
            assert not visible[under].any()
            assert torch.equal(visible, visible & before)
            hidden += int((before & ~visible).sum())
            assert int((before & ~visible).sum()) <= int(under.sum()) + 0.02 * len(under)
    assert hidden > 100


@pytest.mark.parametrize(("rule", "low", "high"), [("plain", -0.5, 255.5), ("mhentropy_reference", -4.0, 259.0)])
def test_what_leaves_the_crop_is_not_visible(tmp_path: Path, rule: CropRule, low: float, high: float) -> None:
    frames = make_frames(tmp_path)
    box = frames.boxes[0]
    small = np.concatenate([box[:2] * 0.7 + box[2:] * 0.3, box[:2] * 0.3 + box[2:] * 0.7])
    frames = replace(frames, boxes=small[None], object_boxes=None)
    sample = sample_of(HandDataset(tmp_path, frames, rule, 256))
    assert sample.visible is not None
    assert frames.visible is not None
    outside = 0
    for joint, (u, v) in enumerate(sample.joints_2d.tolist()):
        seen = low <= u <= high and low <= v <= high
        assert bool(sample.visible[joint]) == (seen and frames.visible[0, joint] == 1)
        outside += not seen
    assert 3 < outside < 18


def test_labels_that_are_not_known_for_a_frame_are_left_out(tmp_path: Path) -> None:
    frames = make_frames(tmp_path, count=2)
    columns = {name: value.copy() for name, value in frames.columns().items()}
    for name in ("root_cam", "joints_cam", "vertices_cam", "pose", "betas", "object_boxes"):
        columns[name][1] = np.nan
    columns["visible"][1] = columns["vertices_visible"][1] = -1
    columns["masks"][1] = ""
    dataset = HandDataset(tmp_path, FrameTable(**columns), "mhentropy", 64, STRONG, read_masks=read_masks)
    batch = collate_read([dataset[SeededIndex(0, 1)], dataset[SeededIndex(1, 1)]])
    # no benchmark has these
    lacking = {"confidence", "detected", "fingers", "ratios"}
    expected = {name: [name not in lacking, False] for name in batch.valid}
    assert {name: flag.tolist() for name, flag in batch.valid.items()} == expected
    assert torch.isfinite(batch.joints_cam).all()
    assert not collate_read([HandDataset(tmp_path, frames, "plain", 64)[0]]).valid["hand_mask"].any()


def test_visibility_under_patches_is_not_claimed_where_vertices_are_not_stored(tmp_path: Path) -> None:
    frames = replace(make_frames(tmp_path), vertices_cam=None)
    assert sample_of(HandDataset(tmp_path, frames, "plain", 64, PATCHES), SeededIndex(0, 0)).vertices_visible is None
    assert sample_of(HandDataset(tmp_path, frames, "plain", 64, STRONG), SeededIndex(0, 0)).vertices_visible is not None


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_moved_pose_turns_its_hand(mirrored: bool) -> None:
    rng = np.random.default_rng(2)
    mirror = np.diag([-1.0, 1.0, 1.0])
    for angle in (0.0, 0.4, -2.9):
        pose = rng.normal(size=48)
        scene = rotation_about_z(angle) @ mirror if mirrored else rotation_about_z(angle)
        moved = moved_pose(pose.copy(), scene).reshape(16, 3)
        side = mirror if mirrored else np.eye(3)
        for joint, vector in enumerate(pose.reshape(16, 3)):
            rotation = Rotation.from_rotvec(vector).as_matrix()
            # seen in a mirror a rotation R is M R M; the whole hand also turns with the scene
            expected = scene @ rotation @ side if joint == 0 else side @ rotation @ side
            np.testing.assert_allclose(Rotation.from_rotvec(moved[joint]).as_matrix(), expected, atol=1e-7)


def test_reference_crops_take_their_own_augmentation_only(tmp_path: Path) -> None:
    frames = make_frames(tmp_path)
    with pytest.raises(InputError, match="published=amvur"):
        HandDataset(tmp_path, frames, "amvur_reference", 224, STRONG)
    with pytest.raises(InputError, match="published=mhentropy"):
        HandDataset(tmp_path, frames, "mhentropy_reference", 256, Augmentation(published="amvur"))
    for rule in get_args(CropRule):
        assert sample_of(HandDataset(tmp_path, frames, rule, 64)).image.shape == (3, 64, 64)


def test_damaged_files_end_the_run_and_are_named(tmp_path: Path) -> None:
    frames = make_frames(tmp_path, count=6)
    dataset = HandDataset(tmp_path, frames, "plain", 64, read_masks=read_masks)
    (tmp_path / "0.png").unlink()
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:-40])
    (tmp_path / "2.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "3.png"), np.zeros((240, 320, 3), np.uint8))
    (tmp_path / "seg4.png").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "seg5.png"), np.zeros((120, 120), np.uint8))
    with pytest.raises(FileNotFoundError, match=r"0\.png is missing"):
        dataset[0]
    for number, message in enumerate(
        [
            r"1\.png .* cut short",
            r"2\.png \(0 bytes\)",
            r"3\.png is 320x240.*640x480",
            r"seg4\.png \(0",
            r"seg5\.png is 120x120",
        ],
        start=1,
    ):
        with pytest.raises(InputError, match=message) as error:
            dataset[number]
        assert str(tmp_path) in str(error.value)


def _constant(mask: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    return mask, mask


def test_a_mask_reader_that_does_not_keep_its_word_is_named(tmp_path: Path) -> None:
    frames = make_frames(tmp_path)
    for wrong in (np.zeros((120, 160, 3), bool), np.zeros((120, 160)), np.zeros((0, 0), bool)):
        dataset = HandDataset(tmp_path, frames, "plain", 64, read_masks=partial(_constant, wrong))
        with pytest.raises(InputError, match=r"seg0\.png: expected a plane of bools"):
            dataset[0]


def test_a_box_that_cannot_be_cropped_names_its_picture(tmp_path: Path) -> None:
    frames = make_frames(tmp_path)
    with pytest.raises(InputError, match=r"0\.png: a hand box must be"):
        HandDataset(tmp_path, replace(frames, boxes=np.full((1, 4), np.nan)), "plain", 64)[0]


def test_skipped_samples_are_left_out_named_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = make_frames(tmp_path, count=5)
    for number in (1, 3):
        (tmp_path / f"{number}.png").write_bytes(b"")
    dataset = HandDataset(tmp_path, frames, "plain", 32, on_error="skip", max_errors=3)
    with caplog.at_level(logging.WARNING):
        batch = collate_read([dataset[number] for number in range(5)])
    assert batch.key == ["a/0", "a/2", "a/4"]
    assert batch.image.shape == (3, 3, 32, 32)
    assert "1.png" in caplog.text
    assert "2 so far" in caplog.text
    assert dataset[1] is None
    with pytest.raises(InputError, match=r"4 samples could not be read, at most 3 may: .*3\.png"):
        dataset[3]
    with pytest.raises(InputError, match="none of the 2 samples"):
        collate_read([None, None])


def test_worker_processes_share_the_count(tmp_path: Path) -> None:
    frames = make_frames(tmp_path, count=8)
    for number in (0, 1, 2, 3):
        (tmp_path / f"{number}.png").unlink()

    dataset = HandDataset(tmp_path, frames, "plain", 32, on_error="skip", max_errors=4)
    # the first two batches go to one worker each
    loader = DataLoader(dataset, batch_sampler=[[0, 1, 4], [2, 3, 5], [6], [7]], num_workers=2, collate_fn=collate_read)
    assert [key for batch in loader for key in batch.key] == ["a/4", "a/5", "a/6", "a/7"]
    # either worker has seen two of them, this process none
    with pytest.raises(InputError, match="5 samples could not be read, at most 4 may"):
        dataset[0]


def test_a_mapped_table_is_not_copied_into_the_workers(tmp_path: Path) -> None:
    frames = make_frames(tmp_path)
    frames = FrameTable(**{name: value.repeat(50, axis=0) for name, value in frames.columns().items()})
    folder = tmp_path / "index"
    folder.mkdir()
    save_arrays(folder, frames.columns())
    dataset = HandDataset(tmp_path, FrameTable(**open_arrays(folder)), "plain", 32)
    content = pickle.dumps(dataset)
    assert len(content) < 10_000 < frames.vertices_cam.nbytes
    assert torch.equal(sample_of(pickle.loads(content), 7).image, sample_of(dataset, 7).image)


def test_boxes_that_their_images_do_not_show(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Refused at once or left out where nothing else says where the hand is; named around known joints."""
    labelled = make_frames(tmp_path, 3)
    labelled.boxes[1] = 0.2, 0.3, 0.6, 0.7
    frames = replace(labelled, joints_cam=None)
    with pytest.raises(InputError, match=r"1\.png: hand box .* lies outside .*shares of its width"):
        HandDataset(tmp_path, frames, "plain", 32)
    skipping = HandDataset(tmp_path, frames, "plain", 32, on_error="skip")
    assert [skipping[row] is None for row in range(3)] == [False, True, False]
    # other rows, and a crop that takes no heed of boxes
    assert HandDataset(tmp_path, frames, "plain", 32, rows=np.array([0, 2]))[1] is not None
    assert HandDataset(tmp_path, frames, "whole", 32)[1] is not None
    caplog.clear()
    assert HandDataset(tmp_path, labelled, "plain", 32)[1] is not None
    assert "1 of 3 hands lie outside their image, a/1 first" in caplog.text
