"""
Changes to YAML in place: the values that are meant, and not one byte besides.

Engineers choose the order, the quotes and the comments of their files. So an edit is a patch of text at the place where
libyaml found the node, never a file written anew: of 406 files of a real DNS estate, ruamel.yaml's round trip left none
as it was with its defaults, and 390 once told that estate's indentation, width and first line; and it closes up columns
that were aligned by hand.

Every edit verifies itself: the new text is read with our strict reader and must hold the old data with the edit applied
to it; else InputError is raised and nothing is returned.

What belongs to an entry and goes with it: the comment at the end of its lines, the comment lines right above it at its
own indent, and comment lines below it that are indented deeper. A comment that opens the file is the file's.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import reduce
from pathlib import Path
from typing import TypeAlias

from mspctl import strict_yaml
from mspctl.edit import patch
from mspctl.edit.document import Document, Keys
from mspctl.edit.text import Bare, Plain, dump, plain_data, scalar
from mspctl.errors import InputError
from mspctl.strict_yaml import Data

__all__ = [
    "Bare", "Delete", "Edit", "Insert", "Keys", "Plain", "Rename", "Set",
    "apply_edits", "delete", "dump", "edit", "insert", "rename_key", "scalar", "set_value", "write",
]  # fmt: skip

_BREAKS = re.compile("\r(?!\n)|[\x85\u2028\u2029\ufeff]")  # line ends that nobody sees, and the byte-order mark


@dataclass(frozen=True, slots=True)
class Set:
    """Put a value at `path`. Mappings missing above it are made; of a collection there, only what differs changes."""

    path: Keys
    value: Plain


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key or an item. What becomes empty stays, as {} or []; with `prune` it goes too, up to the root."""

    path: Keys
    prune: bool = False


@dataclass(frozen=True, slots=True)
class Insert:
    """Put an item into the list at `path`, before position `index`; at its end when None. A missing list is made."""

    path: Keys
    value: Plain
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Rename:
    """Give the key at the end of `path` another name, in its place."""

    path: Keys
    new: str


Edit: TypeAlias = Set | Delete | Insert | Rename


def edit(text: str, edits: Iterable[Edit], *, file: str = "text") -> str:
    """
    The text with all edits done, one after the other; `file` is its name in errors.
    Raises InputError when the strict reader refuses the text, a path leads nowhere, or an edit cannot be made without
    changing something else (inside a value that an alias repeats elsewhere, say).
    """
    if found := _BREAKS.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise InputError.at(file, f"character U+{ord(found[0]):04X} is not allowed (remove it)", line)
    eol = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    open_end = bool(text) and not text.endswith("\n")
    before = Document(text + eol if open_end else text, eol, file)
    edits = [_plain(one) for one in edits]
    after = reduce(_applied, edits, before)
    if after is before:
        return text
    return _without_last_end(text, edits, after) if open_end else after.text


def set_value(text: str, path: Keys, value: Plain, *, file: str = "text") -> str:
    return edit(text, [Set(path, value)], file=file)


def delete(text: str, path: Keys, *, prune: bool = False, file: str = "text") -> str:
    return edit(text, [Delete(path, prune)], file=file)


def insert(text: str, path: Keys, value: Plain, index: int | None = None, *, file: str = "text") -> str:
    return edit(text, [Insert(path, value, index)], file=file)


def rename_key(text: str, path: Keys, new: str, *, file: str = "text") -> str:
    return edit(text, [Rename(path, new)], file=file)


def _plain(one: Edit) -> Edit:
    """The edit with a value of dicts, lists and text; TypeError for what a type checker would have found."""
    if isinstance(one.path, str):
        raise TypeError(f"a path is a sequence of keys, not text ({one.path!r})")
    return replace(one, value=plain_data(one.value)) if isinstance(one, Set | Insert) else one


def _applied(doc: Document, one: Edit) -> Document:
    """The document after one edit, verified."""
    if not one.path and not isinstance(one, Set | Insert):
        raise doc.refused("the whole document cannot be deleted or renamed", ())
    if isinstance(one, Rename) and one.path[-1] == one.new:
        return doc
    if isinstance(one, Delete) and one.prune and doc.whole_trail(one.path):
        one = Delete(_pruned(doc.data, one.path))
    if isinstance(one, Set):
        after = _set(doc, one)
    elif isinstance(one, Insert):
        after = doc.patched(patch.insert(doc, one.path, one.value, one.index), one.path)
    elif isinstance(one, Delete):
        after = doc.patched(patch.delete(doc, one.path), one.path)
    else:
        after = doc.patched(patch.rename(doc, one.path, one.new), one.path)
    if after.data != _expected(doc.data, one):
        raise doc.unsafe(one.path)
    return after


def _set(doc: Document, one: Set) -> Document:
    """One patch, or where a collection takes the place of one of its kind, an edit for each difference."""
    trail, missing = doc.trail(one.path)
    if not missing:
        if _get(doc.data, one.path) == one.value:
            return doc
        node, kinds = trail[-1].value, {"map": dict, "seq": list}
        if node.entries and node.bracketed and one.value and isinstance(one.value, kinds[node.what]):
            doc.refuse_shared(node, one.path)
            return reduce(_applied, _differences(_get(doc.data, one.path), one.value, tuple(one.path)), doc)
    return doc.patched(patch.set_value(doc, one.path, one.value), one.path)


def _differences(old: Data, new: Data, path: Keys) -> Iterator[Edit]:
    """Edits from one collection to another of its kind; nothing is ever emptied on the way, so that styles stay."""
    if isinstance(new, dict):
        yield from (Set((*path, k), v) for k, v in new.items() if k not in old or old[k] != v)
        yield from (Delete((*path, k)) for k in old if k not in new)
        return
    opcodes = SequenceMatcher(None, list(map(repr, old)), list(map(repr, new)), autojunk=False).get_opcodes()
    for tag, old_from, old_to, new_from, new_to in reversed(opcodes):
        if tag == "equal":
            continue
        paired = min(old_to - old_from, new_to - new_from)
        yield from (Insert(path, new[i], old_from + paired) for i in reversed(range(new_from + paired, new_to)))
        yield from (Delete((*path, i)) for i in reversed(range(old_from + paired, old_to)))
        yield from (Set((*path, old_from + i), new[new_from + i]) for i in range(paired))


def _without_last_end(text: str, edits: list[Edit], after: Document) -> str:
    """The result for a text whose last line was not ended: without that end too, unless a block scalar needs it now."""
    data, problems = strict_yaml.parse(text, after.file, strict_yaml.Problems()), strict_yaml.Problems()
    for one in edits:
        data = _expected(data, Delete(_pruned(data, one.path)) if isinstance(one, Delete) and one.prune else one)
    for result in (after.text.removesuffix(after.eol), after.text):
        if strict_yaml.parse(result, after.file, problems) == data and not problems:
            return result
    raise after.refused("its last line must be ended before this can be changed", ())


# --- the same edits on plain data -----------------------------------------------------------------------------------


def _expected(data: Data, one: Edit) -> Data:
    """What must be read after an edit. Copies only what is on the way."""
    if isinstance(one, Set):
        return _put(data, one.path, one.value)
    if isinstance(one, Insert):
        items = _get(data, one.path) or []
        index = len(items) if one.index is None else one.index
        return _put(data, one.path, [*items[:index], one.value, *items[index:]])
    *above, last = one.path
    siblings = _get(data, above)
    if isinstance(one, Rename):
        return _put(data, above, {one.new if k == last else k: v for k, v in siblings.items()})
    if isinstance(siblings, dict):
        return _put(data, above, {k: v for k, v in siblings.items() if k != last})
    return _put(data, above, [item for i, item in enumerate(siblings) if i != last])


def _put(data: Data, path: Keys, value: Data) -> Data:
    if not path:
        return value
    step, *rest = path
    if isinstance(step, int):
        return [*data[:step], _put(data[step], rest, value), *data[step + 1 :]]
    old = data or {}
    return {**old, step: _put(old.get(step), rest, value)}


def _get(data: Data, path: Keys) -> Data:
    """The value at a path; None where there is none."""
    for step in path:
        data = data[step] if isinstance(step, int) else (data or {}).get(step)
    return data


def _pruned(data: Data, path: Keys) -> Keys:
    """The path, or that of the highest parent that holds nothing else."""
    while len(path) > 1 and len(_get(data, path[:-1])) == 1:
        path = path[:-1]
    return path


# --- files ----------------------------------------------------------------------------------------------------------


def apply_edits(path: Path, edits: Iterable[Edit], *, file: str = "") -> bool:
    """Edit a file; returns whether it changed. It is replaced whole or not at all, and keeps its mode; no symlinks."""
    name = file or str(path)
    _refuse_symlink(path, name)
    problems = strict_yaml.Problems()
    if strict_yaml.read_text(path, name, problems) is None:
        raise InputError(problems)
    old = path.read_bytes().decode()
    new = edit(old, edits, file=name)
    if new != old:
        write(path, new, replaces=old, file=name)
    return new != old


def write(path: Path, text: str, *, replaces: str | None = None, file: str = "") -> None:
    """
    Write a file whole: a temporary one beside it, flushed to disk, takes its name. `replaces` is the text that must
    still be there; None: no file must be there yet. InputError when somebody was quicker, or for a symlink.
    """
    name = file or str(path)
    _refuse_symlink(path, name)
    mode = None if replaces is None else stat.S_IMODE(path.stat().st_mode)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write_through(temporary, text.encode(), mode)
        found = path.read_bytes() if path.exists() else None
        if found is not None and replaces is None:
            raise InputError.at(name, "exists already")
        if replaces is not None and found != replaces.encode():
            raise InputError.at(name, "was changed meanwhile (run this again)")
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path.parent)


def _refuse_symlink(path: Path, name: str) -> None:
    if path.is_symlink():
        raise InputError.at(name, "is a symbolic link (name the file it points to)")


def _write_through(path: Path, content: bytes, mode: int | None) -> None:
    """A new file, on disk when this returns; `mode` None: as the user's umask says."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with os.fdopen(descriptor, "wb") as stream:
        if mode is not None:
            os.fchmod(descriptor, mode)
        stream.write(content)
        stream.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
