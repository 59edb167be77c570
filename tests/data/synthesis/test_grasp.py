"""Grips touch what they hold and do not run through it."""

import numpy as np
import pytest

from handlit.data.synthesis.grasp import SOFTNESS, HandModel, close_hand
from handlit.data.synthesis.solids import SOLID_KINDS, SolidKind, sample_solid
from handlit.hand.articulation import JOINT_LIMITS
from tests.hand.joint_angles import pose_to_angles


@pytest.mark.parametrize("kind", SOLID_KINDS)
def test_grip_touches_the_object_and_does_not_run_through_it(model: HandModel, kind: SolidKind) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        solid = sample_solid(kind, rng)
        grasp = close_hand(model, solid, np.zeros(10), rng)
        vertices, _ = model.upright(grasp.closed_pose.reshape(1, 45), np.zeros(10))
        distance = solid.closest_surface((vertices[0] - grasp.translation) @ grasp.rotation)[1]
        fingers = (model.chain_of_vertex >= 0) & (model.chain_of_vertex < 4)
        # fingers close one by one; the skin between two of them follows both and may sink a little more
        assert distance[fingers].min() > -SOFTNESS - 1.5e-3
        assert distance.min() > -0.012
        assert distance.min() < 0.006
        angles = pose_to_angles(grasp.closed_pose.reshape(1, 45))[0]
        assert (angles >= JOINT_LIMITS[..., 0] - 1e-6).all()
        assert (angles <= JOINT_LIMITS[..., 1] + 1e-6).all()
