import itertools
import json
import signal
import subprocess
import sys
import tracemalloc
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DistributedSampler

from handlit.errors import InputError
from handlit.formats import archives
from handlit.formats.registry import benchmark_named
from handlit.scoring.official.evaluation import evaluate
from handlit.scoring.official.submission import read_submission
from handlit.scoring.official.submission_writer import SubmissionWriter
from tests.processes import ranks
from tests.scoring.hands import Hands, make_hands

PROTOCOL = benchmark_named("ho3d_v2")


@pytest.fixture(scope="module")
def hands() -> Hands:
    return make_hands(7, PROTOCOL)


def write(path: Path, hands: Hands, order: Any = range(7), **options: Any) -> list[Any]:
    with SubmissionWriter(path, 7, PROTOCOL, **options) as writer:
        for part in np.array_split(np.array(order), 3):
            writer.write(
                torch.from_numpy(part),
                torch.from_numpy(hands.joints_cam[part]).float(),
                torch.from_numpy(hands.vertices_cam[part]).float(),
            )
        return writer.finalise()


@pytest.mark.parametrize("name", ["ho3d_v2", "freihand"])
def test_round_trip_converts_to_the_benchmark_and_rounds(tmp_path: Path, name: str) -> None:
    hands = make_hands(7, benchmark_named(name))
    with SubmissionWriter(tmp_path / "deep" / "pred.zip", 7, benchmark_named(name)) as writer:
        writer.write(np.arange(7), hands.joints_cam, hands.vertices_cam)
        assert writer.finalise() == []
    submission = read_submission(tmp_path / "deep" / "pred.zip")
    np.testing.assert_allclose(submission.joints, hands.joints, atol=0.51e-5)
    np.testing.assert_allclose(submission.vertices, hands.vertices, atol=0.51e-5)
    np.testing.assert_array_equal(submission.joints, np.round(submission.joints, 5))


def test_the_archive_is_what_servers_expect(tmp_path: Path, hands: Hands) -> None:
    write(tmp_path / "pred.zip", hands)
    with zipfile.ZipFile(tmp_path / "pred.zip") as archive:
        assert archive.namelist() == ["pred.json"]
        assert archive.testzip() is None
        assert archive.infolist()[0].compress_type == zipfile.ZIP_DEFLATED
        text = archive.read("pred.json")
    xyz, verts = json.loads(text)
    assert np.array(xyz).shape == (7, 21, 3)
    assert np.array(verts).shape == (7, 778, 3)
    assert b"-0.0," not in text
    assert len(text) < 7 * 799 * 3 * 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pred.zip"]


def test_any_order_any_time_gives_the_same_bytes(tmp_path: Path, hands: Hands) -> None:
    files = []
    for number, order in enumerate(([0, 1, 2, 3, 4, 5, 6], [6, 3, 0, 5, 1, 4, 2], [0, 1, 2, 3, 4, 5, 6, 0, 1])):
        write(tmp_path / f"{number}.zip", hands, order)
        files.append((tmp_path / f"{number}.zip").read_bytes())
    assert files[0] == files[1] == files[2]


def test_processes_share_the_work_and_padding_is_written_once(tmp_path: Path, hands: Hands) -> None:
    path = tmp_path / "pred.zip"
    (tmp_path / ".pred.zip.rank2.records").write_bytes(b"left by a run with more processes")
    writers = [SubmissionWriter(path, 7, PROTOCOL, rank=rank, world_size=2, run_id="a") for rank in range(2)]
    for rank, writer in enumerate(writers):
        part = [0, 2, 4, 6] if rank == 0 else [1, 3, 5, 0]
        writer.write(np.array(part), hands.joints_cam[part], hands.vertices_cam[part])
        writer.close()
    assert not path.exists()
    assert writers[0].finalise() == []
    write(tmp_path / "one.zip", hands)
    assert path.read_bytes() == (tmp_path / "one.zip").read_bytes()


def _write_rank(rank: int, world_size: int, folder: Path) -> None:
    """One gloo process: every world_size-th image of 7, padded to equal lengths as DistributedSampler does."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=world_size)
    try:
        hands = make_hands(7, PROTOCOL)
        sampler = DistributedSampler(range(7), world_size, rank, shuffle=False)  # type: ignore[arg-type, var-annotated]
        name = [uuid.uuid4().hex if rank == 0 else None]
        torch.distributed.broadcast_object_list(name)
        writer = SubmissionWriter(folder / "pred.zip", 7, PROTOCOL, rank=rank, world_size=world_size, run_id=name[0])
        for batch in BatchSampler(sampler, 2, drop_last=False):
            writer.write(np.array(batch), hands.joints_cam[batch], hands.vertices_cam[batch])
        writer.close()
        torch.distributed.barrier()
        if rank == 0:
            assert writer.finalise() == []
    finally:
        torch.distributed.destroy_process_group()


def test_one_two_and_three_processes_write_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for world_size in (1, 2, 3):
        folder = tmp_path / str(world_size)
        folder.mkdir()
        ranks(_write_rank, (world_size, folder), world_size)
        assert {path.name for path in folder.iterdir()} <= {"pred.zip", "store"}
        files.append((folder / "pred.zip").read_bytes())
    assert files[0] == files[1] == files[2]


KILLED_RUN = """
import os, signal, sys
import numpy as np
from handlit import files
from handlit.formats.registry import benchmark_named
from handlit.scoring.official.submission_writer import SubmissionWriter

writer = SubmissionWriter(sys.argv[1], 7, benchmark_named("ho3d_v2"))
writer.write(np.arange(4), np.full((4, 21, 3), 9.0), np.full((4, 778, 3), 9.0))
if sys.argv[2] == "finalise":
    writer.write(np.arange(4, 7), np.full((3, 21, 3), 9.0), np.full((3, 778, 3), 9.0))
    files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    writer.finalise()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["write", "finalise"])
def test_a_killed_run_is_started_anew_and_never_mixed(tmp_path: Path, hands: Hands, moment: str) -> None:
    path = tmp_path / "pred.zip"
    write(path, hands)
    earlier = path.read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED_RUN, str(path), moment], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == earlier
    assert (tmp_path / ".pred.zip.rank0.records").exists()
    with SubmissionWriter(path, 7, PROTOCOL) as writer:
        assert writer.replaced_records
        writer.write(np.arange(7), hands.joints_cam, hands.vertices_cam)
        writer.finalise()
    assert path.read_bytes() == earlier
    assert [file.name for file in tmp_path.iterdir()] == ["pred.zip"]


def test_records_of_another_run_are_refused(tmp_path: Path, hands: Hands) -> None:
    with SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL, rank=1, world_size=2, run_id="killed") as writer:
        writer.write(np.arange(7), hands.joints_cam, hands.vertices_cam)
    writer = SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL, rank=0, world_size=2, run_id="new")
    writer.write(np.arange(4), hands.joints_cam[:4], hands.vertices_cam[:4])
    with pytest.raises(InputError, match="predictions of another run"):
        writer.finalise()
    assert not (tmp_path / "pred.zip").exists()
    with pytest.raises(ValueError, match="common run_id"):
        SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL, rank=1, world_size=2)


def test_memory_of_finalising_does_not_grow_with_the_dataset(tmp_path: Path) -> None:
    """Beside the joints (252 bytes an image) only blocks are held: a mesh has 9.3 kB."""
    hands = make_hands(1, PROTOCOL)
    peaks = []
    for count in (600, 2400):
        writer = SubmissionWriter(tmp_path / "pred.zip", count, PROTOCOL)
        for start in range(0, count, 100):
            index = np.arange(start, start + 100)
            shift = 1e-5 * index[:, None, None]
            writer.write(index, hands.joints_cam + shift, hands.vertices_cam + shift)
        tracemalloc.start()
        writer.finalise()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1800 * 1500


def test_five_decimals_do_not_change_the_scores(tmp_path: Path) -> None:
    """Rounding is random and of 3 micrometres: what is left of it after averaging 200 images of 21 joints."""
    count = 200
    truth = make_hands(count, PROTOCOL)
    noise = np.random.default_rng(3)
    joints_cam = truth.joints_cam + noise.normal(0, 0.006, truth.joints_cam.shape)
    vertices_cam = truth.vertices_cam + noise.normal(0, 0.006, truth.vertices_cam.shape)
    scores = []
    for decimals in (12, 5):
        with SubmissionWriter(tmp_path / "pred.zip", count, PROTOCOL, decimals=decimals) as writer:
            writer.write(np.arange(count), joints_cam, vertices_cam)
            writer.finalise()
        read = read_submission(tmp_path / "pred.zip")
        scores.append(evaluate(read.joints, read.vertices, truth.joints, truth.vertices, PROTOCOL).official)
    change = {key: abs(scores[1][key] / scores[0][key] - 1) for key in scores[0]}
    assert max(value for key, value in change.items() if key.endswith("mean3d")) < 2e-5
    # areas and F-scores count points, and a few of them cross a threshold
    assert max(change.values()) < 1e-4
    assert max(change.values()) > 0


def test_repeats_that_disagree_are_reported(tmp_path: Path, hands: Hands) -> None:
    with SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL) as writer:
        writer.write(np.arange(7), hands.joints_cam, hands.vertices_cam)
        writer.write(np.array([3]), hands.joints_cam[3:4], hands.vertices_cam[3:4] + 0.002)
        (finding,) = writer.finalise()
    assert finding.name == "repeats_differ"
    assert "2.0 mm" in finding.message
    np.testing.assert_allclose(read_submission(tmp_path / "pred.zip").vertices[3], hands.vertices[3], atol=1e-5)


def test_a_missing_image_is_named_and_nothing_is_written(tmp_path: Path, hands: Hands) -> None:
    with pytest.raises(InputError, match=r"1 of 7 images have no prediction \(images 4\)"):
        write(tmp_path / "pred.zip", hands, [0, 1, 2, 3, 5, 6])
    assert not (tmp_path / "pred.zip").exists()


def test_a_process_that_wrote_nothing_is_named(tmp_path: Path, hands: Hands) -> None:
    writer = SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL, rank=0, world_size=2, run_id="a")
    writer.write(np.arange(7), hands.joints_cam, hands.vertices_cam)
    with pytest.raises(InputError, match="process 1 of 2"):
        writer.finalise()


def test_a_failure_while_writing_leaves_an_earlier_file_alone(
    tmp_path: Path, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "pred.zip", hands)
    before = (tmp_path / "pred.zip").read_bytes()

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("handlit.scoring.official.submission_writer.orjson.dumps", full_disk)
    with pytest.raises(OSError, match="no space"):
        write(tmp_path / "pred.zip", hands)
    assert (tmp_path / "pred.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["pred.zip"]


def test_bad_batches_are_refused_at_once(tmp_path: Path, hands: Hands) -> None:
    writer = SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL)
    broken = hands.vertices_cam.copy()
    broken[5, 3, 1] = np.nan
    with pytest.raises(InputError, match="image 5 holds NaN or infinity in vertices_cam"):
        writer.write(np.arange(7), hands.joints_cam, broken)
    with pytest.raises(ValueError, match="image 7 is outside"):
        writer.write(np.arange(1, 8), hands.joints_cam, hands.vertices_cam)
    with pytest.raises(ValueError, match="joints_cam must have shape"):
        writer.write(np.arange(7), hands.joints_cam[:, :20], hands.vertices_cam)
    writer.discard()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"pred\.zip"):
        SubmissionWriter(tmp_path / "pred.json", 7, PROTOCOL)
    with pytest.raises(ValueError, match="rank 2"):
        SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL, rank=2, world_size=2)


def test_an_exception_discards_the_records(tmp_path: Path, hands: Hands) -> None:
    def interrupted() -> None:
        with SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL) as writer:
            writer.write(np.arange(7), hands.joints_cam, hands.vertices_cam)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_mixed_precision_tensors_are_taken(tmp_path: Path, hands: Hands) -> None:
    writer = SubmissionWriter(tmp_path / "pred.zip", 7, PROTOCOL)
    joints = torch.from_numpy(hands.joints_cam).bfloat16().requires_grad_()
    writer.write(torch.arange(7), joints, torch.from_numpy(hands.vertices_cam))
    writer.finalise()
    np.testing.assert_allclose(read_submission(tmp_path / "pred.zip").joints, hands.joints, atol=4e-3)


@pytest.fixture
def text(hands: Hands) -> bytes:
    return json.dumps([hands.joints.tolist(), hands.vertices.tolist()]).encode()


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_json_zip_and_folder_are_read(tmp_path: Path, hands: Hands, text: bytes) -> None:
    (tmp_path / "my.json").write_bytes(text)
    (tmp_path / "run").mkdir()
    make_zip(tmp_path / "run" / "pred.zip", {"pred.json": text})
    for path in (tmp_path / "my.json", tmp_path / "run" / "pred.zip", tmp_path / "run"):
        submission = read_submission(path)
        np.testing.assert_array_equal(submission.joints, hands.joints)
        np.testing.assert_array_equal(submission.vertices, hands.vertices)


@pytest.mark.parametrize(
    "others",
    [
        {"__MACOSX/._pred.json": b"\0\5\x16\7"},
        {".DS_Store": b"\0\0\0\1Bud1", "readme.txt": b"x"},
        {"other.json": b"[]", "code/model.py": b"x"},
    ],
)
def test_what_else_is_in_an_archive_is_left_alone(
    tmp_path: Path, hands: Hands, text: bytes, others: dict[str, bytes]
) -> None:
    """The official scripts take pred.json, and without it the only JSON file."""
    submission = read_submission(make_zip(tmp_path / "pred.zip", {**others, "pred.json": text}))
    np.testing.assert_array_equal(submission.joints, hands.joints)
    alone = {name: content for name, content in others.items() if name != "other.json"}
    submission = read_submission(make_zip(tmp_path / "named.zip", {**alone, "results.json": text}))
    np.testing.assert_array_equal(submission.joints, hands.joints)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.json": b"[]", "b.json": b"[]"}, r"expected one file.*got: a\.json, b\.json"),
        ({"pred.txt": b"[]"}, "expected one file"),
        ({"out/pred.json": b"[]"}, "archive's root, got: out/pred.json"),
        ({}, "got: nothing"),
        ({"../pred.json": b"[]"}, "points outside the archive"),
        ({"/etc/pred.json": b"[]"}, "points outside the archive"),
        ({"..\\pred.json": b"[]"}, "points outside the archive"),
    ],
)
def test_wrong_archives(tmp_path: Path, members: dict[str, bytes], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_submission(make_zip(tmp_path / "pred.zip", members))


def test_damaged_archives(tmp_path: Path, text: bytes) -> None:
    whole = make_zip(tmp_path / "pred.zip", {"pred.json": text}).read_bytes()
    damaged = tmp_path / "damaged.zip"
    for share in (0.1, 0.5, 0.99):
        damaged.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"cut off|damaged"):
            read_submission(damaged)
    for position in (200, len(whole) // 2):
        damaged.write_bytes(whole[:position] + bytes(50) + whole[position + 50 :])
        with pytest.raises(InputError, match=r"damaged|not valid JSON"):
            read_submission(damaged)


def test_an_archive_of_another_kind_is_named(tmp_path: Path) -> None:
    for content, message in ((b"7z\xbc\xaf'\x1c" + bytes(40), "is a 7z archive"), (b"\x1f\x8b\x08", "is a gzip")):
        (tmp_path / "pred.zip").write_bytes(content)
        with pytest.raises(InputError, match=f"{message}.*expected a zip archive: unpack it"):
            read_submission(tmp_path / "pred.zip")


def test_an_endless_list_of_files_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 10_000)
    for limit in (65_535, 50):  # the second one makes the writer use 64-bit sizes
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", limit)
        path = make_zip(tmp_path / "pred.zip", {f"{number:0>100}": b"" for number in range(100)})
        with pytest.raises(InputError, match="the archive's list of files"):
            read_submission(path)


def test_one_number_again_and_again_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_zip(tmp_path / "pred.zip", {"pred.json": b",0" * 1_000_000})
    monkeypatch.setattr(archives, "MAX_UNIFORM", 1_000_000)
    with pytest.raises(InputError, match="it repeats one number"):
        read_submission(bomb)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_zip(tmp_path / "pred.zip", {"pred.json": b"0" * 10_000_000})
    monkeypatch.setattr(archives, "MAX_BYTES", 1_000_000)
    with pytest.raises(InputError, match="unpacks to"):
        read_submission(bomb)


def test_wrong_numbers_of_joints_and_missing_files(tmp_path: Path, hands: Hands) -> None:
    path = tmp_path / "pred.json"
    path.write_text(json.dumps([hands.joints[:, :20].tolist(), hands.vertices.tolist()]))
    with pytest.raises(InputError, match="xyz has 20 points per image, expected 21"):
        read_submission(path)
    path.write_text(json.dumps([hands.vertices.tolist(), hands.joints.tolist()]))
    with pytest.raises(InputError, match="wrong way round"):
        read_submission(path)
    for missing in (tmp_path / "no.zip", tmp_path / "no"):
        with pytest.raises(InputError, match="does not exist"):
            read_submission(missing)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither"):
        read_submission(tmp_path / "empty")


def test_more_images_than_one_block_of_text(tmp_path: Path) -> None:
    hands = make_hands(3, PROTOCOL)
    count = 600
    with SubmissionWriter(tmp_path / "pred.zip", count, PROTOCOL) as writer:
        for start in itertools.count(0, 3):
            if start >= count:
                break
            shift = start * 1e-4
            writer.write(np.arange(start, start + 3), hands.joints_cam + shift, hands.vertices_cam + shift)
        writer.finalise()
    submission = read_submission(tmp_path / "pred.zip")
    expected = hands.joints[1] + np.array([1, -1, -1]) * 0.0597
    np.testing.assert_allclose(submission.joints[598], expected, atol=1e-5)
