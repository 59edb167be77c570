"""YAML files of strangers: bounded before they are built."""

from pathlib import Path
from typing import Any

import yaml

from handlit.errors import InputError, one_line
from handlit.reading import decode_text, read_bytes

#: Far more than any configuration has: bytes of a file, values with every alias written out, levels.
MAX_BYTES, MAX_VALUES, MAX_DEPTH = 4 << 20, 100_000, 50
#: Names of values, each of which is compared with all before it; letters of a text without quotes, which may be a
#: number of many parts.
MAX_ANCHORS, MAX_PLAIN = 1000, 10_000
_EXPECTED = "a YAML file of settings"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(path: Path) -> Any:
    """Content of a YAML file.

    Raises:
        InputError: It is too large, cannot be read, or is no YAML file.
    """
    try:
        text = decode_text(read_bytes(path, MAX_BYTES, _EXPECTED), path, _EXPECTED)
        check_size(text)
        return yaml.load(text, Loader=_Loader)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except InputError:
        raise
    # also numbers of thousands of digits and dates that are none
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path} is no YAML file: {one_line(error)}") from error


def check_size(text: str) -> None:
    """Refuse a text that would take more memory or time than its length says: aliases of aliases, deep nesting.

    Raises:
        YAMLError: It does, or it is no YAML.
    """
    sizes: dict[str, int] = {}
    values, anchors, open_nodes = 0, 0, list[tuple[str | None, int]]()
    for event in yaml.parse(text, Loader=_Loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.AliasEvent):
            if any(name == anchor for name, _ in open_nodes):
                raise yaml.YAMLError(f"*{anchor} holds itself")
            values += sizes.get(str(anchor), 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((anchor, values))
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            name, before = open_nodes.pop()
            if name is not None:
                sizes[name] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if anchor is not None:
                sizes[anchor] = 1
            if event.implicit[0] and len(event.value) > MAX_PLAIN:
                raise yaml.YAMLError(f"a value without quotes has more than {MAX_PLAIN:,} characters")
        anchors += anchor is not None and not isinstance(event, yaml.AliasEvent)
        if anchors > MAX_ANCHORS:
            raise yaml.YAMLError(f"it names more than {MAX_ANCHORS:,} values (&)")
        if len(open_nodes) > MAX_DEPTH:
            raise yaml.YAMLError(f"values are nested more than {MAX_DEPTH} levels deep")
        if values > MAX_VALUES:
            raise yaml.YAMLError(f"it holds more than {MAX_VALUES:,} values, aliases written out")
