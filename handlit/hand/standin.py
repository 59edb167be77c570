"""The built-in stand-in hand: MANO's sizes and conventions, no licence needed."""

from pathlib import Path

import numpy as np

from handlit.geometry.mirroring import MIRROR, mirrored_points, mirrored_rotation_vectors
from handlit.hand.asset import HandAsset, Side

_FILE = Path(__file__).with_name("standin_hand.npz")


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

    To pose it as the mirror image, mirror the pose: `geometry.mirroring.mirrored_rotation_vectors`.
    """
    sign = MIRROR.diagonal()
    # (R - I) of a mirrored rotation has the entries with exactly one x index reversed
    entry = np.tile(np.outer(sign, sign).ravel(), 15)
    return HandAsset(
        name=asset.name,
        side="left" if asset.side == "right" else "right",
        template=mirrored_points(asset.template),
        shape_directions=asset.shape_directions * sign[:, None],
        pose_directions=asset.pose_directions * sign[:, None] * entry,
        joint_regressor=asset.joint_regressor,
        weights=asset.weights,
        faces=asset.faces[:, ::-1].copy(),
        pose_mean=mirrored_rotation_vectors(asset.pose_mean),
        pose_components=mirrored_rotation_vectors(asset.pose_components),
        parents=asset.parents,
    )
