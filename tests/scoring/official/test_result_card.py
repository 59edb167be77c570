import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from handlit.errors import InputError
from handlit.files import sha256
from handlit.scoring.official.result_card import ResultCard, card_path, read_card, write_card


@pytest.fixture
def prediction(tmp_path: Path) -> Path:
    path = tmp_path / "pred.zip"
    path.write_bytes(b"prediction" * 300_000)
    return path


def test_a_card_goes_there_and_back(prediction: Path) -> None:
    digest = hashlib.sha256(prediction.read_bytes()).hexdigest()
    assert sha256(prediction) == digest
    card = ResultCard(method="AMVUR", num_hypotheses=1, crop="amvur, 224 px", prediction_sha256=digest)
    assert write_card(card, prediction) == card_path(prediction) == prediction.with_name("pred.card.json")
    assert read_card(prediction) == card
    assert read_card(prediction, digest) == card
    assert sorted(path.name for path in prediction.parent.iterdir()) == ["pred.card.json", "pred.zip"]


def test_a_foreign_prediction_is_unknown(prediction: Path) -> None:
    card = read_card(prediction)
    assert card == ResultCard(prediction_sha256=sha256(prediction))
    assert [value for value in dataclasses.asdict(card).values() if value is not None] == [card.prediction_sha256]


def test_a_card_does_not_pass_to_another_file_of_the_same_name(prediction: Path) -> None:
    write_card(ResultCard(method="AMVUR", prediction_sha256=sha256(prediction)), prediction)
    prediction.write_bytes(b"something else")
    assert read_card(prediction).method is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected a result card"),
        (b"[1]", "expected an object"),
        (json.dumps({"methd": "AMVUR"}).encode(), "unknown key 'methd'"),
        (json.dumps({"num_hypotheses": "many"}).encode(), "num_hypotheses must be int or null, got many"),
        (json.dumps({"num_hypotheses": True}).encode(), "must be int"),
        (json.dumps({"crop": 224}).encode(), "crop must be str or null, got 224"),
    ],
)
def test_a_broken_card_is_named(prediction: Path, content: bytes, message: str) -> None:
    card_path(prediction).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_card(prediction)
