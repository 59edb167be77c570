"""AMVUR (CVPR 2023): an attention posterior over the mesh, tied to a hand-model prior."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from typing_extensions import override

from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.errors import InputError, check_choice, check_number
from handlit.geometry.cameras import normalised_to_crop, view_to_crop
from handlit.hand.asset import HandAsset
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.losses.photometric import hand_pixels, photometric_distance
from handlit.losses.reduction import masked_mean, zero_of
from handlit.methods.graph import GaussianGraph, SpreadGraph
from handlit.methods.learned import LearnedMethod
from handlit.methods.method import Losses
from handlit.methods.supervision import FullSupervision, Supervision
from handlit.models.amvur import AMVURNetwork, AMVUROutput
from handlit.models.texture import HandView, view_hands
from handlit.skeleton import WRIST, TipConvention
from handlit.types import HandBatch, HandPrediction


class AMVUR(LearnedMethod[AMVUROutput]):
    """Attention-based mesh vertices uncertainty regression.

    The point estimate is the mean of one of the network's two distributions over meshes; joints are regressed from it.
    With a texture branch the predicted mesh can be coloured and compared with the image; nothing of this is computed
    unless the photometric loss has a weight or `colours` is called.

    Args:
        network: Builds the network from the hand model and the finger-tip convention.
        supervision: What is learned from which labels; `FullSupervision` by default.
        answer: The mesh that is predicted: the ``"attention"`` posterior's or the hand-model ``"prior"``'s (which the
            published code submits when it is weakly supervised).
        mano_path: MANO file or folder; the stand-in hand without it.
        tips: Vertices that stand for the finger tips in the dataset's labels.
        image_size: Side of the square crops, pixels.
        photometric: Weight of the photometric loss of the predicted mesh, per unit of RGB in [0, 1]; its gradient
            reaches the colours, and the mesh through the shading and the places where colours lie. 1e-3 in the paper's
            code with full supervision, 1e-4 with weak supervision.
        photometric_from: First epoch, counted from 0, with the photometric loss; 21 in the code with weak supervision.
        **optimizer: Learning rate and schedule, see `LearnedMethod`.

    References:
        Jiang et al., "A Probabilistic Attention Model with Occlusion-aware Texture Regression for 3D Hand
        Reconstruction from a Single RGB Image", CVPR 2023, https://arxiv.org/abs/2304.14299. docs/explanations/amvur.md
        lists where this departs from the released code,
        https://github.com/ZhehengJiangLancaster/AMVUR at commit 991150e.
    """

    def __init__(
        self,
        network: Callable[[HandAsset, TipConvention], AMVURNetwork],
        supervision: Supervision | None = None,
        answer: Literal["attention", "prior"] = "attention",
        mano_path: str | None = None,
        tips: TipConvention = "ho3d",
        image_size: int = 224,
        photometric: float = 0.0,
        photometric_from: int = 0,
        **optimizer: Any,
    ) -> None:
        super().__init__(image_size, **optimizer)
        check_choice("tips", tips, TipConvention)
        check_choice("answer", answer, ("attention", "prior"))
        check_number("photometric", photometric, least=0)
        check_number("photometric_from", photometric_from, least=0, whole=True)
        self.network = network(load_hand(mano_path), tips)
        self.supervision = supervision or FullSupervision()
        self.answer = answer
        self.photometric = photometric
        self.photometric_from = photometric_from
        if photometric and self.network.texture is None:
            raise InputError(
                "photometric has a weight, but the network has no texture branch: give network.init_args.texture and "
                "network.init_args.backbone.init_args.maps: true, or set photometric to 0"
            )

    @property
    def hand(self) -> HandLayer:
        """The prior's hand layer."""
        return self.network.hand

    def infer(self, image: Tensor) -> AMVUROutput:
        """Posterior, prior and camera for images (B, 3, H, W), uint8."""
        return self.network(self.network.backbone.normalise(image))

    def losses(self, output: AMVUROutput, batch: HandBatch) -> Losses:
        """The supervision's terms, and the photometric loss where it has a weight."""
        losses = self.supervision(output, batch, self.network)
        assert losses.total is not None
        if not self.photometric or self.current_epoch < self.photometric_from:
            if self.network.texture is None:
                return losses
            return Losses(losses.total + zero_of(self.network.texture.parameters()), losses.terms)
        view, colours = self._coloured(output, batch)
        rendered, coloured_by_visible = view.render(colours)
        distance, compared = photometric_distance(rendered, batch.image, coloured_by_visible & hand_pixels(batch))
        # an image without any label may show no hand at all
        labelled = batch.valid["joints_2d"] | batch.valid["joints_cam"] | batch.valid["vertices_cam"]
        value = masked_mean(distance, compared & labelled)
        return Losses(losses.total + self.photometric * value, {**losses.terms, "photometric": value})

    @torch.no_grad()
    def colours(self, batch: HandBatch) -> Tensor:
        """Colour the predicted meshes; known masks of hand and objects keep what occludes the hand off it.

        Args:
            batch: The images and, where they are known, the masks.

        Returns:
            (B, 778, 3) RGB in [0, 1], before light, of every vertex: hidden ones as the network completes them.

        Raises:
            InputError: The network has no texture branch.
        """
        return self._coloured(self.infer(batch.image), batch)[1]

    def _coloured(self, output: AMVUROutput, batch: HandBatch) -> tuple[HandView, Tensor]:
        """The predicted mesh as the mean camera shows it, and its colours."""
        if self.network.texture is None:
            raise InputError("the network has no texture branch: give network.init_args.texture and train it")
        mesh, shown = self._answer(output), hand_pixels(batch)
        view = view_hands(mesh, output.camera, self.hand.faces, self.image_size, shown)
        return view, self.network.texture(output.maps, view.points, view.visible)

    def _answer(self, output: AMVUROutput) -> MeshGaussian:
        return output.posterior if self.answer == "attention" else output.prior.distribution

    def predict(self, output: AMVUROutput) -> HandPrediction:
        """Mean, scales and distribution of the chosen mesh; pose and shape are the prior's."""
        mesh = self._answer(output)
        joints = mesh.marginal(self.hand.joint_matrix, relative_to=WRIST)
        return HandPrediction(
            vertices_root=mesh.mean,
            joints_root=joints.mean,
            joints_2d=normalised_to_crop(output.camera.project(joints).mean, self.image_size),
            vertex_scale=mesh.stddev,
            joint_scale=joints.stddev,
            camera=view_to_crop(output.camera.view, self.image_size),
            distribution=GaussianHands(mesh, self.hand.joint_matrix, output.camera, self.image_size),
            pose=output.prior.pose,
            betas=output.prior.betas,
            root_cam=output.camera.root_cam,
        )

    @override
    def graph(self) -> GaussianGraph:
        """Also the matrix that regresses the joints of a drawn mesh, and what its vertices share, if they do."""
        spread = self.network.spread
        if spread is not None and self.answer == "attention":
            return SpreadGraph(self, self.image_size, self.hand.joint_matrix, spread.rank)
        return GaussianGraph(self, self.image_size, self.hand.joint_matrix)
