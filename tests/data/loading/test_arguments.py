"""The arguments of data modules: each is stated once and known to the command line of every module that takes it."""

import pytest
from jsonargparse import ArgumentParser, Namespace

from handlit.data.loading.datamodule import HandDataModule

SHARED = {"image_size", "batch_size", "num_workers", "augmentation", "mano_path", "masks", "on_error", "max_errors"}
#: What a module decides itself.
FIXED = {
    "handlit.data.packed.PackedData": {"masks", "on_error", "max_errors"},
    "handlit.data.mixture.Mixture": {"augmentation", "masks", "on_error", "max_errors"},
    "handlit.data.online.OnlineHands": {"augmentation", "masks", "on_error", "max_errors"},
}
NAMES = ("ho3d.HO3D", "freihand.FreiHAND", "folder.HandFolder", "packed.PackedData", "mixture.Mixture")


def parser() -> ArgumentParser:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(HandDataModule, "data")
    return parser


def parse(name: str, *options: str) -> Namespace:
    required = "--data.parts=[]" if name.endswith("Mixture") else "--data.root=x"
    arguments = [f"--data={name}", *([] if name.endswith("OnlineHands") else [required]), *options]
    return parser().parse_args(arguments).data.init_args


@pytest.mark.parametrize("name", [*(f"handlit.data.{name}" for name in NAMES), "handlit.data.online.OnlineHands"])
def test_shared_arguments_are_known_everywhere_but_where_they_are_fixed(name: str) -> None:
    settings = parse(name, "--data.batch_size=3")
    assert settings.batch_size == 3
    assert SHARED & set(vars(settings)) == SHARED - FIXED.get(name, set())
    for typo in ("batchsize", *FIXED.get(name, ())):
        with pytest.raises(Exception, match=typo):
            parse(name, f"--data.{typo}=3")


def test_help_explains_inherited_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--data.help", "handlit.data.ho3d.HO3D"])
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("Side of the square crops, pixels.", "Folder with ``train.txt``", "Samples per process and step."):
        assert text in printed
