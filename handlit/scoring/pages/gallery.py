"""Pictures for the report: worst and median images, the true hand and every prediction laid over them."""

import base64
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from handlit.formats.scenes import Scenes, faces_fit
from handlit.render import TorchRasterizer, interpolate, lambert, vertex_normals
from handlit.scoring.board import ScoreBoard
from handlit.scoring.official.evaluation import Evaluation
from handlit.skeleton import BONES, FINGERS

#: Pictures of each kind, and the error they are chosen by.
PER_KIND = 5
RANKING = "joints_root"
#: Side of a picture, pixels, and how much larger than the true hand its region is.
SIDE = 220
MARGIN = 1.6
JPEG_QUALITY = 85
#: RGB of the mesh of the true hand and of the predictions.
TRUE_COLOUR, PREDICTED_COLOUR = (0.45, 0.72, 0.52), (0.93, 0.66, 0.42)
#: RGB of each finger, thumb to pinky.
FINGER_COLOURS = ((230, 85, 60), (240, 180, 40), (90, 180, 80), (60, 140, 220), (160, 100, 210))
OPACITY = 0.8


@dataclass(frozen=True)
class GalleryRow:
    """One image of the gallery.

    Attributes:
        title: "worst" or "median".
        name: Of the image.
        errors_mm: Error of each pictured prediction, by label.
        pictures: Data URIs by column: "image", "ground truth", then the predictions' labels.
    """

    title: str
    name: str
    errors_mm: dict[str, float]
    pictures: dict[str, str]


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


def draw_gallery(board: ScoreBoard, scenes: Scenes, frames: dict[int, str], faces: np.ndarray) -> list[GalleryRow]:
    """Draw the chosen frames whose image and camera are at hand.

    Meshes are drawn where the triangles are the true mesh's, skeletons elsewhere.

    Args:
        board: With the chosen frames' vertices in `ScoredPrediction.pictured`.
        scenes: Images and cameras.
        frames: As `choose_frames` gives them.
        faces: (1538, 3) of the hand at hand.
    """
    truth = board.ground_truth
    has_faces = faces_fit(truth.vertices[0], faces)
    rows = []
    for number, title in frames.items():
        image, camera = scenes.image(number), scenes.intrinsics(number)
        if image is None or camera is None:
            continue
        true_joints = truth.protocol.joints_from_official(truth.joints[number])
        picture, camera = crop_to_hand(image, camera, true_joints)
        pictures = {"image": _data_uri(picture)}
        hands = {"ground truth": (truth.joints[number], truth.vertices[number], TRUE_COLOUR)}
        errors = {}
        for prediction in board.predictions:
            if number in prediction.pictured:
                hands[prediction.label] = (prediction.joints[number], prediction.pictured[number], PREDICTED_COLOUR)
                errors[prediction.label] = float(1000 * prediction.evaluation.errors[RANKING].per_frame()[number])
        for label, (joints, vertices, colour) in hands.items():
            drawn = picture
            if has_faces and len(vertices) == len(truth.vertices[number]):
                drawn = _draw_mesh(drawn, truth.protocol.points_to_official(vertices), faces, camera, colour)
            drawn = _draw_skeleton(drawn, truth.protocol.joints_from_official(joints), camera)
            pictures[label] = _data_uri(drawn)
        rows.append(GalleryRow(title, truth.names[number], errors, pictures))
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
    # pixel centres are at integers, the outer border of the picture half a pixel before them
    shift = -factor * corner - 0.5
    affine = np.array([[factor, 0, shift[0]], [0, factor, shift[1]]])
    picture = cv2.warpAffine(image, affine, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderValue=(238, 238, 238))
    return picture, np.vstack([affine, [0, 0, 1]]) @ camera


def _draw_mesh(
    image: np.ndarray, vertices: np.ndarray, faces: np.ndarray, camera: np.ndarray, colour: tuple[float, float, float]
) -> np.ndarray:
    points = torch.from_numpy(vertices)[None].float()
    triangles = torch.from_numpy(faces)
    fragments = TorchRasterizer()(points, triangles, torch.from_numpy(camera)[None].float(), image.shape[:2])
    normals = vertex_normals(points, triangles)
    # both sides of a surface are lit, so that an open wrist is not black
    facing = torch.where(normals[..., 2:] > 0, -normals, normals)
    light = torch.nn.functional.normalize(points.new_tensor([-0.4, -0.6, -0.7]), dim=0)
    shaded = lambert(points.new_tensor(colour).expand_as(points), facing, light, ambient=0.45, diffuse=0.6)
    picture = 255 * interpolate(fragments, triangles, shaded.clamp(0, 1))[0].numpy()
    blended = OPACITY * picture + (1 - OPACITY) * image
    return np.where(fragments.mask[0, ..., None].numpy(), blended, image).round().astype(np.uint8)


def _draw_skeleton(image: np.ndarray, joints: np.ndarray, camera: np.ndarray) -> np.ndarray:
    canvas = np.ascontiguousarray(image.copy())
    with np.errstate(all="ignore"):
        points = joints @ camera.T
        points = points[:, :2] / points[:, 2:]
    usable = np.isfinite(points).all(axis=1) & (np.abs(points) < 1e4).all(axis=1) & (joints[:, 2] > 0)
    # four fractional bits: cv2 draws at sub-pixel positions
    places = np.where(usable[:, None], np.round(16 * points), 0).astype(int).tolist()
    for number, (parent, child) in enumerate(BONES):
        if usable[parent] and usable[child]:
            colour = FINGER_COLOURS[number // (len(BONES) // len(FINGERS))]
            cv2.line(canvas, tuple(places[parent]), tuple(places[child]), colour, 2, cv2.LINE_AA, shift=4)
            cv2.circle(canvas, tuple(places[child]), 40, colour, -1, cv2.LINE_AA, shift=4)
    return canvas


def _data_uri(picture: np.ndarray) -> str:
    _, content = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(content.tobytes()).decode()}"
