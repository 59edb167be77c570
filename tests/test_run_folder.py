"""What a run folder holds is named."""

from pathlib import Path

from handlit.run_folder import RunFolder


def test_what_lies_in_a_run_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    for name in ("config.yaml", "checkpoints/best.ckpt", "unknown.txt"):
        (tmp_path / name).touch()
    first, *lines = RunFolder(tmp_path).contents()
    assert first == f"{tmp_path} holds"
    assert [line.split()[0] for line in lines] == ["config.yaml", "checkpoints/best.ckpt"]


def test_a_checkpoint_knows_its_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    assert RunFolder.of_checkpoint(run.best).config == run.config
