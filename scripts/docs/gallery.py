"""The images of the gallery, in docs/images/gallery: ``python -m scripts.docs.gallery [NAME ...]``.

Photographs need the hand detector (``fetch-detector``); nothing needs a trained run, MANO or a dataset.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from handlit.data.joints import SyntheticJoints
from handlit.data.online import OnlineHands
from handlit.data.synthesis import synthesise
from handlit.data.synthesis.population import Population, draw_hands
from handlit.formats.hand_files import write_image
from handlit.formats.images import read_image
from handlit.geometry import crops
from handlit.hand.joint_angles import JointAngles
from handlit.hand.layer import HandLayer
from handlit.hand.loading import load_hand
from handlit.metrics.calibration import coverage, radial_rank
from handlit.models.lifter import shipped_lifter
from handlit.reconstruct import HandHypotheses, ReconstructedHand, Reconstructor
from handlit.render.figures import BACKGROUND, contact_sheet, reliability_plot, side_view
from handlit.render.overlays import draw_mesh, draw_skeleton, draw_skeletons, scale_colours, spread_colours
from scripts.docs.links import ROOT

FOLDER = ROOT / "docs" / "images" / "gallery"
PHOTOGRAPHS = ROOT / "examples" / "real_hands"
CELL = 200
_SEED = 4
#: Width of what a side view shows, metres.
_EXTENT_M = 0.26


def datasets() -> np.ndarray:
    """What `synth` writes: HO-3D's images, their segmentation, and FreiHAND's four colour versions of one hand."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for layout in ("ho3d_v3", "freihand"):
            synthesise(folder / layout, layout, train=50, evaluation=1, seed=_SEED, workers=0, progress=False)
        images = sorted((folder / "ho3d_v3" / "train").glob("*/rgb/*.jpg"))[::10][:5]
        masks = [next(path.parents[1].glob(f"seg/{path.stem}.*")) for path in images]
        first = [read_image(path) for path in images]
        second = [read_image(path) for path in masks]
        crops_of = [read_image(folder / "freihand" / "training" / "rgb" / f"{50 * k + 7:08d}.jpg") for k in range(4)]
        mask = read_image(folder / "freihand" / "training" / "mask" / f"{7:08d}.jpg")
    return contact_sheet([first, second, [*crops_of, mask]], ["HO-3D's layout", *[""] * 4], CELL)


def rendered() -> np.ndarray:
    """Hands as `OnlineHands` renders them while a network trains: skins, sleeves, light, objects."""
    module = OnlineHands(batch_size=10, num_workers=0, val_samples=10, image_size=CELL)
    module.setup("fit")
    with torch.random.fork_rng():
        torch.manual_seed(_SEED)
        scenes = next(iter(module.val_dataloader()))
        batch = module.on_after_batch_transfer(scenes, 0)
    images = list(batch.image.permute(0, 2, 3, 1).numpy())
    return contact_sheet([images[:5], images[5:]], [""] * 5, CELL)


def postures() -> np.ndarray:
    """Natural poses of the stand-in hand, drawn as synthesis draws them."""
    generator, population = torch.Generator().manual_seed(_SEED), Population()
    hands = draw_hands(population, population.natural_poses(), 10, generator)
    layer, angles = HandLayer(load_hand(), pose_space="matrix"), JointAngles()
    mesh = layer(angles.matrices(hands.free), hands.betas, torch.eye(3).expand(10, 3, 3))
    images = []
    for vertices in mesh.vertices:
        points, intrinsics = side_view(vertices, above=True, extent_m=_EXTENT_M)
        intrinsics[:2] *= CELL
        images.append(draw_mesh(_paper(), points, layer.faces, intrinsics, opacity=1))
    return contact_sheet([images[:5], images[5:]], [""] * 5, CELL)


def hypotheses() -> np.ndarray:
    """Hypotheses of four photographs: skeletons over the image and from the side, and two meshes that differ."""
    reconstruct, rows = Reconstructor(), []
    for digit in (1, 3, 7, 9):
        image = read_image(PHOTOGRAPHS / f"{digit}.jpg")
        (hand,) = reconstruct(image)
        rows.append(hypotheses_row(image, hand, hand.hypotheses(50, seed=_SEED)))
    titles = ("detected joints", "50 hypotheses", "from the side", "one of them", "another", "stated scale")
    return contact_sheet(rows, titles, CELL)


def hypotheses_row(image: np.ndarray, hand: ReconstructedHand, drawn: HandHypotheses) -> list[np.ndarray]:
    """Drawings of one hand and its hypotheses, CELL pixels wide and high each."""
    x0, y0, x1, y1 = hand.box.tolist()
    side = 1.4 * max(x1 - x0, y1 - y0)
    to_cell = crops.crop_transform(np.array([(x0 + x1) / 2, (y0 + y1) / 2]), side, CELL)
    cut = cut_out(image, to_cell)
    colours = spread_colours(torch.from_numpy(drawn.joints_root.std(0)).norm(dim=-1))
    turned = [side_view(torch.from_numpy(joints), extent_m=_EXTENT_M) for joints in drawn.joints_root]
    flat = [CELL * (points[:, :2] / points[:, 2:] * camera[0, 0] + 0.5) for points, camera in turned]
    meshes = [view(vertices, hand) for vertices in drawn.vertices[[0, 1]]]
    return [
        draw_skeleton(cut, crops.apply(to_cell, hand.joints_2d)),
        draw_skeletons(cut, crops.apply(to_cell, drawn.joints_2d), colours),
        draw_skeletons(_paper(), torch.stack(flat).numpy(), colours),
        *meshes,
        view(hand.vertices, hand, scale_colours(torch.from_numpy(hand.vertex_scale))),
    ]


def view(vertices: np.ndarray, hand: ReconstructedHand, colours: torch.Tensor | None = None) -> np.ndarray:
    """A mesh from the side."""
    points, intrinsics = side_view(torch.from_numpy(vertices), extent_m=_EXTENT_M)
    intrinsics[:2] *= CELL
    return draw_mesh(_paper(), points, torch.from_numpy(hand.faces), intrinsics, colours, opacity=1)


def cut_out(image: np.ndarray, to_cell: np.ndarray) -> np.ndarray:
    """The part of an image that a transform maps to a cell."""
    return cv2.warpAffine(image, to_cell, (CELL, CELL), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def reliability() -> np.ndarray:
    """Coverage of the lifting network on 300 fresh synthetic hands: as drawn, and pulled to half its spread."""
    generator, population = torch.Generator().manual_seed(_SEED), Population()
    module = SyntheticJoints(population=population, val_samples=1, test_samples=1)
    module.setup("test")
    hands = draw_hands(population, population.natural_poses(), 300, generator)
    batch = module.batch_of(hands, torch.arange(300), _SEED, generator)
    truth = (batch.joints_cam - batch.root_cam[:, None])[:, 1:]
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(_SEED)
        prediction = shipped_lifter().lift(batch.detected[..., :2], batch.detected[..., 2], batch.intrinsics)
        drawn = prediction.distribution.hypotheses(100).joints_root[:, :, 1:]
    levels = [step / 20 for step in range(21)]
    centre = drawn.mean(1, keepdim=True)
    plots = []
    for factor, title in ((1.0, "Lift, as stated"), (0.5, "the same, half as wide")):
        ranks = radial_rank(centre + factor * (drawn - centre), truth).flatten()
        plots.append(reliability_plot(levels, coverage(ranks, levels).tolist(), title, side=448))
    return np.hstack(plots)


def _paper() -> np.ndarray:
    return np.full((CELL, CELL, 3), BACKGROUND, np.uint8)


#: What is drawn, each into the file of its name.
PICTURES = (datasets, rendered, postures, hypotheses, reliability)


def main(names: Sequence[str] = ()) -> None:
    """Write the images, or those of these names."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for make in PICTURES if not names else [make for make in PICTURES if make.__name__ in names]:
        write_image(FOLDER / f"{make.__name__}.jpg", make())
        print(FOLDER / f"{make.__name__}.jpg")


if __name__ == "__main__":
    main(sys.argv[1:])
