"""Tables of labels: selections, and what travels to worker processes."""

import pickle
from pathlib import Path

import numpy as np

from handlit.formats.frame_table import FrameTable
from handlit.formats.index import open_arrays, save_arrays


def table(length: int) -> FrameTable:
    rng = np.random.default_rng(0)
    return FrameTable(
        keys=np.array([f"SEQ/{number:04d}" for number in range(length)]),
        images=np.array([f"{number}.jpg" for number in range(length)]),
        image_sizes=np.tile((640, 480), (length, 1)),
        intrinsics=rng.normal(size=(length, 3, 3)),
        boxes=rng.normal(size=(length, 4)),
        joints_cam=rng.normal(size=(length, 21, 3)),
    )


def assert_equal(first: FrameTable, second: FrameTable) -> None:
    assert first.columns().keys() == second.columns().keys()
    for name, values in first.columns().items():
        np.testing.assert_array_equal(values, second.columns()[name])


def test_a_selection_takes_the_rows_of_every_column() -> None:
    whole = table(5)
    part = whole.select(np.array([3, 1]))
    assert part.keys.tolist() == ["SEQ/0003", "SEQ/0001"]
    np.testing.assert_array_equal(part.joints_cam, whole.joints_cam[[3, 1]])
    assert part.pose is None
    assert_equal(whole.select(whole.boxes[:, 0] > 0), whole.select(np.flatnonzero(whole.boxes[:, 0] > 0)))


def test_a_mapped_table_travels_as_file_names(tmp_path: Path) -> None:
    whole = table(2000)
    save_arrays(tmp_path, whole.columns())
    mapped = FrameTable(**open_arrays(tmp_path))
    assert_equal(whole, mapped)
    message = pickle.dumps(mapped)
    assert len(message) < 2000 < len(pickle.dumps(whole))
    arrived = pickle.loads(message)
    assert isinstance(arrived.joints_cam, np.memmap)
    assert arrived.pose is None
    assert_equal(whole, arrived)


def test_a_part_of_a_mapped_table_travels_as_it_is(tmp_path: Path) -> None:
    """A view or a selection of a mapped array is not the whole file."""
    save_arrays(tmp_path, table(10).columns())
    mapped = FrameTable(**open_arrays(tmp_path))
    for rows in (np.array([7, 2]), slice(2, 5)):
        part = mapped.select(rows)  # type: ignore[arg-type]  # a slice is a kind of rows too
        assert_equal(pickle.loads(pickle.dumps(part)), part)
