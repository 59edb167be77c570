"""Errors of predicted points against true points, per image, in millimetres. Pure functions; inputs stay as they are.

"Points" are joints (mean per-joint position error, MPJPE) or mesh vertices (mean per-vertex position error, MPVPE).
Everything is computed in float64, so that mixed precision never rounds a metric.
"""

from torch import Tensor

from handlit.geometry.alignment import procrustes

MILLIMETRES_PER_METRE = 1000.0


def point_distance_mm(predicted: Tensor, target: Tensor) -> Tensor:
    """Euclidean distance of each predicted point to its true point.

    Args:
        predicted: (..., N, 3) metres.
        target: (..., N, 3) metres, same frame.

    Returns:
        (..., N) float64, millimetres.

    Raises:
        ValueError: The shapes differ or the last dimension is not 3. Nothing is broadcast.
    """
    if predicted.shape != target.shape or predicted.ndim < 2 or predicted.shape[-1] != 3:
        raise ValueError(
            f"predicted and true points must have one shape (..., N, 3), got {tuple(predicted.shape)} and "
            f"{tuple(target.shape)}"
        )
    return (predicted.double() - target.double()).norm(dim=-1) * MILLIMETRES_PER_METRE


def mean_point_error_mm(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over an image's points of the distance to the true points: MPJPE of joints, MPVPE of vertices.

    Args:
        predicted: (..., N, 3) metres.
        target: (..., N, 3) metres, same frame.

    Returns:
        (...) float64, millimetres.

    References:
        Ionescu et al., "Human3.6M", 2014 (doi:10.1109/TPAMI.2013.248).
    """
    return point_distance_mm(predicted, target).mean(-1)


def procrustes_error_mm(predicted: Tensor, target: Tensor, *, reflections: bool = False) -> Tensor:
    """Mean point error after the prediction is rotated, scaled and moved onto the target: PA-MPJPE, PA-MPVPE.

    Args:
        predicted: (..., N, 3) metres.
        target: (..., N, 3) metres.
        reflections: Admit mirror images. The official HO-3D and FreiHAND scripts do, most papers' own code does not;
            the two differ only for predictions that are closer to the other hand.

    Returns:
        (...) float64, millimetres.

    References:
        Gower, "Generalized Procrustes analysis", 1975 (doi:10.1007/BF02291478); Umeyama, "Least-squares estimation of
        transformation parameters between two point patterns", 1991 (doi:10.1109/34.88573).
    """
    target = target.double()
    return mean_point_error_mm(procrustes(predicted.double(), target, reflections=reflections), target)
