"""The built-in hand and its renderer."""

import pytest

from handlit.data.synthesis.grasp import HandModel
from handlit.data.synthesis.renderer import SceneRenderer
from handlit.hand.loading import load_hand


@pytest.fixture(scope="session")
def model() -> HandModel:
    return HandModel(load_hand())


@pytest.fixture(scope="session")
def renderer(model: HandModel) -> SceneRenderer:
    return SceneRenderer(model)
