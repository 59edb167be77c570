"""Every choice and every number that a configuration can set is checked by its class, for Python callers, too."""

import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from handlit import callbacks, methods
from handlit.data.folder import HandFolder
from handlit.data.freihand import FreiHAND
from handlit.data.ho3d import HO3D
from handlit.data.loading.augmentation import Augmentation
from handlit.data.loading.datamodule import HandDataModule
from handlit.data.online import OnlineHands
from handlit.errors import InputError
from handlit.methods.learned import LearnedMethod
from handlit.methods.mhentropy import MHEntropyWeights
from handlit.methods.published import AMVURReference
from handlit.methods.supervision import FullSupervision, WeakSupervision
from handlit.models.amvur import AMVURNetwork
from handlit.models.backbones import Backbone
from handlit.models.mhentropy import MHEntropyNetwork

#: Classes, and what stands for their arguments that are not tried.
CLASSES: dict[type, dict[str, Any]] = {
    HO3D: {"root": "x"},
    FreiHAND: {"root": "x"},
    HandFolder: {"root": "x"},
    OnlineHands: {},
    Augmentation: {},
    methods.AMVUR: {"network": None},
    methods.MHEntropy: {"network": None},
    methods.Deterministic: {"network": None},
    methods.MeanHand: {},
    AMVURReference: {},
    MHEntropyWeights: {},
    FullSupervision: {},
    WeakSupervision: {},
    Backbone: {"name": "test_resnet"},
    AMVURNetwork: {"asset": None, "tips": "ho3d", "backbone": None},
    MHEntropyNetwork: {"backbone": None},
    callbacks.HypothesisEvaluation: {},
    callbacks.HypothesisExport: {},
    callbacks.LastCheckpoint: {},
    callbacks.MovingAverage: {},
    callbacks.PredictionPictures: {},
    callbacks.SubmissionCallback: {},
    callbacks.TexturedMeshes: {},
    callbacks.ValidationPictures: {},
}
#: Whose arguments a class hands on.
BASES = {HandDataModule: "kwargs", LearnedMethod: "optimizer"}


def settings(made: type) -> Iterator[tuple[str, Any]]:
    """Names and types of a constructor's arguments, with those that it hands on to its base."""
    takes_more = [p.name for p in inspect.signature(made).parameters.values() if p.kind is p.VAR_KEYWORD]
    bases = [base for base, name in BASES.items() if issubclass(made, base) and name in takes_more]
    for owner in (made, *bases):
        hints = get_type_hints(owner.__init__)  # type: ignore[misc]
        yield from ((name, hint) for name, hint in hints.items() if name not in ("return", *takes_more))


CASES = [
    pytest.param(made, name, wrong, id=f"{made.__name__}-{name}-{wrong}")
    for made in CLASSES
    for name, hint in settings(made)
    # what these data modules decide themselves
    if not (made is OnlineHands and name in ("crop", "masks", "on_error", "max_errors"))
    for wrong in ((None, "?") if get_origin(hint) is Literal else (None, math.nan, -5) if hint in (int, float) else ())
]


@pytest.mark.parametrize(("made", "name", "wrong"), CASES)
def test_a_wrong_value_is_refused(made: Callable[..., object], name: str, wrong: object) -> None:
    given = CLASSES[made] | {name: wrong}  # type: ignore[index]
    with pytest.raises(InputError, match=name):
        made(**given)


def test_there_are_choices_and_numbers_of_each_kind() -> None:
    tried = {(case.values[0], case.values[1]) for case in CASES}
    for made, name in ((HO3D, "batch_size"), (HO3D, "on_error"), (methods.AMVUR, "schedule"), (FreiHAND, "visibility")):
        assert (made, name) in tried
    assert get_args(get_type_hints(HO3D.__init__)["crop"])
