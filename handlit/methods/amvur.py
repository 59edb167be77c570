"""AMVUR (CVPR 2023) with full supervision: an attention posterior over the mesh, tied to a hand-model prior."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Normal

from handlit.distributions.mesh_gaussian import MeshGaussian, project_weak_gaussian
from handlit.geometry.cameras import crop_to_normalised, normalised_to_crop
from handlit.hand.asset import HandAsset, load_hand
from handlit.hand.layer import HandLayer
from handlit.losses.gaussian import kl_per_coordinate, scale_nll
from handlit.losses.joint_limits import JointLimits
from handlit.losses.points import l1_distance
from handlit.losses.reduction import masked_mean
from handlit.methods.labels import MeshLabels, mesh_labels
from handlit.methods.method import HandMethod, Losses
from handlit.models.amvur import AMVURNetwork, AMVUROutput
from handlit.skeleton import TipConvention
from handlit.types import HandBatch, HandPrediction, InputError

_WRIST = 0


@dataclass
class AMVURWeights:
    """Weights of the loss terms.

    Attributes:
        vertices: Mean absolute error of the mean mesh, per metre.
        joints: The same of the joints regressed from it, wrist at the origin, per metre.
        joints_2d: The same of their projections, per unit of normalised crop coordinates (the crop is 2 wide).
        nll: Negative log-likelihood of the true mesh, per nat and coordinate; trains the scales.
        prior: Factor on these four terms for the prior's mesh.
        kl: Divergence of the posterior from the prior, per nat and coordinate.
        joint_limits: Excess of the prior's finger rotations over their anatomical range, per radian.
    """

    vertices: float = 100.0
    joints: float = 100.0
    joints_2d: float = 5.0
    nll: float = 1.0
    prior: float = 1.0
    kl: float = 0.1
    joint_limits: float = 0.02


class AMVUR(HandMethod[AMVUROutput]):
    """Attention-based mesh vertices uncertainty regression, supervised by meshes.

    The paper minimises ``-ln Q(V | I) + KL(Q || P)`` for the posterior Q and the prior P, both diagonal Gaussians over
    the vertices; its code adds reconstruction terms for the meshes, joints and projections of both. Here the
    reconstruction terms train the means, the likelihoods the scales (see `losses.gaussian.scale_nll`), and the
    divergence is that of the two Gaussians.

    The point estimate is the posterior's mean; joints are regressed from it.

    Args:
        network: Builds the network from the hand model and the finger-tip convention.
        mano_path: MANO file or folder; the stand-in hand without it.
        tips: Vertices that stand for the finger tips in the dataset's labels.
        image_size: Side of the square crops, pixels.
        weights: Of the loss terms.
        learning_rate: Of Adam; the highest one for ``one_cycle``.
        schedule: ``"step"``: a tenth every `step_epochs` epochs, as published. ``"one_cycle"``: a rise and a cosine
            fall over the whole run, for runs of a few epochs.
        step_epochs: See `schedule`.
        warmup: Part of a ``one_cycle`` run in which the learning rate rises.
        fused: One kernel for all of Adam's updates, several times faster; Lightning refuses it with gradient clipping
            under ``16-mixed``.
    """

    def __init__(
        self,
        network: Callable[[HandAsset, TipConvention], AMVURNetwork],
        mano_path: str | None = None,
        tips: TipConvention = "ho3d",
        image_size: int = 224,
        weights: AMVURWeights | None = None,
        learning_rate: float = 5e-5,
        schedule: Literal["step", "one_cycle"] = "step",
        step_epochs: int = 20,
        warmup: float = 0.1,
        fused: bool = True,
    ) -> None:
        super().__init__(image_size)
        self.network = network(load_hand(mano_path), tips)
        self.joint_limits = JointLimits()
        self.weights = weights or AMVURWeights()
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.step_epochs = step_epochs
        self.warmup = warmup
        self.fused = fused

    @property
    def hand(self) -> HandLayer:
        """The prior's hand layer."""
        return self.network.hand

    def infer(self, image: Tensor) -> AMVUROutput:
        """Posterior, prior and camera for images (B, 3, H, W), uint8."""
        return self.network(self.network.backbone.normalise(image))

    def losses(self, output: AMVUROutput, batch: HandBatch) -> Losses:
        """Weighted sum of the terms of `AMVURWeights`; labels that an image lacks count nothing."""
        labels = mesh_labels(batch, self.hand.joint_matrix)
        posterior, prior = output.posterior, output.prior.distribution
        terms = self._reconstruction(posterior, output.camera, labels)
        of_prior = self._reconstruction(prior, output.camera, labels)
        seen = labels.any_valid
        kl = masked_mean(kl_per_coordinate(posterior, prior), seen)
        joint_limits = masked_mean(self.joint_limits(output.prior.finger_pose), seen)

        weights = self.weights
        total = weights.kl * kl + weights.joint_limits * joint_limits
        for name, term in terms.items():
            total = total + getattr(weights, name) * (term + weights.prior * of_prior[name])
        named_prior = {f"prior_{name}": value for name, value in of_prior.items()}
        return Losses(total, {**terms, **named_prior, "kl": kl, "joint_limits": joint_limits})

    def predict(self, output: AMVUROutput) -> HandPrediction:
        """The posterior's mean, scales and distribution; pose and shape are the prior's."""
        joints = self._joints(output.posterior)
        magnification, offset = output.camera.split((1, 2), dim=1)
        size = self.image_size
        camera = torch.cat([magnification * size / 2, normalised_to_crop(offset, size)], dim=1)
        return HandPrediction(
            vertices_root=output.posterior.mean,
            joints_root=joints.mean,
            joints_2d=project_weak_gaussian(joints, camera).mean,
            vertex_scale=output.posterior.stddev,
            joint_scale=joints.stddev,
            camera=camera,
            distribution=output.posterior,
            pose=output.prior.pose,
            betas=output.prior.betas,
        )

    def configure_optimizers(self) -> Any:
        """Adam with the chosen schedule."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.learning_rate, fused=self.fused)
        if self.schedule == "step":
            scheduler: Any = torch.optim.lr_scheduler.StepLR(optimizer, step_size=self.step_epochs, gamma=0.1)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise InputError("schedule='one_cycle' needs to know the run's length: set trainer.max_epochs or max_steps")
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.learning_rate, total_steps=int(steps), pct_start=self.warmup, cycle_momentum=False
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _joints(self, mesh: MeshGaussian) -> Normal:
        return mesh.marginal(self.hand.joint_matrix, relative_to=_WRIST)

    def _reconstruction(self, mesh: MeshGaussian, camera: Tensor, labels: MeshLabels) -> dict[str, Tensor]:
        """How far a distribution over meshes is from the labels."""
        joints = self._joints(mesh)
        projected = project_weak_gaussian(joints, camera).mean
        target_2d = crop_to_normalised(labels.joints_2d, self.image_size)
        return {
            "vertices": masked_mean(l1_distance(mesh.mean, labels.vertices_root), labels.vertices_valid),
            "joints": masked_mean(l1_distance(joints.mean, labels.joints_root), labels.joints_valid),
            "joints_2d": masked_mean(l1_distance(projected, target_2d), labels.joints_2d_valid),
            "nll": masked_mean(scale_nll(mesh, labels.vertices_root), labels.vertices_valid),
        }
