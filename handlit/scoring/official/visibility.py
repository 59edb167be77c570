"""Which true joints an image shows, from the true meshes of hand and object."""

from collections.abc import Callable, Iterable

import numpy as np
import torch

from handlit.errors import InputError
from handlit.formats.ground_truth import GroundTruth
from handlit.formats.scenes import ObjectPose, Scenes, faces_fit
from handlit.render import joints_seen, point_visibility

#: Frames of one object that are looked at together.
BATCH = 32
Progress = Callable[[list[np.ndarray]], Iterable[np.ndarray]]


def joint_visibility(truth: GroundTruth, scenes: Scenes, faces: np.ndarray, progress: Progress = iter) -> np.ndarray:
    """Joints that the camera sees: those with at least half of the skin before them visible in the image.

    Joints lie at different depths inside the flesh, so the skin is asked, not the joint: of the 32 vertices nearest to
    it those that face the camera, each seen if it is inside the image and neither hand nor object is in front of it.
    Arms, and objects without a mesh, hide nothing.

    Args:
        truth: The true hands.
        scenes: Cameras, object poses and meshes.
        faces: (1538, 3) of the true mesh.
        progress: Wraps the list of batches, e.g. with a progress bar.

    Returns:
        (N, 21) bool, in the benchmark's joint order.

    Raises:
        InputError: A camera is missing, or the faces are not the true mesh's.
    """
    if not faces_fit(truth.vertices[0], faces):
        raise InputError(
            "visibility needs the triangles of the true meshes, and the built-in stand-in hand has other ones: name "
            "your MANO file with --mano_path"
        )
    cameras, objects = [], []
    for number in range(len(truth)):
        camera = scenes.intrinsics(number)
        if camera is None:
            raise InputError(
                f"visibility needs the camera of every image, and {scenes.root} has none for {truth.names[number]}; "
                "name the dataset's root as ground truth, with evaluation/SEQ/meta (HO-3D) or evaluation_K.json "
                "(FreiHAND)"
            )
        cameras.append(camera)
        objects.append(scenes.object_pose(number))
    visible = np.zeros(truth.joints.shape[:2], dtype=bool)
    batches = _batches([item.name if item else "" for item in objects])
    meshes = {name: scenes.object_mesh(name) for name in {item.name for item in objects if item}}
    for batch in progress(batches):
        poses = [objects[number] for number in batch]
        mesh = meshes.get(poses[0].name) if poses[0] else None
        hand = truth.benchmark.points_to_official(truth.vertices[batch])
        scene, scene_faces = _with_object(hand, faces, mesh, poses)
        seen = point_visibility(
            torch.from_numpy(hand),
            torch.from_numpy(scene),
            torch.tensor(scene_faces),
            torch.from_numpy(np.stack([cameras[number] for number in batch])),
            truth.benchmark.image_size[::-1],
        )
        joints = torch.from_numpy(truth.benchmark.points_to_official(truth.joints[batch]))
        visible[batch] = joints_seen(joints, torch.from_numpy(hand), torch.tensor(faces), seen).numpy()
    return visible


def _batches(object_names: list[str]) -> list[np.ndarray]:
    """Frame numbers, at most `BATCH` together, all with the same object."""
    names, inverse = np.unique(np.array(object_names), return_inverse=True)
    batches = []
    for position in range(len(names)):
        frames = np.flatnonzero(inverse == position)
        batches += [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
    return batches


def _with_object(
    hand: np.ndarray,
    faces: np.ndarray,
    mesh: tuple[np.ndarray, np.ndarray] | None,
    poses: list[ObjectPose | None],
) -> tuple[np.ndarray, np.ndarray]:
    if mesh is None:
        return hand, faces
    vertices, object_faces = mesh
    placed = [vertices @ pose.rotation.T + pose.translation for pose in poses if pose is not None]
    scene = np.concatenate([hand, np.stack(placed)], axis=1)
    return scene, np.concatenate([faces, object_faces + hand.shape[1]])
