"""Reads what an offline run of W&B holds: its file is a LevelDB log of protocol buffers."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

#: Of a W&B file: its name, a check number and a version; then come blocks as in
#: https://github.com/google/leveldb/blob/main/doc/log_format.md
_FILE_HEADER, _BLOCK, _HEADER = 7, 32768, struct.Struct("<IHB")
_FULL, _LAST = 1, 4


def records(path: Path) -> list[Any]:
    """Every record of a ``.wandb`` file, in order."""
    # protobuf makes its classes at run time
    record: Any = getattr(wandb_internal_pb2, "Record")  # noqa: B009
    return [record.FromString(chunk) for chunk in _chunks(path.read_bytes())]


def _chunks(content: bytes) -> Iterator[bytes]:
    place, parts = _FILE_HEADER, b""
    while place + _HEADER.size <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER.size:
            place += left
            continue
        _, length, kind = _HEADER.unpack_from(content, place)
        place += _HEADER.size
        parts += content[place : place + length]
        place += length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""


def history(found: list[Any]) -> list[dict[str, Any]]:
    """What was logged, call by call."""
    rows = [record.history.item for record in found if record.HasField("history")]
    return [{_name(item): json.loads(item.value_json) for item in row} for row in rows]


def config(found: list[Any]) -> dict[str, Any]:
    """The configuration, by first-level name."""
    updates = [record.config.update for record in found if record.HasField("config")]
    return {_name(item): json.loads(item.value_json) for update in updates for item in update}


def _name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)
