"""The MANO reader: what the distributed files look like, what must be refused, and the left hand's known fault."""

import collections
import io
import os
import pickle
import pickletools
import resource
import sys
import time
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from handlit.errors import InputError
from handlit.hand import mano
from handlit.hand.asset import HandAsset
from handlit.hand.loading import load_hand
from handlit.hand.mano import load_mano
from handlit.hand.standin import mirror
from handlit.hand.unpickle import restricted_load
from tests.hand.mano_file import write_mano
from tests.hand.synthetic_mano import synthetic_mano

ASSET = synthetic_mano()
ARRAYS = [
    "template",
    "shape_directions",
    "pose_directions",
    "joint_regressor",
    "weights",
    "faces",
    "pose_mean",
    "pose_components",
]
pytestmark = pytest.mark.filterwarnings("ignore:.*not the distributed right hand:UserWarning")


def sized_asset() -> HandAsset:
    """The synthetic right hand with a first shape direction that scales it, as MANO's does."""
    directions = ASSET.shape_directions.copy()
    directions[:, :, 0] = 0.05 * (ASSET.template - ASSET.template.mean(0))
    return replace(ASSET, shape_directions=directions)


@contextmanager
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def assert_same(actual: HandAsset, expected: HandAsset) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(actual, name), getattr(expected, name), err_msg=name, strict=True)
    assert actual.parents == expected.parents
    assert actual.side == expected.side


def plain_dict(asset: HandAsset = ASSET) -> dict[str, Any]:
    """The dict of a file without chumpy objects."""
    return {
        "v_template": asset.template,
        "shapedirs": asset.shape_directions,
        "posedirs": asset.pose_directions,
        "J_regressor": sparse.csc_matrix(asset.joint_regressor),
        "weights": asset.weights,
        "kintree_table": np.array([[2**32 - 1, *asset.parents[1:]], range(16)], dtype=np.uint32),
        "f": asset.faces.astype(np.uint32),
        "hands_components": asset.pose_components,
        "hands_mean": asset.pose_mean,
    }


def dump(folder: Path, content: object, protocol: int = 2) -> Path:
    file = folder / "MANO_RIGHT.pkl"
    file.write_bytes(pickle.dumps(content, protocol))
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "MANO_RIGHT.pkl"
    write_mano(ASSET, file)
    assert_same(load_mano(file), ASSET)
    assert [entry.name for entry in tmp_path.iterdir()] == ["MANO_RIGHT.pkl"]
    for values in vars(load_mano(file)).values():
        assert not isinstance(values, np.ndarray) or values.flags.writeable


def test_written_file_names_the_classes_of_the_original(tmp_path: Path) -> None:
    file = tmp_path / "MANO_RIGHT.pkl"
    write_mano(ASSET, file)
    operations = list(pickletools.genops(file.read_bytes()))
    named = {argument for operation, argument, _ in operations if operation.name == "GLOBAL"}
    assert {"chumpy.reordering Select", "chumpy.ch Ch", "numpy ndarray", "numpy dtype"} <= named
    assert any(str(name).endswith("csc_matrix") for name in named)
    assert max(operation.proto for operation, _, _ in operations) <= 2


def test_written_file_loads_where_chumpy_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary unpickler with chumpy's names at hand gets the original structure and every key."""
    file = tmp_path / "MANO_RIGHT.pkl"
    write_mano(ASSET, file)
    for module, name in (("chumpy", ""), ("chumpy.ch", "Ch"), ("chumpy.reordering", "Select")):
        fake = types.ModuleType(module)
        if name:
            setattr(fake, name, type(name, (), {}))
        monkeypatch.setitem(sys.modules, module, fake)
    loaded = pickle.loads(file.read_bytes(), encoding="latin1")
    select = loaded["shapedirs"]
    assert select.a.x.shape == (778, 3, 20)
    np.testing.assert_array_equal(
        select.a.x.ravel()[select.idxs].reshape(select.preferred_shape), ASSET.shape_directions
    )
    np.testing.assert_array_equal(loaded["J"], ASSET.joint_regressor @ ASSET.template)
    np.testing.assert_array_equal(loaded["kintree_table"][:, :3], [[2**32 - 1, 0, 1], [0, 1, 2]])
    assert loaded["f"].dtype == np.uint32
    assert (loaded["bs_style"], loaded["bs_type"]) == ("lbs", "lrotmin")
    assert loaded["hands_coeffs"].shape[1] == 45


def test_names_of_old_numpy_and_scipy(tmp_path: Path) -> None:
    """Distributed files name modules that have moved since."""
    file = tmp_path / "MANO_RIGHT.pkl"
    write_mano(ASSET, file)
    content = file.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    content = content.replace(b"scipy.sparse._csc", b"scipy.sparse.csc")
    assert b"numpy._core" not in content
    file.write_bytes(content)
    assert_same(load_mano(file), ASSET)


def test_arrays_as_python_2_wrote_them(tmp_path: Path) -> None:
    """Python 2 stored the bytes as a byte string, which arrives here as text."""
    raw = np.arange(6, dtype="<f8").tobytes()
    stream = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(raw)]) + raw + b"tb."
    )
    np.testing.assert_array_equal(pickle.loads(stream, encoding="latin1"), np.arange(6.0).reshape(2, 3))
    file = tmp_path / "array.pkl"
    file.write_bytes(b"\x80\x02}U\x01a" + stream[2:-1] + b"s.")
    np.testing.assert_array_equal(restricted_load(file)["a"], np.arange(6.0).reshape(2, 3))


def test_plain_values_of_annotations(tmp_path: Path) -> None:
    """What HO-3D's annotation pickles hold beside arrays of numbers."""
    file = tmp_path / "meta.pkl"
    values = {"name": "003_cracker_box", "label": np.int64(3), "flag": np.bool_(True), "none": None, "ids": [1, (2.5,)]}
    file.write_bytes(pickle.dumps({**values, "points": np.ones((2, 3), np.float32)}, protocol=2))
    loaded = restricted_load(file)
    assert {name: loaded[name] for name in values} == values
    np.testing.assert_array_equal(loaded["points"], np.ones((2, 3)))


def test_arrays_of_objects_and_text_are_refused(tmp_path: Path) -> None:
    for array in (np.array([None, 1]), np.array(["a"])):
        file = tmp_path / "objects.pkl"
        file.write_bytes(pickle.dumps(array, protocol=2))
        with pytest.raises(InputError, match="expected numbers"):
            restricted_load(file)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_files_without_chumpy(tmp_path: Path, protocol: int) -> None:
    assert_same(load_mano(dump(tmp_path, plain_dict(), protocol)), ASSET)


def test_other_memory_layouts_and_types(tmp_path: Path) -> None:
    content = plain_dict()
    content["posedirs"] = np.asfortranarray(content["posedirs"])
    content["weights"] = content["weights"].astype(">f8")
    content["J_regressor"] = ASSET.joint_regressor
    # all 20 directions of a converted file: the first ten are MANO's betas
    content["shapedirs"] = np.concatenate((ASSET.shape_directions, np.ones((778, 3, 10))), 2)
    content["marked"] = {1, 2}
    assert_same(load_mano(dump(tmp_path, content)), ASSET)


def test_folders_and_sides(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    right, left = ASSET, mirror(ASSET)
    write_mano(right, tmp_path / "models" / "MANO_RIGHT.pkl")
    write_mano(left, tmp_path / "models" / "MANO_LEFT.pkl")
    assert_same(load_mano(tmp_path), right)
    assert_same(load_mano(tmp_path / "models", "left"), left)
    assert_same(load_hand(tmp_path, "left"), left)
    assert_same(load_mano(tmp_path / "models" / "MANO_LEFT.pkl"), left)


def test_missing_file_says_where_to_get_it(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "MANO_RIGHT.pkl", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"mano\.is\.tue\.mpg\.de.*MANO_RIGHT\.pkl") as raised:
            load_mano(path)
        assert str(path) in str(raised.value)
        assert "stand-in" in str(raised.value)
    with pytest.raises(FileNotFoundError, match=r"MANO_LEFT\.pkl"):
        load_mano(tmp_path, "left")


def test_unknown_right_hand_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "MANO_RIGHT.pkl"
    write_mano(ASSET, file)
    with pytest.warns(UserWarning, match="not the distributed right hand") as caught:
        load_mano(file)
    digest = str(caught[0].message).split("md5 ")[1].split(",")[0]
    monkeypatch.setattr(mano, "RIGHT_MD5", digest)
    with no_warnings():
        load_mano(file)


class Payload:
    """Pickles to a call of the given function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_in_a_file_is_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    payloads = {
        "system": Payload(os.system, f"touch {marker}"),
        "eval": Payload(eval, f"open({str(marker)!r}, 'w')"),
        "exec": Payload(exec, f"open({str(marker)!r}, 'w')"),
        "getattr": Payload(getattr, 1, "real"),
        "open": Payload(open, str(marker), "w"),
    }
    for name, payload in payloads.items():
        file = dump(tmp_path, {"extra": payload, **plain_dict()}, protocol)
        with pytest.raises(InputError, match=rf"names \S*\b{name}\b.*not loaded"):
            load_mano(file)
        assert not marker.exists()
    # the payloads are real: an ordinary unpickler runs them
    pickle.loads(pickle.dumps(payloads["system"], protocol))
    assert marker.exists()


@pytest.mark.parametrize(
    "stranger",
    [collections.OrderedDict(a=1), sparse.csr_matrix(np.eye(2)), Path("."), np.random.default_rng(0)],
    ids=lambda value: type(value).__name__,
)
def test_other_classes_are_refused_by_name(tmp_path: Path, stranger: object) -> None:
    with pytest.raises(InputError, match=r"names [\w.]+, which has no place in such a file"):
        load_mano(dump(tmp_path, {**plain_dict(), "extra": stranger}))


def test_nested_names_and_lookalikes_are_refused(tmp_path: Path) -> None:
    """Protocol 4 may name attributes of an admitted module by a dotted path."""
    file = tmp_path / "MANO_RIGHT.pkl"
    for module, name in (
        ("numpy", "ndarray.tofile"),
        ("numpy", "load"),
        ("_codecs", "decode"),
        ("builtins", "setattr"),
    ):
        stream = b"\x80\x04" + pickle.dumps(module, 4)[11:-2] + pickle.dumps(name, 4)[11:-2] + b"\x93."
        file.write_bytes(stream)
        with pytest.raises(InputError, match=rf"names {module}\.{name}"):
            load_mano(file)


def test_damaged_files(tmp_path: Path) -> None:
    file = tmp_path / "MANO_RIGHT.pkl"
    write_mano(ASSET, file)
    whole = file.read_bytes()
    damaged, strange = "truncated or not a pickle", io.BytesIO()
    np.savez(strange, v_template=ASSET.template)
    contents = {
        b"": damaged,
        whole[: len(whole) // 2]: damaged,
        whole[:-1]: damaged,
        whole[7:]: damaged,
        b"<html>404</html>": "is a web page",
        b"version https://git-lfs": r"is a Git LFS pointer.*git lfs pull",
        strange.getvalue(): "is an npz archive of NumPy arrays, expected a pickle",
    }
    for content, message in contents.items():
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_mano(file)
    file.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(InputError, match="holds a list"):
        load_mano(file)


@pytest.mark.parametrize("key", list(plain_dict()))
def test_every_key_is_needed_and_checked(tmp_path: Path, key: str) -> None:
    content = plain_dict()
    value = content.pop(key)
    with pytest.raises(InputError, match=f"lacks '{key}'"):
        load_mano(dump(tmp_path, content))
    with pytest.raises(InputError, match=f"'{key}' has shape"):
        load_mano(dump(tmp_path, {**content, key: value[:-1]}))
    for wrong in ("text", None, np.array(["a"]), [1.0], np.zeros(3, dtype=object)):
        with pytest.raises(
            InputError, match=f"'{key}' cannot be read as an array|holds an array of type .* in '{key}'"
        ):
            load_mano(dump(tmp_path, {**content, key: wrong}))


def growing(list_or_tuple: bytes, end: bytes) -> bytes:
    """Fifty times a pair of the one before."""
    pair = {b"l": b"(h%ch%cl", b"t": b"h%ch%c\x86"}[list_or_tuple]
    return b"\x80\x02]q\0" + b"".join(pair % (i, i) + b"q%c" % (i + 1) for i in range(50)) + end


SHARED = pickle.dumps(np.zeros(1000), 2)[2:-1]
HOSTILE = {
    "doubled lists": growing(b"l", b"."),
    "doubled tuples as a key": growing(b"t", b"}h\x32K\1s."),
    "doubled tuples in a set": b"\x80\x04" + growing(b"t", b"\x8f(h\x32\x90.")[2:],
    "a frozen set of them": b"\x80\x04" + growing(b"t", b"(h\x32\x91.")[2:],
    "a large place in the memo": b"\x80\x02]r\0\0\0\x10.",
    "a large byte array": b"\x80\x05\x96\xff\xff\xff\xff\x0f\0\0\0.",
    "a large text": b"\x80\x04\x8d\xff\xff\xff\xff\x0f\0\0\0.",
    "deep nesting": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "many marks": b"\x80\x02" + b"(" * 5_000_000,
    "shared bytes": b"\x80\x02](" + SHARED[:-1] + b"q\x40" + b"h\x40" * 90_000 + b"e.",
    "a set made again and again": b"\x80\x02" + pickle.dumps([set(range(10**5))], 2)[2:-1] + b".",
    "keys with one hash": pickle.dumps({i * (2**61 - 1): 1 for i in range(30_000)}, 2),
    "a long integer": b"\x80\x02\x8b\0\0\x10\0" + b"\1" * (1 << 20) + b".",
    "a long number": b"L" + b"9" * (1 << 20) + b"L\n.",
    "too large": bytes((1 << 25) + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_few_bytes_do_not_take_long_or_much(tmp_path: Path, name: str) -> None:
    file = tmp_path / "MANO_RIGHT.pkl"
    file.write_bytes(HOSTILE[name])
    started, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError) as caught:
        load_mano(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def test_a_matrix_is_not_made_as_large_as_it_says(tmp_path: Path) -> None:
    huge = sparse.csc_matrix(np.eye(2))
    huge._shape = (10**6, 10**6)
    with pytest.raises(InputError, match=r"'J_regressor' cannot be read.*1000000"):
        load_mano(dump(tmp_path, {**plain_dict(), "J_regressor": huge}))


def test_contents_are_checked(tmp_path: Path) -> None:
    content = plain_dict()
    content["kintree_table"] = np.zeros((2, 16), dtype=np.int64)
    with pytest.raises(InputError, match="parents"):
        load_mano(dump(tmp_path, content))
    for key, name in (("weights", "weights"), ("hands_mean", "pose_mean")):
        content = plain_dict()
        content[key] = np.full_like(content[key], np.nan)
        with pytest.raises(InputError, match=f"{name} holds NaN"):
            load_mano(dump(tmp_path, content))
    content = plain_dict()
    matrix = sparse.csc_matrix(ASSET.joint_regressor)
    matrix.indices[0] = 10**6
    with pytest.raises(InputError, match="J_regressor"):
        load_mano(dump(tmp_path, {**content, "J_regressor": matrix}))


def test_body_model_is_told(tmp_path: Path) -> None:
    body = {"v_template": np.zeros((6890, 3)), "shapedirs": np.zeros((6890, 3, 10)), "f": np.zeros((13776, 3))}
    with pytest.raises(InputError, match="SMPL"):
        load_mano(dump(tmp_path, body))


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_left_hand_is_corrected(tmp_path: Path, beside: bool, sign: int) -> None:
    """With or without the right hand to compare with, whichever way the first direction points."""
    flip = np.where(np.arange(10) == 0, sign, 1)
    right = replace(sized_asset(), shape_directions=sized_asset().shape_directions * flip)
    if beside:
        write_mano(right, tmp_path / "MANO_RIGHT.pkl")
    correct = mirror(right)
    file = tmp_path / "MANO_LEFT.pkl"
    write_mano(replace(correct, shape_directions=right.shape_directions), file)
    with pytest.warns(UserWarning, match="wrong sign in x .*corrected"):
        assert_same(load_mano(file), correct)
    write_mano(correct, file)
    with no_warnings():
        assert_same(load_mano(file), correct)


def test_left_hand_that_does_not_tell(tmp_path: Path) -> None:
    left = mirror(ASSET)
    write_mano(left, tmp_path / "MANO_LEFT.pkl")
    with pytest.warns(UserWarning, match="cannot say"):
        assert_same(load_mano(tmp_path, "left"), left)
