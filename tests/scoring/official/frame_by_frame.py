"""The official scoring, frame by frame, as the datasets' documentation words it: slow, literal, independent."""

from typing import Any

import numpy as np
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist


def procrustes_parts(true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, float, Any, Any]:
    true_norm = np.linalg.norm(true - true.mean(0)) + 1e-8
    predicted_norm = np.linalg.norm(predicted - predicted.mean(0)) + 1e-8
    rotation, scale = orthogonal_procrustes(
        (true - true.mean(0)) / true_norm, (predicted - predicted.mean(0)) / predicted_norm
    )
    return rotation, scale, true_norm, predicted_norm


def procrustes(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    rotation, scale, true_norm, predicted_norm = procrustes_parts(true, predicted)
    return (predicted - predicted.mean(0)) / predicted_norm @ rotation.T * scale * true_norm + true.mean(0)


def by_joint_transform(true: np.ndarray, predicted: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    rotation, scale, true_norm, _ = procrustes_parts(true, predicted)
    moved = (vertices - vertices.mean(0)) @ rotation.T * scale * true_norm
    return moved + (true.mean(0) - predicted.mean(0)) + vertices.mean(0)


def scale_translation(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        length = np.sqrt(np.sum(np.square(predicted[4] - predicted[0])))
        scaled = predicted / length * np.sqrt(np.sum(np.square(true[4] - true[0])))
        return scaled - scaled[0] + true[0]


def f_score(true: np.ndarray, predicted: np.ndarray, threshold: float) -> float:
    distances = cdist(true, predicted)
    precision = np.mean(distances.min(1) < threshold)
    recall = np.mean(distances.min(0) < threshold)
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def mean_and_area(frames: list[np.ndarray]) -> tuple[float, float]:
    errors = np.array(frames)
    thresholds = np.linspace(0.0, 0.05, 100)
    means, areas = [], []
    for point in range(errors.shape[1]):
        curve = np.array([np.mean((errors[:, point] <= t).astype(float)) for t in thresholds])
        area = np.sum((curve[1:] + curve[:-1]) / 2 * np.diff(thresholds))
        means.append(errors[:, point].mean())
        areas.append(area / (thresholds[-1] - thresholds[0]))
    return float(np.mean(means)), float(np.mean(areas))


def evaluate(
    xyz: np.ndarray, verts: np.ndarray, true_xyz: np.ndarray, true_verts: np.ndarray, ho3d: bool
) -> dict[str, Any]:
    same = verts.shape[1] == 778
    errors: dict[str, list[Any]] = {name: [] for name in ("xyz", "xyz_pa", "xyz_st", "mesh", "mesh_pa")}
    scores: dict[str, list[Any]] = {name: [] for name in ("f_5", "f_al_5", "f_15", "f_al_15")}
    for p_xyz, p_verts, g_xyz, g_verts in zip(xyz, verts, true_xyz, true_verts, strict=True):
        errors["xyz"].append(np.linalg.norm(p_xyz - g_xyz, axis=1))
        errors["xyz_pa"].append(np.linalg.norm(procrustes(g_xyz, p_xyz) - g_xyz, axis=1))
        errors["xyz_st"].append(np.linalg.norm(scale_translation(g_xyz, p_xyz) - g_xyz, axis=1))
        aligned = procrustes(g_verts, p_verts) if same else by_joint_transform(g_xyz, p_xyz, p_verts)
        if same:
            errors["mesh"].append(np.linalg.norm(p_verts - g_verts, axis=1))
            errors["mesh_pa"].append(np.linalg.norm(aligned - g_verts, axis=1))
        for name, threshold in (("5", 0.005), ("15", 0.015)):
            scores[f"f_{name}"].append(f_score(g_verts, p_verts, threshold))
            scores[f"f_al_{name}"].append(f_score(g_verts, aligned, threshold))
    result = {}
    names = [("xyz", "xyz"), ("xyz_procrustes_al" if ho3d else "xyz_al", "xyz_pa")]
    names += [("xyz_scale_trans_al", "xyz_st")] if ho3d else []
    for key, name in [*names, ("mesh", "mesh"), ("mesh_al", "mesh_pa")]:
        mean, area = mean_and_area(errors[name]) if errors[name] else (-0.01, -1.0)
        result[f"{key}_mean3d"], result[f"{key}_auc3d"] = 100 * mean, area
    for millimetres in ("5", "15"):
        result[f"f_score_{millimetres}"] = float(np.mean(scores[f"f_{millimetres}"]))
        result[f"f_al_score_{millimetres}"] = float(np.mean(scores[f"f_al_{millimetres}"]))
    return result
