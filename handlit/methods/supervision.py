"""AMVUR's supervision: by meshes, or by 2D joints and calibrated cameras alone.

The published code puts its losses on samples drawn with learned amplitudes. Here each loss has one job: absolute errors
train the means, likelihoods the scales (`losses.gaussian.scale_nll`), and divergences are those of the predicted
Gaussians.

References:
    Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand Reconstruction
    from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from typing_extensions import override

from handlit.distributions.cameras import Camera, normalised_intrinsics
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.errors import check_number
from handlit.geometry.cameras import crop_to_normalised
from handlit.geometry.orthographic_pose import MIN_PAIRS, fit_orthographic_rotation
from handlit.losses.gaussian import correlated_nll, kl_per_coordinate, scale_nll, standard_normal_energy
from handlit.losses.joint_limits import JointLimits
from handlit.losses.points import l1_distance
from handlit.losses.reduction import masked_mean
from handlit.methods.labels import image_labels, mesh_labels
from handlit.methods.method import Losses
from handlit.models.amvur import AMVURNetwork, AMVUROutput
from handlit.skeleton import WRIST
from handlit.types import HandBatch

T = TypeVar("T")

#: Standard deviation of each entry of `Camera.intrinsics` in a dataset's calibration: 2 % of the focal length, a
#: hundredth of the crop. Keeps the divergence from rewarding certainty beyond that.
CALIBRATION_SCALE = 0.02
#: Standard deviation of a joint's label in the likelihood of all joints together, metres.
RESOLUTION_M = 1e-3


class Supervision(nn.Module, ABC):
    """Compares the network's output with the labels that a training regime may see.

    Within an image each 2D joint counts by its confidence (`HandBatch.confidence`), where the data has that.

    Uncertain intrinsics are drawn while training and at their mean otherwise.
    """

    def __init__(self) -> None:
        super().__init__()
        self.joint_limits = JointLimits()

    @abstractmethod
    def forward(self, output: AMVUROutput, batch: HandBatch, network: AMVURNetwork) -> Losses:
        """Weighted sum of the regime's terms; labels that an image lacks are ignored.

        Args:
            output: Output of the network.
            batch: The labels.
            network: Network that produced `output`; its hand model defines the joints.
        """

    def camera(self, output: AMVUROutput) -> Camera:
        """The camera that joints are projected with."""
        return output.camera.rsample() if self.training else output.camera


class FullSupervision(Supervision):
    """Meshes, joints and their projections.

    The paper minimises ``-ln Q(V | I) + KL(Q || P)`` for the attention posterior Q and the hand-model prior P, both
    diagonal Gaussians over the vertices; its code adds reconstruction terms for the meshes, joints and projections of
    both. All terms are means over vertices or joints and coordinates.

    Args:
        vertices: Weight of the mean absolute error of the mean mesh, per metre.
        joints: The same of the joints regressed from it, wrist at the origin, per metre.
        joints_2d: The same of their projections, per unit of normalised crop coordinates (the crop is 2 wide).
        nll: Weight of the negative log-likelihood of the true mesh, per nat and coordinate; trains the scales.
        prior: Factor on these four terms for the prior's mesh.
        kl: Weight of the divergence of the posterior from the prior, per nat and coordinate.
        joint_limits: Weight of the excess of the prior's finger rotations over their anatomical range, per radian.
        intrinsics: Weight of the divergence of a perspective camera's intrinsics from the crop's, per nat and entry.
        nll_joints: Weight of the negative log-likelihood of all joints of the posterior together, per nat and
            coordinate; for a posterior whose vertices share something (``spread_rank``). Not in the paper.
    """

    def __init__(
        self,
        vertices: float = 100.0,
        joints: float = 100.0,
        joints_2d: float = 5.0,
        nll: float = 1.0,
        prior: float = 1.0,
        kl: float = 0.1,
        joint_limits: float = 0.02,
        intrinsics: float = 0.1,
        nll_joints: float = 0.0,
    ) -> None:
        super().__init__()
        both = {"vertices": vertices, "joints": joints, "joints_2d": joints_2d, "nll": nll}
        others = {"kl": kl, "joint_limits": joint_limits, "intrinsics": intrinsics, "nll_joints": nll_joints}
        self.weights = _weights(both, prior, **others)

    @override
    def forward(self, output: AMVUROutput, batch: HandBatch, network: AMVURNetwork) -> Losses:
        joint_matrix = network.hand.joint_matrix
        labels = mesh_labels(batch, joint_matrix)
        target_2d = crop_to_normalised(labels.joints_2d, batch.image.shape[-1])
        camera = self.camera(output)

        def reconstruction(mesh: MeshGaussian) -> dict[str, Tensor]:
            joints = mesh.marginal(joint_matrix, relative_to=WRIST)
            projected = camera.project(joints).mean
            return {
                "vertices": masked_mean(l1_distance(mesh.mean, labels.vertices_root), labels.vertices_valid),
                "joints": masked_mean(l1_distance(joints.mean, labels.joints_root), labels.joints_valid),
                "joints_2d": masked_mean(
                    l1_distance(projected, target_2d, labels.joints_2d_weight), labels.joints_2d_valid
                ),
                "nll": masked_mean(scale_nll(mesh, labels.vertices_root), labels.vertices_valid),
            }

        prior = output.prior.distribution
        labelled = labels.any_valid
        terms = {
            **reconstruction(output.posterior),
            **_of_prior(reconstruction(prior)),
            "kl": masked_mean(kl_per_coordinate(output.posterior, prior), labelled),
            "joint_limits": masked_mean(self.joint_limits(output.prior.finger_pose), labelled),
            **_intrinsics(output.camera, batch, labelled),
        }
        if self.weights["nll_joints"]:
            mesh, moving = output.posterior, slice(WRIST + 1, None)
            covariance = mesh.covariance(joint_matrix, relative_to=WRIST)[:, moving, :, moving]
            mean = mesh.marginal(joint_matrix, relative_to=WRIST).mean[:, moving]
            nll = correlated_nll(mean, covariance, labels.joints_root[:, moving], RESOLUTION_M)
            terms["nll_joints"] = masked_mean(nll, labels.joints_valid)
        return _weighted(terms, self.weights)


class WeakSupervision(Supervision):
    """2D joints and the crops' intrinsics: no 3D label is read.

    The projections of both meshes are compared with the 2D joints, and their likelihood, to which the vertices' scales
    are propagated, trains the scales. Depth and size come from what is known beforehand: the hand model, with Gaussian
    priors on its pose and shape coefficients and the anatomical limits of its joints, and the intrinsics, which turn
    size in the image into distance.

    Projections alone leave hands turned over, in local minima. So the prior also lifts the 2D joints to a mesh: its own
    hand in the orientation in which the mean hand's joints resemble them, in closed form (`geometry.orthographic_pose`;
    the prior's own joints would serve while they are right, but confirm it where its fingers are turned the wrong way).
    This mesh takes the place of the true one: both branches' mean meshes are trained towards it as full supervision
    trains them towards the label, and the posterior's divergence is from the prior's Gaussian around it. It is
    detached, so the prior learns only its orientation from it, and nothing from the posterior.

    The published code has no such mesh and no 2D loss on the attention branch, and submits the prior's mesh. It has
    no prior on the pose coefficients, no shape at all, and ties all scales to one metre (``PV``, here `prior_scale`
    with its own scale).

    Args:
        joints_2d: Weight of the mean absolute error of projected joints, per unit of normalised crop coordinates (the
            crop is 2 wide).
        nll_2d: Weight of the negative log-likelihood of the 2D joints, per nat and coordinate; trains the scales. The
            wrist is left out: the camera alone places it.
        vertices: Weight of the mean absolute error of the mean mesh against the lifted one, per metre.
        prior: Factor on these three terms for the prior's mesh.
        kl: Weight of the divergence of the posterior from the prior around the lifted mesh, per nat and coordinate;
            trains the posterior only.
        joint_limits: Weight of the excess of the prior's finger rotations over their anatomical range, per radian.
        pose: Weight of the standard-normal energy of the prior's principal pose components, per nat and component.
        betas: The same of its shape coefficients.
        prior_scale: Weight of the divergence of the prior's scales from `initial_scale`, per nat and coordinate: it
            keeps scales that no 2D joint determines, such as those along the line of sight.
        initial_scale: Standard deviation of a vertex coordinate about which nothing is known, metres.
        intrinsics: Weight of the divergence of a perspective camera's intrinsics from the crop's, per nat and entry.
        visible_only: Use only visible joints, where the data has visibility; the paper uses all.
    """

    def __init__(
        self,
        joints_2d: float = 5.0,
        nll_2d: float = 0.1,
        vertices: float = 100.0,
        prior: float = 1.0,
        kl: float = 0.1,
        joint_limits: float = 1.0,
        pose: float = 0.1,
        betas: float = 0.1,
        prior_scale: float = 0.01,
        initial_scale: float = 0.02,
        intrinsics: float = 0.03,
        visible_only: bool = False,
    ) -> None:
        super().__init__()
        check_number("initial_scale", initial_scale, above=0)
        self.initial_scale = initial_scale
        self.visible_only = visible_only
        others = {"kl": kl, "joint_limits": joint_limits, "pose": pose, "betas": betas, "prior_scale": prior_scale}
        both = {"joints_2d": joints_2d, "nll_2d": nll_2d, "vertices": vertices}
        self.weights = _weights(both, prior, **others, intrinsics=intrinsics)

    @override
    def forward(self, output: AMVUROutput, batch: HandBatch, network: AMVURNetwork) -> Losses:
        joint_matrix = network.hand.joint_matrix
        labels = image_labels(batch, self.visible_only)
        target = crop_to_normalised(labels.joints_2d, batch.image.shape[-1])
        labelled = labels.any_valid
        liftable = labels.valid.sum(1) >= MIN_PAIRS
        camera = self.camera(output)
        fingers = labels.weight[:, WRIST + 1 :]
        prior = output.prior
        with torch.autocast(target.device.type, enabled=False):
            # the hand without its orientation, detached
            upright = prior.distribution.mean.detach() @ prior.rotation.detach()
            rest = network.template_joints.expand(len(target), -1, -1)
            lifted = upright @ fit_orthographic_rotation(rest, target, labels.weight).mT
            turned = upright @ prior.rotation.mT
        scale = prior.distribution.stddev

        def reconstruction(mesh: MeshGaussian, vertices: Tensor) -> dict[str, Tensor]:
            projected = camera.project(mesh.marginal(joint_matrix, relative_to=WRIST))
            moving = Normal(projected.mean[:, WRIST + 1 :], projected.stddev[:, WRIST + 1 :], validate_args=False)
            nll = scale_nll(_as_event(moving), target[:, WRIST + 1 :], fingers)
            return {
                "joints_2d": masked_mean(l1_distance(projected.mean, target, labels.weight), labelled),
                "nll_2d": masked_mean(nll, (fingers > 0).any(1)),
                "vertices": masked_mean(l1_distance(vertices, lifted), liftable),
            }

        uninformed = MeshGaussian(lifted, torch.full_like(scale, self.initial_scale))
        terms = {
            **reconstruction(output.posterior, output.posterior.mean),
            **_of_prior(reconstruction(prior.distribution, turned)),
            "kl": masked_mean(kl_per_coordinate(output.posterior, MeshGaussian(lifted, scale.detach())), liftable),
            "joint_limits": masked_mean(self.joint_limits(prior.finger_pose), labelled),
            "pose": masked_mean(standard_normal_energy(prior.pose_coefficients), labelled),
            "betas": masked_mean(standard_normal_energy(prior.betas), labelled),
            "prior_scale": masked_mean(kl_per_coordinate(MeshGaussian(lifted, scale), uninformed), labelled),
            **_intrinsics(output.camera, batch, labelled),
        }
        return _weighted(terms, self.weights)


def _weights(both: Mapping[str, float], prior: float, **others: float) -> dict[str, float]:
    """Weights of all terms: those that posterior and prior have in common, and others.

    Raises:
        InputError: One is negative or no number.
    """
    for name, weight in {**both, "prior": prior, **others}.items():
        check_number(name, weight, least=0)
    return {**both, **_of_prior({name: prior * weight for name, weight in both.items()}), **others}


def _of_prior(values: Mapping[str, T]) -> dict[str, T]:
    return {f"prior_{name}": value for name, value in values.items()}


def _intrinsics(camera: Camera, batch: HandBatch, labelled: Tensor) -> dict[str, Tensor]:
    """Divergence of the calibration, with its uncertainty, from the predicted intrinsics.

    In this direction the predicted uncertainty becomes that of the prediction. The published code has the other one,
    against a Gaussian so wide that it carries no information (variance e for numbers about 1).
    """
    if camera.intrinsics is None:
        return {}
    calibration = normalised_intrinsics(batch.intrinsics, batch.image.shape[-1])
    truth = Normal(calibration, torch.full_like(calibration, CALIBRATION_SCALE), validate_args=False)
    divergence = kl_per_coordinate(_as_event(truth), _as_event(camera.intrinsics))
    return {"intrinsics": masked_mean(divergence, labelled)}


def _as_event(normal: Normal) -> Independent[Normal]:
    """All but the batch dimension as one event."""
    return Independent(normal, normal.mean.dim() - 1, validate_args=False)


def _weighted(terms: dict[str, Tensor], weights: Mapping[str, float]) -> Losses:
    return Losses(torch.stack([weights[name] * value for name, value in terms.items()]).sum(), terms)
