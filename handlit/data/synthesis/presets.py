"""How hard a synthetic dataset is: views, poses, objects and camera, as named settings."""

from dataclasses import dataclass
from typing import Literal

BaseView = Literal["palm", "back"]
PresetName = Literal["easy", "full"]


@dataclass(frozen=True)
class ScenePreset:
    """What scenes are drawn from.

    Attributes:
        base_views: Sides from which the upright hand (fingers up) is seen before it is turned; one is drawn a sequence.
        rotation_spread_deg: Largest global rotation away from the base view, about any axis; from 180 on the
            orientation is uniformly random.
        pose_spread: 0 to 1; how far the fingers go from a relaxed hand to freely drawn natural poses and closed grips.
        shape_spread: Standard deviation of the shape coefficients (1 is the hand model's own population).
        held_probability: Share of the sequences whose hand holds its object; the fingers close on its surface.
        occluder_probability: Share of the sequences whose object is between the camera and a part of the hand. In all
            others it is apart, behind the hand.
        distance_m: Nearest and farthest distance of the hand from the camera.
        off_centre: 0 to 1; how much of the free room around the hand it may move in; 0 keeps it in the middle.
        focal_spread: Relative half range of the focal length around HO-3D's 614 pixels.
        frames_per_sequence: Frames that share a subject, an object, a background and a light.
        frames_per_keyframe: Frames between two independent drawings of pose and view within a sequence. Small numbers
            give less alike frames.
    """

    base_views: tuple[BaseView, ...] = ("palm", "back")
    rotation_spread_deg: float = 180.0
    pose_spread: float = 1.0
    shape_spread: float = 0.8
    held_probability: float = 0.6
    occluder_probability: float = 0.2
    distance_m: tuple[float, float] = (0.4, 0.9)
    off_centre: float = 0.7
    focal_spread: float = 0.03
    frames_per_sequence: int = 25
    frames_per_keyframe: int = 6


#: ``easy`` is learnable on a CPU in minutes: upright hands seen from the palm or the back, moderate poses, few
#: occlusions. ``full`` has every orientation and pose, and an object at or before most hands, like the real dataset.
PRESETS: dict[PresetName, ScenePreset] = {
    "easy": ScenePreset(
        rotation_spread_deg=30.0,
        pose_spread=0.6,
        held_probability=0.25,
        occluder_probability=0.05,
        distance_m=(0.45, 0.65),
        off_centre=0.4,
        frames_per_sequence=20,
        frames_per_keyframe=3,
    ),
    "full": ScenePreset(),
}
