"""MANO files made of any hand: no licensed data in the tests."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy import sparse

from handlit.hand.asset import HandAsset


def write_mano(asset: HandAsset, path: str | Path) -> None:
    """Write a hand as a MANO file: the keys, types and class names of the distributed ones, pickle protocol 2.

    The shape directions are stored as chumpy's classes without chumpy being there, so tools that expect the original
    format read the file. `load_mano` gives the same arrays back, bit for bit.

    Args:
        asset: The hand.
        path: The file to write; `load_mano` takes its side from a name with "left" or "right" in it.
    """
    parents = np.array([2**32 - 1 if parent < 0 else parent for parent in asset.parents])
    regressor = sparse.csc_matrix(asset.joint_regressor)
    values: dict[str, bytes] = {
        name: _fragment(value)
        for name, value in {
            "v_template": asset.template,
            "posedirs": asset.pose_directions,
            "J_regressor": regressor,
            "weights": asset.weights,
            "kintree_table": np.stack((parents, np.arange(16))),
            "f": asset.faces.astype(np.uint32),
            "hands_components": asset.pose_components,
            "hands_mean": asset.pose_mean,
            "hands_coeffs": np.zeros((1, 45)),  # the original lists its training poses; here one, the mean
            "J": regressor @ asset.template,
            "bs_style": "lbs",
            "bs_type": "lrotmin",
        }.items()
    }
    # as in the original: a selection of the first 10 of 20 stored directions
    stored = np.concatenate((asset.shape_directions, np.zeros_like(asset.shape_directions)), 2)
    selected = np.arange(stored.size).reshape(stored.shape)[:, :, :10].ravel()
    values["shapedirs"] = _object_fragment(
        "chumpy.reordering.Select",
        {
            "a": _object_fragment("chumpy.ch.Ch", {"x": _fragment(stored)}),
            "idxs": _fragment(selected),
            "preferred_shape": _fragment(asset.shape_directions.shape),
        },
    )
    Path(path).write_bytes(pickle.PROTO + b"\x02" + _dict_fragment(values) + pickle.STOP)


def _fragment(value: object) -> bytes:
    """The pickle of one value without its head and its end, to be put into a larger pickle.

    Fragments use the same memo positions. That is safe: each reads only what itself has written before.
    """
    return pickle.dumps(value, protocol=2)[2:-1]


def _dict_fragment(values: Mapping[str, bytes]) -> bytes:
    items = b"".join(_fragment(key) + value for key, value in values.items())
    return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS


def _object_fragment(name: str, state: Mapping[str, bytes]) -> bytes:
    """An instance of a class that need not exist here."""
    module, _, class_name = name.rpartition(".")
    head = pickle.GLOBAL + f"{module}\n{class_name}\n".encode()
    return head + pickle.EMPTY_TUPLE + pickle.NEWOBJ + _dict_fragment(state) + pickle.BUILD
