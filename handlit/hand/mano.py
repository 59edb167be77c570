"""Reader of MANO model files, without chumpy and without running code from the file.

A MANO file is a Python-2 pickle, and a pickle may name any function to be called while it is read. The reader allows
the few names that MANO files consist of and refuses every other one; classes of chumpy and SciPy are replaced by
inert containers.

References:
    Files of version 1.2 from https://mano.is.tue.mpg.de; Romero et al., "Embodied Hands: Modeling and Capturing Hands
    and Bodies Together", 2017, https://doi.org/10.1145/3130800.3130883.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from handlit.errors import InputError
from handlit.hand.asset import NUM_FACES, NUM_VERTICES, HandAsset, Side
from handlit.hand.unpickle import Inert, restricted_load
from handlit.reading import shown
from handlit.skeleton import KINEMATIC_PARENTS

FILE_NAMES: dict[Side, str] = {"right": "MANO_RIGHT.pkl", "left": "MANO_LEFT.pkl"}
#: MD5 of the distributed right hand, version 1.2.
RIGHT_MD5 = "fd5a9d35f914987cf1cc04ffe338caa1"

_OTHER_MODELS = {6890: "SMPL or SMPL+H body", 10475: "SMPL-X body", 5023: "FLAME head"}
_ROOT_PARENT = 2**32 - 1
#: A sparse matrix is refused from this number of entries on; the largest known one, of SMPL-X, has 600,000.
_MAX_ENTRIES = 10**7


def load_mano(path: str | Path, side: Side = "right") -> HandAsset:
    """Read a MANO model file.

    A distributed ``MANO_LEFT.pkl`` holds the shape directions of the right hand, not mirrored: their x has the wrong
    sign. This is detected by comparison with the right hand's file where that lies in the same folder, else by the
    first direction, which is the hand's size and so must stretch x, y and z alike; it is corrected with a warning.

    Args:
        path: ``MANO_RIGHT.pkl`` or ``MANO_LEFT.pkl``, or a folder with these files in it or in its folder ``models``.
            A file without chumpy objects, as some tools write it, is read too.
        side: Which hand of a folder, or of a file whose name does not say.

    Returns:
        The hand model, float64, in the file's frame.

    Raises:
        FileNotFoundError: There is no such file; the message says where to get MANO and where to put it.
        InputError: Not a pickle, truncated, names something that is not part of a MANO file, or holds another model.
    """
    file, side = find_mano(Path(path), side)
    asset = _asset(_read(file), file, side)
    if side == "left":
        return _with_mirrored_shape(asset, file)
    if (digest := hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()) != RIGHT_MD5:
        warnings.warn(
            f"{file} is not the distributed right hand of MANO 1.2 (md5 {digest}, expected {RIGHT_MD5}). A converted "
            "file is fine; results published with MANO may not be reproduced by another one.",
            stacklevel=2,
        )
    return asset


def find_mano(path: Path, side: Side) -> tuple[Path, Side]:
    """The file to read, and the hand that it holds; arguments and errors as for `load_mano`."""
    if path.is_dir():
        for file in (path / FILE_NAMES[side], path / "models" / FILE_NAMES[side]):
            if file.is_file():
                return file, side
        path = path / FILE_NAMES[side]
    side = next((named for named in FILE_NAMES if named in path.stem.lower()), side)
    if path.is_file():
        return path, side
    raise FileNotFoundError(
        f"no MANO file at {path}. It is licensed and cannot be shipped: "
        "register at https://mano.is.tue.mpg.de, accept the licence, download 'Models & Code', unpack it and give the "
        f"path of {FILE_NAMES[side]} or of its folder. Without the file, leave the path out: the built-in stand-in "
        "hand has the same sizes and everything runs with it."
    )


class _ChumpyArray(Inert):
    """In place of `chumpy.ch.Ch`; its state has an array ``x``."""


class _ChumpySelection(Inert):
    """In place of `chumpy.reordering.Select`; entries ``idxs`` of the flattened ``a``, in ``preferred_shape``."""


class _SparseColumns(Inert):
    """In place of SciPy's csc matrix; its state has ``data``, ``indices``, ``indptr`` and a shape."""


_REPLACEMENTS = {
    ("scipy.sparse.csc", "csc_matrix"): _SparseColumns,
    ("scipy.sparse._csc", "csc_matrix"): _SparseColumns,
    ("chumpy.reordering", "Select"): _ChumpySelection,
    ("chumpy.ch", "Ch"): _ChumpyArray,
}


def _read(file: Path) -> dict[str, Any]:
    loaded = restricted_load(file, _REPLACEMENTS)
    if not isinstance(loaded, dict):
        raise InputError(f"{file} holds a {type(loaded).__name__}, expected the dict of a MANO file")
    return loaded


def _asset(loaded: dict[str, Any], file: Path, side: Side) -> HandAsset:
    """The arrays by their names in the file, checked."""

    def array(key: str, *shape: int) -> np.ndarray:
        if key not in loaded:
            held = shown(", ".join(sorted(loaded)), 300)
            raise InputError(f"{file} lacks '{key}': not a MANO file (it has {held})")
        try:
            value = _dense(loaded[key])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{file}: '{key}' cannot be read as an array of numbers ({error!r})") from error
        if key == "shapedirs" and value.shape[:-1] == shape[:-1] and value.shape[-1] > shape[-1]:
            value = value[..., : shape[-1]]  # converted files keep all directions; MANO's betas are the first 10
        if value.shape != shape:
            other = _OTHER_MODELS.get(value.shape[0]) if key == "v_template" and value.ndim else None
            hint = f" This is a {other} model: MANO is a download of its own." if other else ""
            raise InputError(f"{file}: '{key}' has shape {value.shape}, expected {shape}.{hint}")
        return value

    def floats(key: str, *shape: int) -> np.ndarray:
        return np.array(array(key, *shape), dtype=np.float64, order="C")

    template = floats("v_template", NUM_VERTICES, 3)  # first: it shows best that a file holds another model
    parents = array("kintree_table", 2, 16)[0].astype(np.int64)
    parents = tuple(-1 if parent in (-1, _ROOT_PARENT) else int(parent) for parent in parents)
    if parents != KINEMATIC_PARENTS:
        raise InputError(f"{file}: the joints have parents {parents}, expected {KINEMATIC_PARENTS}")
    faces = array("f", NUM_FACES, 3).astype(np.int64)
    try:
        return HandAsset(
            name="mano",
            side=side,
            template=template,
            shape_directions=floats("shapedirs", NUM_VERTICES, 3, 10),
            pose_directions=floats("posedirs", NUM_VERTICES, 3, 135),
            joint_regressor=floats("J_regressor", 16, NUM_VERTICES),
            weights=floats("weights", NUM_VERTICES, 16),
            faces=faces,
            pose_mean=floats("hands_mean", 45),
            pose_components=floats("hands_components", 45, 45),
            parents=parents,
        )
    except InputError:
        raise
    except ValueError as error:  # HandAsset's own checks
        raise InputError(f"{file}: {error}") from error


def _dense(value: Any) -> np.ndarray:
    """The plain array behind what a MANO file may hold in its place."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, _ChumpyArray):
        return _dense(value.state["x"])
    if isinstance(value, _ChumpySelection):
        source, positions = _dense(value.state["a"]), _dense(value.state["idxs"])
        return source.ravel()[positions].reshape(value.state["preferred_shape"])
    if isinstance(value, _SparseColumns):
        state = value.state
        shape = state["_shape"] if "_shape" in state else state["shape"]
        if np.prod(shape, dtype=float) > _MAX_ENTRIES:
            raise ValueError(f"a matrix of {shape}")
        parts = tuple(_dense(state[part]) for part in ("data", "indices", "indptr"))
        columns = sparse.csc_matrix(parts, shape=shape)
        columns.check_format(full_check=True)  # a position outside the matrix would be written to
        return columns.toarray()
    raise TypeError(f"it is a {type(value).__name__.lstrip('_')}")


def _with_mirrored_shape(left: HandAsset, file: Path) -> HandAsset:
    """The left hand with shape directions that mirror the right hand's."""
    right_file = file.with_name(FILE_NAMES["right"])
    directions = left.shape_directions
    if right_file.is_file():
        right = _asset(_read(right_file), right_file, "right").shape_directions
        mirrored_distance = np.abs(directions[:, 0] + right[:, 0]).sum()
        copied_distance = np.abs(directions[:, 0] - right[:, 0]).sum()
        wrong = copied_distance < mirrored_distance
        evidence = f"they are those of {right_file.name}, not mirrored"
    else:
        # the first direction is the hand's size: seen from the middle it points outwards on every axis, or inwards
        centred, first = left.template - left.template.mean(0), directions[:, :, 0]
        growth = (centred * first).sum(0) / (np.linalg.norm(centred, axis=0) * np.linalg.norm(first, axis=0))
        if not np.abs(growth[[0, 2]]).min() > 0.3:
            warnings.warn(
                f"{file}: cannot say whether the shape directions have the known wrong sign in x; "
                f"put {right_file.name} beside it to compare",
                stacklevel=3,
            )
            return left
        wrong = growth[0] * growth[2] < 0
        evidence = "the first one widens the hand while it shortens it"
    if not wrong:
        return left
    warnings.warn(
        f"{file}: the shape directions have the wrong sign in x ({evidence}), a known fault of the distributed left "
        "hand; corrected. Betas fitted with the uncorrected file mean another shape.",
        stacklevel=3,
    )
    corrected = directions.copy()
    corrected[:, 0] *= -1
    return HandAsset(**{**vars(left), "shape_directions": corrected})
