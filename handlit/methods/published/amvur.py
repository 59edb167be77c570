"""AMVUR as its released code computes it, for predicting with its released weights."""

from typing import Any, Literal

from torch import Tensor
from typing_extensions import override

from handlit.distributions.cameras import WeakPerspectiveCamera
from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MIN_SCALE_M, MeshGaussian
from handlit.errors import InputError, check_choice
from handlit.geometry.cameras import crop_to_view
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.graph import GaussianGraph
from handlit.methods.method import HandMethod, Losses
from handlit.models.published.amvur import AMVURReferenceNetwork, ReferenceOutput
from handlit.models.published.amvur.network import ReferenceCameraModel
from handlit.skeleton import WRIST
from handlit.types import HandBatch, HandPrediction


class AMVURReference(HandMethod[ReferenceOutput]):
    """The released system, numerically and with its defects; it predicts and is not trained.

    Weights come from ``handlit import-weights --from amvur``. Joints are regressed from the mesh with the
    released finger-tip vertices, whatever the dataset's are. The method to train is `AMVUR`.

    Args:
        camera: ``"orthographic"`` for weights of the supervised experiments, ``"perspective"`` for weakly supervised
            ones.
        answer: The mesh that is predicted, of the ``"attention"`` branch or of the hand-model ``"prior"``; None for the
            one that the released code submits: the former with the orthographic camera, the latter with the other.
        mano_path: MANO file or folder; the stand-in hand without it.
        image_size: Side of the square crops, pixels; the weights were trained with 224.

    References:
        Jiang et al., CVPR 2023, https://arxiv.org/abs/2304.14299; https://github.com/ZhehengJiangLancaster/AMVUR at
        commit 991150e.
    """

    fixed_settings = frozenset({"tips"})

    def __init__(
        self,
        camera: ReferenceCameraModel = "orthographic",
        answer: Literal["attention", "prior"] | None = None,
        mano_path: str | None = None,
        image_size: int = 224,
    ) -> None:
        super().__init__(image_size)
        check_choice("camera", camera, ReferenceCameraModel)
        if answer is not None:
            check_choice("answer", answer, ("attention", "prior"))
        self.network = AMVURReferenceNetwork(load_hand(mano_path), camera)
        self.answer = answer or ("attention" if camera == "orthographic" else "prior")

    @property
    def hand(self) -> HandLayer:
        """Hand layer whose `joint_matrix` regresses the joints."""
        return self.network.hand

    def infer(self, image: Tensor) -> ReferenceOutput:
        """Meshes and camera for images (B, 3, H, W), uint8; with the perspective camera's mean intrinsics."""
        return self.network(self.network.backbone.normalise(image))

    def losses(self, output: ReferenceOutput, batch: HandBatch) -> Losses:
        """No loss: the method is not trained."""
        return Losses(None, {})

    def predict(self, output: ReferenceOutput) -> HandPrediction:
        """The chosen mesh and its wrist-relative joints.

        The distribution is that of the released vertex samples. Its joints follow from the sampled vertices, where the
        released code draws them once more; their projections are those of the weak perspective at the wrist.
        """
        mesh = output.attention if self.answer == "attention" else output.prior
        wrist = mesh.joints[:, WRIST]
        scale = output.amplitude[:, None].abs() * (mesh.log_variance / 2).exp()
        distribution = MeshGaussian(mesh.vertices - wrist[:, None], scale.clamp(min=MIN_SCALE_M))
        joints = distribution.marginal(self.hand.joint_matrix, relative_to=WRIST)
        size = self.image_size
        view = output.camera.view(wrist, size)
        return HandPrediction(
            vertices_root=distribution.mean,
            joints_root=mesh.joints - wrist[:, None],
            joints_2d=output.camera.to_crop(mesh.joints_2d, size),
            vertex_scale=distribution.stddev,
            joint_scale=joints.stddev,
            camera=view,
            distribution=GaussianHands(
                distribution, self.hand.joint_matrix, WeakPerspectiveCamera(crop_to_view(view, size)), size
            ),
            pose=output.pose,
            betas=output.pose.new_zeros(len(wrist), 10),
            root_cam=wrist if self.network.camera == "perspective" else None,
        )

    @override
    def graph(self) -> GaussianGraph:
        """Also the matrix that regresses the joints of a drawn mesh."""
        return GaussianGraph(self, self.image_size, self.hand.joint_matrix)

    def configure_optimizers(self) -> Any:
        """Refuse to train.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "AMVURReference repeats the released code for its released weights and is not trained; train the method "
            "AMVUR (configs/model/amvur.yaml), which can start from the released backbone: "
            "import-weights --from amvur FILE --part backbone"
        )
