import pytest

import handlit
from handlit.version import code_version


def test_a_release_names_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert code_version() == f"handlit {handlit.__version__}"


def test_a_checkout_names_its_commit_too() -> None:
    assert code_version().startswith(f"handlit {handlit.__version__}")
