"""``--explain``: definitions without a run, a prediction or a configuration."""

import pytest

from handlit.cli import main
from tests.test_cli import refused


@pytest.mark.parametrize(
    ("command", "names", "absent"),
    [
        ("test", ("CRPS (crps_mm): mm, ↓", "PA-MPJPE (pa_mpjpe_mm)", "arXiv 2210.11179"), "xyz_al_auc3d"),
        ("compare", ("CRPS (crps_mm): mm, ↓", "coverage of 90 % (coverage_90): 0.90"), "(pa_mpjpe_mm)"),
        ("score", ("RA-MPJPE (root_aligned_mpjpe_mm)", "xyz_procrustes_al_mean3d", "xyz_al_auc3d"), "crps_mm"),
    ],
)
def test_all_measures_of_a_command(
    command: str, names: tuple[str, ...], absent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main([command, "--explain"])
    printed = capsys.readouterr().out
    for name in names:
        assert name in printed
    assert absent not in printed


@pytest.mark.parametrize("name", ["crps_mm", "CRPS"])
def test_one_measure(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "--explain", name])
    printed = capsys.readouterr().out
    assert printed.startswith("CRPS (crps_mm)")
    assert "doi:10.1198/016214506000001437" in printed
    assert "energy" not in printed


def test_what_is_not_shown_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "compare shows no measure 'pck': choose one of" in refused(["compare", "--explain", "pck"], capsys)
    assert "--explain belongs to test, compare, score" in refused(["pack", "--explain"], capsys)
