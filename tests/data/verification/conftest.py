"""Small trees of all layouts, and copies that tests may break."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from handlit.data.synthesis import synthesise


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    sizes: dict[Any, int] = {"ho3d_v3": 20, "ho3d_v2": 3, "freihand": 6}
    for layout, train in sizes.items():
        synthesise(folder / layout, layout, train=train, evaluation=3, seed=4, preset="easy", workers=0, progress=False)
    return folder


@pytest.fixture
def ho3d(trees: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trees / "ho3d_v3", tmp_path / "tree", copy_function=os.link))


@pytest.fixture
def freihand(trees: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trees / "freihand", tmp_path / "tree", copy_function=os.link))
