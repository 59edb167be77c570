"""The built-in stand-in hand: MANO's sizes and conventions, no licence needed."""

from pathlib import Path

import numpy as np

from handlit.hand.asset import HandAsset, Side

_FILE = Path(__file__).with_name("standin_hand.npz")
_MIRROR = np.array([-1.0, 1.0, 1.0])
#: A rotation mirrored in the plane x = 0 keeps its angle about x and reverses those about y and z.
_MIRROR_ROTATION = np.tile([1.0, -1.0, -1.0], 15)


def load_standin(side: Side = "right") -> HandAsset:
    """Load the stand-in hand; `scripts/standin_hand/` makes its file.

    Args:
        side: The left hand is the right one mirrored in x, as MANO's is: fingers along +x, palm still facing -y, thumb
            still at +z.

    Returns:
        The asset with float64 numbers; metres, see `HandAsset`.
    """
    with np.load(_FILE, allow_pickle=False) as file:
        arrays = {name: file[name].astype(np.int64 if name == "faces" else np.float64) for name in file.files}
    # rows were rounded to float32; these sums are exact by definition
    for name in ("weights", "joint_regressor"):
        arrays[name] /= arrays[name].sum(1, keepdims=True)
    asset = HandAsset(name="standin", side="right", **arrays)
    return asset if side == "right" else mirror(asset)


def mirror(asset: HandAsset) -> HandAsset:
    """The hand of the other side, mirrored in the plane x = 0; twice gives the same hand again.

    To pose it as the mirror image, reverse the y and z components of every axis-angle vector.
    """
    # (R - I) of a mirrored rotation has the entries with exactly one x index reversed
    entry = np.tile(np.outer(_MIRROR, _MIRROR).ravel(), 15)
    return HandAsset(
        name=asset.name,
        side="left" if asset.side == "right" else "right",
        template=asset.template * _MIRROR,
        shape_directions=asset.shape_directions * _MIRROR[:, None],
        pose_directions=asset.pose_directions * _MIRROR[:, None] * entry,
        joint_regressor=asset.joint_regressor,
        weights=asset.weights,
        faces=asset.faces[:, ::-1].copy(),
        pose_mean=asset.pose_mean * _MIRROR_ROTATION,
        pose_components=asset.pose_components * _MIRROR_ROTATION,
        parents=asset.parents,
    )
