"""Images for the report: the worst and median ones, with the true hand and every prediction laid over them."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from handlit.formats.scenes import Scenes, faces_fit
from handlit.render.overlays import draw_mesh, draw_skeleton
from handlit.scoring.official.evaluation import Evaluation
from handlit.scoring.scores import Scores

#: Images of each kind, and the error they are chosen by.
PER_KIND = 5
RANKING = "joints_root"
#: Side of an image, pixels, and how much larger than the true hand its region is.
SIDE = 220
MARGIN = 1.6
JPEG_QUALITY = 85
#: RGB of the mesh of the true hand and of the predictions.
TRUE_COLOUR, PREDICTED_COLOUR = (0.45, 0.72, 0.52), (0.93, 0.66, 0.42)
OPACITY = 0.8


@dataclass(frozen=True)
class GalleryRow:
    """One image of the gallery.

    Attributes:
        title: "worst" or "median".
        name: Of the image.
        errors_mm: Error of each shown prediction, by label.
        images: Data URIs by column: "image", "ground truth", then the predictions' labels.
    """

    title: str
    name: str
    errors_mm: dict[str, float]
    images: dict[str, str]


def choose_frames(evaluation: Evaluation, names: list[str], per_kind: int = PER_KIND) -> dict[int, str]:
    """The worst frames and those around the median, with their titles.

    Neighbouring frames fail alike, so the worst come from different sequences as far as there are enough.

    Args:
        evaluation: Of the prediction that is ranked.
        names: Of the frames.
        per_kind: How many of each.
    """
    order = np.argsort(-evaluation.errors[RANKING].per_frame(), kind="stable")
    worst: list[int] = []
    seen: set[str] = set()
    for number in order.tolist():
        sequence = names[number].rsplit("/", 1)[0]
        if sequence not in seen and len(worst) < per_kind:
            seen.add(sequence)
            worst.append(number)
    worst += [number for number in order.tolist() if number not in worst][: per_kind - len(worst)]
    middle = max(0, len(order) // 2 - per_kind // 2)
    median = [number for number in order[middle : middle + per_kind].tolist() if number not in worst]
    return dict.fromkeys(worst, "worst") | dict.fromkeys(median, "median")


def draw_gallery(scores: Scores, scenes: Scenes, frames: dict[int, str], faces: np.ndarray) -> list[GalleryRow]:
    """Draw the chosen frames whose image and camera are at hand.

    Meshes are drawn where the triangles are the true mesh's, skeletons elsewhere.

    Args:
        scores: With the chosen frames' vertices in `ScoredPrediction.shown_vertices`.
        scenes: Images and cameras.
        frames: As `choose_frames` gives them.
        faces: (1538, 3) of the hand at hand.
    """
    truth = scores.ground_truth
    has_faces = faces_fit(truth.vertices[0], faces)
    rows = []
    for number, title in frames.items():
        image, camera = scenes.image(number), scenes.intrinsics(number)
        if image is None or camera is None:
            continue
        to_handlit = truth.benchmark.joints_from_official
        crop, camera = crop_to_hand(image, camera, to_handlit(truth.joints[number]))
        hands = {"ground truth": (truth.joints[number], truth.vertices[number], TRUE_COLOUR)}
        errors = {}
        for prediction in scores.predictions:
            if number in prediction.shown_vertices:
                vertices = prediction.shown_vertices[number]
                hands[prediction.label] = (prediction.joints[number], vertices, PREDICTED_COLOUR)
                errors[prediction.label] = float(1000 * prediction.evaluation.errors[RANKING].per_frame()[number])
        images = {"image": _data_uri(crop)}
        for label, (joints, vertices, colour) in hands.items():
            has_mesh = has_faces and len(vertices) == len(truth.vertices[number])
            mesh = truth.benchmark.points_to_official(vertices)
            drawn = _overlay(crop, to_handlit(joints), mesh, faces if has_mesh else None, camera, colour)
            images[label] = _data_uri(drawn)
        rows.append(GalleryRow(title, truth.names[number], errors, images))
    return rows


def crop_to_hand(image: np.ndarray, camera: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square around a hand at `SIDE` pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        camera: (3, 3) of the image, pixels.
        joints: (21, 3) camera frame (OpenCV axes), metres.

    Returns:
        (SIDE, SIDE, 3) uint8 RGB and its camera (3, 3).
    """
    points = joints @ camera.T
    points = points[:, :2] / points[:, 2:]
    low, high = points.min(axis=0), points.max(axis=0)
    extent = MARGIN * float((high - low).max())
    factor = SIDE / max(extent, 1.0)
    corner = (low + high) / 2 - extent / 2
    # pixel centres are at integers, the outer border of the image half a pixel before them
    shift = -factor * corner - 0.5
    affine = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    crop = cv2.warpAffine(image, affine, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(238, 238, 238))
    return crop, np.vstack([affine, [0, 0, 1]]) @ camera


def _overlay(
    image: np.ndarray,
    joints: np.ndarray,
    vertices: np.ndarray,
    faces: np.ndarray | None,
    camera: np.ndarray,
    colour: tuple[float, float, float],
) -> np.ndarray:
    """A hand over an image (H, W, 3): its mesh where there are faces for it, and its skeleton."""
    if faces is not None:
        points = torch.from_numpy(vertices)
        colours = torch.tensor(colour).expand(len(points), 3)
        image = draw_mesh(image, points, torch.tensor(faces), torch.from_numpy(camera), colours, OPACITY)
    with np.errstate(all="ignore"):
        projected = joints @ camera.T
        joints_2d = np.where(joints[:, 2:] > 0, projected[:, :2] / projected[:, 2:], np.nan)
    return draw_skeleton(image, joints_2d)


def _data_uri(image: np.ndarray) -> str:
    _, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
