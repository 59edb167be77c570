"""The coarse hand mesh: 195 of the 778 vertices, and interpolation back to all of them.

The choice of vertices is METRO's, which AMVUR shares: downsampling is indexing by `COARSE_VERTICES`.

References:
    Lin et al., "End-to-End Human Pose and Mesh Reconstruction with Transformers", CVPR 2021,
    https://arxiv.org/abs/2012.09760; https://github.com/microsoft/MeshTransformer (MIT licence).
"""

import numpy as np
from scipy.spatial import cKDTree

from handlit.hand.asset import NUM_VERTICES

#: Ids of the coarse vertices in the hand's mesh, ascending.
COARSE_VERTICES: tuple[int, ...] = (
    5, 8, 10, 11, 12, 15, 19, 20, 24, 28, 30, 32, 33, 37, 39, 41, 45, 48, 49, 52, 53, 54, 55, 58, 59, 61, 62, 76,
    83, 85, 91, 98, 102, 105, 106, 110, 114, 115, 124, 137, 148, 150, 154, 159, 160, 161, 162, 166, 170, 173, 186,
    187, 189, 190, 192, 199, 201, 209, 211, 212, 213, 224, 225, 230, 235, 236, 240, 243, 247, 248, 250, 251, 254,
    258, 262, 263, 267, 268, 269, 270, 274, 276, 277, 289, 290, 298, 303, 305, 309, 316, 317, 318, 320, 323, 332,
    338, 350, 354, 359, 362, 365, 366, 370, 373, 376, 377, 380, 389, 394, 409, 411, 413, 416, 420, 423, 424, 429,
    436, 439, 451, 452, 453, 460, 462, 463, 470, 471, 474, 478, 486, 487, 491, 499, 518, 526, 531, 537, 540, 544,
    548, 554, 560, 561, 563, 570, 571, 573, 576, 579, 587, 589, 594, 596, 609, 615, 617, 624, 629, 640, 641, 643,
    648, 657, 658, 664, 665, 677, 678, 681, 690, 692, 698, 699, 700, 701, 703, 705, 714, 718, 724, 728, 731, 735,
    736, 738, 739, 744, 746, 750, 751, 756, 759, 761, 770, 775,
)  # fmt: skip
NUM_COARSE_VERTICES = len(COARSE_VERTICES)


def coarse_upsampling(template: np.ndarray, neighbours: int = 3) -> np.ndarray:
    """Interpolation from the coarse vertices to all vertices, from which a learned upsampling starts.

    A coarse vertex keeps its value; every other one is the mean of its nearest coarse vertices at rest, weighted by
    their inverse distances.

    Args:
        template: (778, 3) rest vertices, any unit.
        neighbours: Coarse vertices that a vertex is interpolated from, 1 to 195.

    Returns:
        (778, 195) float64, non-negative, rows sum to 1: ``vertices = matrix @ vertices[COARSE_VERTICES]``, nearly.

    Raises:
        ValueError: The template is not a hand's, or `neighbours` is out of range.
    """
    if template.shape != (NUM_VERTICES, 3):
        raise ValueError(f"template has shape {template.shape}, expected ({NUM_VERTICES}, 3)")
    if not 1 <= neighbours <= NUM_COARSE_VERTICES:
        raise ValueError(f"neighbours must be 1 to {NUM_COARSE_VERTICES}, got {neighbours}")
    coarse = np.asarray(COARSE_VERTICES)
    others = np.setdiff1d(np.arange(NUM_VERTICES), coarse)
    # k as a list keeps the dimension of a single neighbour
    distance, nearest = cKDTree(template[coarse]).query(template[others], k=np.arange(1, neighbours + 1))
    # a vertex on top of a coarse one takes nearly all of its weight from it, without a division by zero
    weight = 1 / np.maximum(distance, 1e-9 * np.ptp(template, axis=0).max())

    matrix = np.zeros((NUM_VERTICES, NUM_COARSE_VERTICES))
    matrix[coarse, np.arange(NUM_COARSE_VERTICES)] = 1
    matrix[others[:, None], nearest] = weight / weight.sum(1, keepdims=True)
    return matrix
