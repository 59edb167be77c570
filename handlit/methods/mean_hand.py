"""The baseline that every learned method must beat: the training set's mean hand, whatever the image shows."""

import torch
from torch import Tensor
from typing_extensions import override

from handlit.distributions.cameras import WeakPerspectiveCamera
from handlit.distributions.gaussian_hands import GaussianHands
from handlit.distributions.mesh_gaussian import MeshGaussian
from handlit.errors import check_choice
from handlit.geometry.cameras import crop_to_normalised, normalised_to_crop, project, view_to_crop
from handlit.hand.asset import NUM_VERTICES
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.methods.graph import GaussianGraph
from handlit.methods.method import HandMethod, Losses
from handlit.skeleton import WRIST, TipConvention
from handlit.types import HandBatch, HandPrediction


class MeanHand(HandMethod[int]):
    """Mean and standard deviation of the training set's root-relative vertices and its mean camera.

    Training is one epoch; a further epoch computes the same again. It needs no gradients and runs in one process.

    Args:
        mano_path: MANO file or folder; the stand-in hand without it.
        tips: Vertices that stand for the finger tips in the dataset's labels.
        image_size: Side of the square crops, pixels.

    References:
        Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979,
        http://i.stanford.edu/TR/CS-TR-79-773.html.
    """

    vertex_count: Tensor
    vertex_mean: Tensor
    vertex_squares: Tensor
    camera_count: Tensor
    camera_mean: Tensor

    def __init__(self, mano_path: str | None = None, tips: TipConvention = "ho3d", image_size: int = 224) -> None:
        super().__init__(image_size)
        check_choice("tips", tips, TipConvention)
        self.automatic_optimization = False
        self._hand = HandLayer(load_hand(mano_path), tips=tips)
        # float64, for sums over hundreds of thousands of hands
        self.register_buffer("vertex_count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("vertex_mean", torch.zeros(NUM_VERTICES, 3, dtype=torch.float64))
        self.register_buffer("vertex_squares", torch.zeros(NUM_VERTICES, 3, dtype=torch.float64))
        self.register_buffer("camera_count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("camera_mean", torch.zeros(3, dtype=torch.float64))
        # Lightning counts the optimiser's steps, and saves no checkpoint of a run of zero steps
        self.step_counter = torch.nn.Parameter(torch.zeros(()))

    @property
    def hand(self) -> HandLayer:
        """Hand layer that regresses the joints."""
        return self._hand

    def infer(self, image: Tensor) -> int:
        """The number of images, which alone matters."""
        return image.shape[0]

    def losses(self, output: int, batch: HandBatch) -> Losses:
        """No loss: the statistics are not trained by gradients."""
        return Losses(None, {})

    def predict(self, output: int) -> HandPrediction:
        """The mean hand, once per image."""
        batch, size = output, self.image_size
        variance = self.vertex_squares / self.vertex_count.clamp(min=1)
        mesh = MeshGaussian.from_log_variance(self.vertex_mean, variance.log()).expand((batch,))
        joints = mesh.marginal(self.hand.joint_matrix, relative_to=WRIST)
        log_magnification, offset = self.camera_mean.float().split((1, 2))
        view = torch.cat([log_magnification.exp(), offset]).expand(batch, 3)
        camera = WeakPerspectiveCamera(view)
        return HandPrediction(
            vertices_root=mesh.mean,
            joints_root=joints.mean,
            joints_2d=normalised_to_crop(camera.project(joints).mean, size),
            vertex_scale=mesh.stddev,
            joint_scale=joints.stddev,
            camera=view_to_crop(view, size),
            distribution=GaussianHands(mesh, self.hand.joint_matrix, camera, size),
        )

    @override
    def graph(self) -> GaussianGraph:
        """Also the matrix that regresses the joints of a drawn mesh."""
        return GaussianGraph(self, self.image_size, self.hand.joint_matrix)

    @override
    def training_step(self, batch: HandBatch, batch_idx: int) -> None:
        valid = batch.valid["vertices_cam"] & batch.valid["root_cam"]
        vertices = (batch.vertices_cam - batch.root_cam[:, None])[valid].double()
        if len(vertices):
            # Chan's update of mean and sum of squared deviations: no cancellation as with sums of squares
            count = self.vertex_count + len(vertices)
            mean = vertices.mean(0)
            shift = mean - self.vertex_mean
            between = shift.square() * self.vertex_count * len(vertices) / count
            self.vertex_squares += (vertices - mean).square().sum(0) + between
            self.vertex_mean += shift * len(vertices) / count
            self.vertex_count.copy_(count)
        cameras = _cameras(batch)[batch.valid["root_cam"]].double()
        if len(cameras):
            self.camera_count += len(cameras)
            self.camera_mean += (cameras - self.camera_mean).sum(0) / self.camera_count
        self.optimizers().step()  # type: ignore[union-attr]

    @override
    def on_train_epoch_start(self) -> None:
        for name in ("vertex_count", "vertex_mean", "vertex_squares", "camera_count", "camera_mean"):
            getattr(self, name).zero_()

    @override
    def configure_optimizers(self) -> torch.optim.Optimizer:
        """An optimiser that only counts steps: no parameter ever gets a gradient."""
        return torch.optim.SGD([self.step_counter], lr=0.0)


def _cameras(batch: HandBatch) -> Tensor:
    """Weak-perspective cameras (B, 3) that fit the wrist: log magnification per metre and offset, in crop units."""
    size = batch.image.shape[-1]
    focal = (batch.intrinsics[:, 0, 0] + batch.intrinsics[:, 1, 1]) / 2
    log_magnification = (2 * focal / (size * batch.root_cam[:, 2])).log()
    offset = crop_to_normalised(project(batch.root_cam[:, None], batch.intrinsics)[:, 0], size)
    return torch.cat([log_magnification[:, None], offset], dim=1)
