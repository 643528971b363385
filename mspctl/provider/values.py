"""
What Pulumi's wire says, as plain values and back: secrets and what is unknown yet are marked there by magic keys.

A secret is known by its path (a tuple of keys), so that it is one again when the value goes back.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from google.protobuf import struct_pb2

# Of the wire's own; pulumi/sdk/proto/provider.proto, "special values".
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 (a mark, not a secret)
REDACTED = "[secret]"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # a value that nobody knows before something is made

Path = tuple[str, ...]
RESOURCE = 3  # keys of a resource's path: resources, kind, name
Plain = dict[str, Any]


def opened(struct: struct_pb2.Struct) -> tuple[Plain, frozenset[Path]]:
    """Plain values, numbers as integers where they are; and the paths of what is secret."""
    found: set[Path] = set()
    data = _opened({key: _data(value) for key, value in struct.fields.items()}, (), found)
    return data, frozenset(found)


def _data(value: struct_pb2.Value) -> Any:
    """By hand: the library's own way fails where a number is infinite."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {key: _data(each) for key, each in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_data(each) for each in value.list_value.values]
    return getattr(value, kind) if kind and kind != "null_value" else None


def _opened(data: Any, path: Path, found: set[Path]) -> Any:
    if isinstance(data, dict):
        if is_secret(data):
            found.add(path)
            return _opened(data.get("value"), path, found)
        return {key: _opened(value, (*path, key), found) for key, value in data.items()}
    if isinstance(data, list):  # items have no names; when one is secret, all of the list is
        return [_opened(value, path, found) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def is_secret(data: Mapping[str, Any]) -> bool:
    """Whether a mapping is a secret as the wire, and a state, wrap it."""
    return data.get(_SIGNATURE) == _SECRET


def closed(data: Mapping[str, Any], secret: Collection[Path] = ()) -> struct_pb2.Struct:
    """Back, with what is secret marked; of a path that is not there, the nearest that holds it is."""
    struct = struct_pb2.Struct()
    struct.update(_closed(data, (), frozenset(_nearest(data, path) for path in secret) - {()}))
    return struct


def _nearest(data: Any, path: Path) -> Path:
    there = 0
    while there < len(path) and isinstance(data, Mapping) and data.get(path[there]) is not None:
        data, there = data[path[there]], there + 1
    return path[:there]


def within(data: Mapping[str, Any], secret: Collection[Path]) -> frozenset[Path]:
    """What of `secret` is about resources that are there; names are in normal form by now."""
    return frozenset(path for path in secret if len(_nearest(data, path)) >= min(len(path), RESOURCE))


def _closed(data: Any, path: Path, secret: frozenset[Path]) -> Any:
    if isinstance(data, Mapping):
        made: Any = {key: _closed(value, (*path, key), secret) for key, value in data.items() if value is not None}
    else:
        made = data
    return {_SIGNATURE: _SECRET, "value": made} if path in secret else made


def words(data: Any, secret: Collection[Path], path: Path = ()) -> Iterator[str]:
    """The texts of what is secret, so that no message repeats them."""
    if path in secret:
        yield from (text for text in leaves(data) if len(text) > 3)
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from words(value, secret, (*path, key))


def without(text: str, word: str) -> str:
    """A message that does not repeat a word: not as it is quoted either, and not the part where it was cut short."""
    for spelling in {word, word.strip('"'), repr(word)[1:-1]} - {""}:
        text = re.sub(re.escape(spelling), lambda _: REDACTED, text, flags=re.IGNORECASE)
        parts = text.split("…")
        text = "…".join([*(_uncut(part, spelling) for part in parts[:-1]), parts[-1]])
    return text


def _uncut(part: str, word: str) -> str:
    for length in range(min(len(part), len(word)), 3, -1):
        if part.lower().endswith(word[:length].lower()):
            return part[:-length] + REDACTED
    return part


def leaves(data: Any) -> Iterator[str]:
    if isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from leaves(value)
    elif data is not None and not isinstance(data, bool):
        yield str(data)


def has_unknown(data: Any) -> bool:
    return any(text == UNKNOWN for text in leaves(data))


def is_within(path: Path, outer: Path) -> bool:
    """Whether a path is another one, or below it; `*` stands for any key."""
    return len(path) >= len(outer) and all(key in (mine, "*") for mine, key in zip(path, outer, strict=False))


def parsed(text: str) -> Path:
    """A path as Pulumi writes it, as keys; what is no path is one that nothing is within."""
    parts = re.findall(r'\.?([^.\[\]"]+)|\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]', text)
    return tuple(name or re.sub(r"\\(.)", r"\1", quoted) or index for name, quoted, index in parts)


def spelled(path: Path) -> str:
    """A path as Pulumi writes it: `resources.rrset["www A"].ttl`."""
    text = ""
    for key in path:
        if re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_$]*", key):
            text += f".{key}" if text else key
        else:
            escaped = key.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text
