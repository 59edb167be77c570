"""Result cards: where a prediction comes from, in a small JSON file beside it.

A number without its checkpoint, boxes and number of hypotheses cannot be compared. Whoever writes ``pred.zip`` writes
``pred.card.json`` beside it; whoever scores it reads the card. What is not known is null.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import orjson

from handlit.errors import InputError
from handlit.files import sha256, write_bytes
from handlit.reading import parse_json, read_bytes, shown

#: Bytes; a card has less than 2 kB.
MAX_CARD = 1 << 20


@dataclass(frozen=True)
class ResultCard:
    """What a comparison needs to know about a prediction. None where it is not known.

    Attributes:
        method: The method's class name.
        checkpoint: The checkpoint file.
        checkpoint_sha256: Hash of that file.
        training_data: What the weights were trained on.
        evaluation_data: What was predicted.
        box_source: Where the hand boxes of the evaluation images come from.
        root_source: Where the roots that the predicted hands were put at come from.
        crop: Rule and size of the crops.
        test_time_augmentation: What was averaged over; "none" for a single pass.
        num_hypotheses: Hypotheses that the written prediction was made from; 1 for a point estimate.
        calibration: Hash of the ``calibration.json`` that the stated scales are by.
        code_version: Version of the code that predicted.
        prediction_sha256: Hash of the prediction file that the card belongs to.
    """

    method: str | None = None
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    training_data: str | None = None
    evaluation_data: str | None = None
    box_source: str | None = None
    root_source: str | None = None
    crop: str | None = None
    test_time_augmentation: str | None = None
    num_hypotheses: int | None = None
    calibration: str | None = None
    code_version: str | None = None
    prediction_sha256: str | None = None


def card_path(prediction: str | Path) -> Path:
    """Where the card of a prediction lies: ``pred.card.json`` beside ``pred.zip`` or ``pred.json``."""
    path = Path(prediction)
    return path.with_name(f"{path.stem}.card.json")


def write_card(card: ResultCard, prediction: str | Path) -> Path:
    """Write a card beside its prediction, whole or not at all.

    Args:
        card: The card.
        prediction: The prediction file.

    Returns:
        The card's path.
    """
    path = card_path(prediction)
    write_bytes(path, card_content(card))
    return path


def card_content(card: ResultCard) -> bytes:
    """A card's JSON text."""
    return orjson.dumps(asdict(card), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_card(prediction: str | Path, prediction_sha256: str | None = None) -> ResultCard:
    """The card beside a prediction.

    Args:
        prediction: The prediction file.
        prediction_sha256: Its hash, if it is known.

    Returns:
        The card; one with nothing but the hash where no card lies beside the file, or where the card belongs to
        another file of that name.

    Raises:
        InputError: The card is not readable.
    """
    prediction = Path(prediction)
    digest = prediction_sha256 or sha256(prediction)
    unknown = ResultCard(prediction_sha256=digest)
    path = card_path(prediction)
    if not path.is_file():
        return unknown
    content = parse_json(read_bytes(path, MAX_CARD, "a result card"), path, "a result card")
    types = {item.name: int if item.name == "num_hypotheses" else str for item in fields(ResultCard)}
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object with the keys {', '.join(types)}; remove it or write it again")
    for name, value in content.items():
        if name not in types:
            raise InputError(f"{path}: unknown key '{shown(name)}'; a result card has {', '.join(types)}")
        if value is not None and (not isinstance(value, types[name]) or isinstance(value, bool)):
            raise InputError(f"{path}: {name} must be {types[name].__name__} or null, got {shown(value)}")
    card = ResultCard(**content)
    return card if card.prediction_sha256 == digest else unknown
