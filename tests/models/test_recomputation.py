import pytest

from handlit.models.backbones import Backbone
from tests.models.test_backbones import images


@pytest.mark.parametrize("name", ["test_resnet", "hrnet_w18_small"])
def test_recomputed_activations_give_the_same_features(name: str) -> None:
    plain, recomputed = Backbone(name), Backbone(name, activation_checkpointing=True)
    recomputed.load_state_dict(plain.state_dict())
    kinds = {type(module).__name__ for module in recomputed.model.modules()}
    assert ("_RecomputedHRNetModule" in kinds) == name.startswith("hrnet")
    normalised = plain.normalise(images())
    assert recomputed(normalised).pooled.equal(plain(normalised).pooled)
