"""From detected joints to hands by a `LiftNetwork`: what the method `Lift` predicts, without what trains it."""

from typing import NamedTuple

import torch
from torch import Tensor

from handlit.distributions.lifted_hands import LiftedHands
from handlit.errors import InputError
from handlit.geometry.viewing_ray import view_hand
from handlit.hand.chains import FingerChains
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.models.lift import LiftNetwork
from handlit.models.lift_weights import SHIPPED, SHIPPED_SHA256, read_lift
from handlit.program import program
from handlit.types import HandPrediction


class DetectedJoints(NamedTuple):
    """What is seen of right hands.

    Attributes:
        joints_2d: (B, 21, 2) pixels.
        confidence: (B, 21) in [0, 1]; 0 for a joint that was not found.
        intrinsics: (B, 3, 3) of the same pixels, without skew.
    """

    joints_2d: Tensor
    confidence: Tensor
    intrinsics: Tensor


class Lifter:
    """Predicts hands from their 2D joints.

    Args:
        network: The network.
        hand: Layer with ``pose_space="matrix"``.
        chains: Of that hand; made here by default.
        angles: Between joint angles and rotations; made here by default.
    """

    def __init__(
        self,
        network: LiftNetwork,
        hand: HandLayer,
        chains: FingerChains | None = None,
        angles: JointAngles | None = None,
    ) -> None:
        self.network = network
        self.hand = hand
        self.chains = chains or FingerChains(hand)
        self.angles = angles or JointAngles()

    def infer(self, observed: DetectedJoints) -> LiftedHands:
        """Distribution over hands for their 2D joints."""
        joints_2d, confidence, intrinsics = (value.to(self.network.start) for value in observed)
        known = (confidence > 0) & joints_2d.isfinite().all(-1)
        with torch.autocast(joints_2d.device.type, enabled=False):
            view = view_hand(joints_2d, known, intrinsics)
        output = self.network(view, confidence)
        return LiftedHands(output, self.hand, self.chains, self.angles)

    def predict(self, output: LiftedHands) -> HandPrediction:
        """The centre of the distribution; scales are those of its draws."""
        centre = output.centre()
        assert centre.vertices_root is not None
        assert centre.pose is not None
        assert centre.betas is not None
        assert centre.root_cam is not None
        vertex_scale, joint_scale = output.scales()
        root = centre.root_cam[:, 0]
        focal = output.view.intrinsics[:, (0, 1), (0, 1)].prod(1).sqrt()
        return HandPrediction(
            vertices_root=centre.vertices_root[:, 0],
            joints_root=centre.joints_root[:, 0],
            joints_2d=centre.joints_2d[:, 0],
            vertex_scale=vertex_scale,
            joint_scale=joint_scale,
            camera=torch.cat([(focal / root[:, 2])[:, None], centre.joints_2d[:, 0, 0]], 1),
            distribution=output,
            pose=centre.pose[:, 0],
            betas=centre.betas[:, 0],
            root_cam=root,
        )

    @torch.no_grad()
    def lift(self, joints_2d: Tensor, confidence: Tensor, intrinsics: Tensor) -> HandPrediction:
        """Hands of detected joints; right hands only.

        Args:
            joints_2d: (B, 21, 2) pixels.
            confidence: (B, 21) in [0, 1], 0 for a joint that was not found.
            intrinsics: (B, 3, 3) of the same pixels.

        Returns:
            The prediction, in the axes of the camera and the pixels of the joints.
        """
        return self.predict(self.infer(DetectedJoints(joints_2d, confidence, intrinsics)))


def shipped_lifter(mano_path: str | None = None) -> Lifter:
    """The package's own weights, for evaluation; they are of the stand-in hand.

    Args:
        mano_path: Must be None: a MANO hand has other shape coefficients.

    Raises:
        InputError: A MANO file is given, or the weights are damaged.
    """
    if mano_path is not None:
        raise InputError(
            "the package's weights are of the stand-in hand; train them for yours: "
            f"{program()} fit --config experiment/lift --mano_path {mano_path}, and give that run"
        )
    network = read_lift(SHIPPED, SHIPPED_SHA256)
    return Lifter(network, HandLayer(load_hand(), pose_space="matrix"))
