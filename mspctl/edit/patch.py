"""
From one change to patches of text: the smallest piece that must differ, in the style of what stands around it.

Each function takes the document and a path, and returns the pieces to replace. None of them reads its result again:
that is done once, in `edit`, for all of them.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from mspctl.edit import text as yaml_text
from mspctl.edit import tree as yaml_tree
from mspctl.edit.document import Document, Keys, Patch
from mspctl.edit.text import Plain, Style
from mspctl.edit.tree import Entry, Node

_HEADER = re.compile(r"[|>][-+0-9]*")
_BLANKS = re.compile(r"[ \t]*")


# --- setting, adding ------------------------------------------------------------------------------------------------


def set_value(doc: Document, path: Keys, value: Plain) -> list[Patch]:
    trail, missing = doc.trail(path)
    if not missing:
        doc.refuse_torn(trail[-1], path)
        return _put(doc, trail, value)
    for step in reversed(missing[1:]):
        if isinstance(step, int):
            raise doc.refused("there is no list yet", path, trail[-1].value.line)
        value = {step: value}
    name, node = missing[0], trail[-1].value
    if not isinstance(name, str):
        raise doc.refused("there is no list yet", path, node.line)
    if node.empty or not (node.entries or _commented(doc, node)):
        return _put(doc, trail, {name: value})
    return _add(doc, node, _position(doc, node, name), value, name)


def insert(doc: Document, path: Keys, value: Plain, index: int | None) -> list[Patch]:
    trail, missing = doc.trail(path)
    node = trail[-1].value
    count = 0 if missing else len(node.entries)
    if index is not None and not 0 <= index <= count:
        raise doc.refused(f"the list has {count} items, there is no place {index}", path, node.line)
    if missing:
        return set_value(doc, path, [value])
    doc.refuse_shared(node, path)
    if node.what != "seq" and not node.empty:
        raise doc.refused("is not a list", path, node.line)
    if node.empty or not (node.entries or _commented(doc, node)):
        return _put(doc, trail, [value])
    return _add(doc, node, count if index is None else index, value, None)


def _commented(doc: Document, node: Node) -> bool:
    """Whether comments stand in an empty {} or []."""
    return "#" in doc.text[node.start : node.end]


def _position(doc: Document, node: Node, name: str) -> int:
    """Where a new key goes: in order when its siblings are in order, else behind them."""
    names = [entry.name for entry in node.entries]
    for order in (_by_character, _natural, _caseless):
        if _ascends(names, order) and (len(names) > 2 or _all_ascend(doc.root.value, order)):
            return bisect(names, order(name), key=order)
    return len(names)


def _by_character(name: str) -> list[Any]:
    return [name]


def _natural(name: str) -> list[Any]:
    """Numbers in a name count as numbers: the order that octoDNS asks for."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))]


def _caseless(name: str) -> list[Any]:
    return [name.casefold()]


def _ascends(names: list[str], order: Callable[[str], list[Any]]) -> bool:
    keys = [order(name) for name in names]
    return all(a <= b for a, b in pairwise(keys))


def _all_ascend(root: Node, order: Callable[[str], list[Any]]) -> bool:
    """Two keys may be in order by chance; every mapping of a file is not, once one of them is longer."""
    all_names = [[e.name for e in node.entries] for node in root.walk() if node.what == "map"]
    return any(len(names) > 2 for names in all_names) and all(_ascends(names, order) for names in all_names)


def _local(doc: Document, node: Node) -> Style:
    """The style of a node's entries, where they differ from the rest of the file."""
    values = [entry.value for entry in node.entries]
    keys = [entry.key for entry in node.entries if entry.key]
    quotes = Counter(n.style for n in values + keys if n.style in ("'", '"'))
    return replace(
        doc.style,
        quote=quotes.most_common(1)[0][0] if quotes else doc.style.quote,
        plain=yaml_tree.plain_kinds(values, doc.style.plain),
        plain_keys=yaml_tree.plain_kinds(keys, doc.style.plain_keys),
    )


def _one_line(node: Node, value: Plain) -> bool | None:
    """Whether collections of this sort stand on one line among a node's entries; None when there are none."""
    what = "map" if isinstance(value, Mapping) else "seq"
    flows = [e.value.flow for e in node.entries if e.value.what == what and e.value.entries]
    return sum(flows) * 2 > len(flows) if flows else None


def _add(doc: Document, node: Node, index: int, value: Plain, name: str | None) -> list[Patch]:
    """A new entry in a collection, before position `index`; the collection is not an empty one in block style."""
    local = _local(doc, node)
    inner = local if isinstance(value, str) else doc.style
    if node.flow:
        head = "" if name is None else yaml_text.key(name, local, flow=True) + ": "
        return _add_flow(doc, node, index, head + yaml_text.flow(value, inner))
    column = doc.lines.column(node.entries[0].begin)
    head = _dash(doc, node.entries[0]) if name is None else yaml_text.key(name, local, flow=False) + ":"
    lines = yaml_text.entry(head, value, inner, column, one_line=_one_line(node, value))
    return _add_block(doc, node, index, [" " * column + line if line else line for line in lines])


def _dash(doc: Document, entry: Entry) -> str:
    """The dash of an item with the blanks behind it but one."""
    gap = entry.value.start - entry.head
    return "-" + " " * (gap - 1 if 0 < gap < 9 and "\n" not in doc.text[entry.head : entry.value.start] else 0)


def _add_block(doc: Document, node: Node, index: int, lines: list[str]) -> list[Patch]:
    entries, eol = node.entries, doc.eol
    new = "".join(line + eol for line in lines)
    gap = eol if _spaced(doc, entries) else ""
    if index:
        at = doc.lines.extent(entries[index - 1])
        return [(at, at, gap + new)]
    first = entries[0]
    if doc.lines.leads(first.begin):
        at = doc.lines.lead(first, 0)
        return [(at, at, new + gap)]
    column = doc.lines.column(first.begin)
    return [(first.begin, first.begin, new.lstrip(" ") + gap + " " * column)]


def _spaced(doc: Document, entries: list[Entry]) -> bool:
    """Whether a blank line stands between all entries."""
    ends = [doc.lines.extent(entry) for entry in entries[:-1]]
    return bool(ends) and all(not doc.lines.at(end).strip() for end in ends)


def _add_flow(doc: Document, node: Node, index: int, new: str) -> list[Patch]:
    lines = doc.lines
    if not node.entries:
        return [(node.brace + 1, node.brace + 1, new)]
    if not index:
        first = node.entries[0]
        between = doc.eol + lines.at(first.begin)[: lines.column(first.begin)] if lines.leads(first.begin) else " "
        return [(first.begin, first.begin, f"{new},{between}")]
    previous = node.entries[index - 1]
    comma = _comma(doc, previous)
    stop = max(previous.end, comma + 1)
    apart = " " if doc.text[previous.end - 1] == ":" and comma < 0 else ""  # "a:," would be text
    if not lines.leads(previous.begin):
        at = comma if comma >= 0 else previous.end  # a comma in front of the closing bracket stays there
        return [(at, at, f"{apart}, {new}")]
    indent = doc.eol + lines.at(previous.begin)[: lines.column(previous.begin)]
    if lines.start(lines.skip(stop)) > stop:  # only a comment follows on this line
        stop = lines.stop(stop)
    if comma >= 0:
        return [(stop, stop, f"{indent}{new},")]
    if stop == previous.end:
        return [(stop, stop, f"{apart},{indent}{new}")]
    return [(previous.end, previous.end, apart + ","), (stop, stop, indent + new)]


def _comma(doc: Document, entry: Entry) -> int:
    """The comma behind an entry in flow style, or -1."""
    at = doc.lines.skip(entry.end)
    return at if doc.text[at : at + 1] == "," else -1


# --- a value in the place of another --------------------------------------------------------------------------------


def _put(doc: Document, trail: list[Entry], value: Plain) -> list[Patch]:
    entry = trail[-1]
    if len(trail) == 1:
        return _put_root(doc, entry.value, value)
    parent = trail[-2].value
    if parent.flow:
        return _put_flow(doc, parent, entry, value)
    return _put_block(doc, parent, entry, value)


def _put_root(doc: Document, node: Node, value: Plain) -> list[Patch]:
    whole = node.block or node.scalar_block
    at = doc.end if node.empty else node.start
    stop = max(at, doc.lines.extent(Entry(node, node.start, node.start)) if whole else node.end)
    indent, before = " " * doc.lines.column(at), ""
    if value and not isinstance(value, str) and not doc.lines.leads(at):  # behind the three dashes
        at, indent, before = len(doc.text[:at].rstrip()), "", doc.eol
    new = (doc.eol + indent).join(yaml_text.block(value, doc.style))
    return [(at, stop, before + new + (doc.eol if whole or node.empty else ""))]


def _put_flow(doc: Document, parent: Node, entry: Entry, value: Plain) -> list[Patch]:
    node = entry.value
    new = _restyled(doc, parent, node, value, flow=True) if isinstance(value, str) else yaml_text.flow(value, doc.style)
    if node.empty and node.start == node.end:
        return [(entry.head, _blanks(doc, entry.head), (" " if entry.colon else ": ") + new)]
    return [(node.start, node.end, new)]


def _blanks(doc: Document, position: int) -> int:
    """The end of the blanks that start here."""
    found = _BLANKS.match(doc.text, position)
    return found.end() if found else position


def _restyled(doc: Document, parent: Node, old: Node, text: str, *, flow: bool) -> str:
    """Text in the style of the scalar that it replaces, when that can hold it."""
    if old.what == "scalar" and old.style in ("'", '"'):
        return yaml_text.quoted(text, old.style)
    local = _local(doc, parent)
    if old.what == "scalar" and old.text and not old.style:
        return yaml_text.scalar(text, flow=flow, quote=local.quote, plain=yaml_text.VALUES | {yaml_text.kind(old.text)})
    return yaml_text.scalar(text, flow=flow, quote=local.quote, plain=local.plain)


def _put_block(doc: Document, parent: Node, entry: Entry, value: Plain) -> list[Patch]:
    node, column = entry.value, doc.lines.column(entry.begin)
    inline, below = _rendered(doc, parent, entry, value)
    comment, stop = _comment(doc, entry)
    if not below and not node.block and not node.scalar_block:
        if node.empty and node.start == node.end:
            blanks = _blanks(doc, entry.head)
            return [(entry.head, blanks if blanks == stop else entry.head, " " + inline)]
        return [(node.start, node.end, inline + ("" if doc.text[node.end : stop].strip() else comment))]
    gap = " " * len(_dash(doc, entry)) if entry.key is None else " "
    if comment and below and inline and entry.key is None and not isinstance(value, str):
        inline, below = "", [" " + gap + inline, *below]
    head = (gap + inline if inline else "") + comment
    return [(entry.head, stop, doc.eol.join([head, *(" " * column + line if line else line for line in below)]))]


def _rendered(doc: Document, parent: Node, entry: Entry, value: Plain) -> tuple[str, list[str]]:
    """A value in block style: what follows the head on its line, and the lines below, as from the head's column."""
    node = entry.value
    if isinstance(value, str):
        lines = _scalar_lines(doc, parent, node, value)
        return lines[0], [" " * doc.style.step + line if line else line for line in lines[1:]]
    head = _dash(doc, entry) if entry.key is None else doc.text[entry.begin : entry.head]
    lines = yaml_text.entry(head, value, doc.style, doc.lines.column(entry.begin), one_line=_one_line(parent, value))
    return lines[0][len(head) + 1 :], lines[1:]


def _scalar_lines(doc: Document, parent: Node, old: Node, text: str) -> list[str]:
    if old.scalar_block:
        return yaml_text.literal(text, folded=old.style == ">") or [yaml_text.quoted(text)]
    lines = yaml_text.literal(text) if "\n" in text and not (old.what == "scalar" and old.style == '"') else None
    return lines or [_restyled(doc, parent, old, text, flow=False)]


def _comment(doc: Document, entry: Entry) -> tuple[str, int]:
    """The comment that stays with an entry when its value goes, and where that value's last line stops."""
    text, lines, node = doc.text, doc.lines, entry.value
    if node.scalar_block:
        header = _HEADER.search(text, node.start)
        after = header.end() if header else node.start
        return text[after : lines.stop(after)].rstrip(), max(node.end, lines.stop(after))
    if node.block:
        stop = lines.stop(entry.head)
        return (text[entry.head : stop].rstrip() if node.start > stop else ""), lines.stop(lines.extent(entry) - 1)
    comment = text[node.end : lines.stop(node.end)].rstrip()
    if node.brace >= 0 and not comment:  # one behind the opening bracket says something about the whole, too
        comment = text[node.brace + 1 : lines.stop(node.brace)].rstrip()
    return comment if comment.lstrip()[:1] == "#" else "", lines.stop(node.end)


# --- removing, renaming ---------------------------------------------------------------------------------------------


def delete(doc: Document, path: Keys) -> list[Patch]:
    trail = doc.whole_trail(path)
    entry = trail[-1]
    doc.refuse_torn(entry, path)
    parent = trail[-2].value
    if len(parent.entries) == 1:
        return _put(doc, trail[:-1], {} if parent.what == "map" else [])
    index = parent.entries.index(entry)
    if parent.flow:
        return _delete_flow(doc, parent, index)
    if doc.lines.leads(entry.begin):
        return _delete_lines(doc, parent, index)
    return _delete_first(doc, entry, parent.entries[1])


def _delete_first(doc: Document, entry: Entry, following: Entry) -> list[Patch]:
    """An entry that shares its line with the dash above it: the next one moves up, unless a comment stands between."""
    stop = doc.lines.extent(entry)
    if not doc.text[stop : following.begin].strip():
        return [(entry.begin, following.begin, "")]
    before = doc.text[: entry.begin].rstrip()
    return [(len(before), doc.lines.stop(stop - 1), "")]


def _delete_lines(doc: Document, parent: Node, index: int) -> list[Patch]:
    """Whole lines, and of two blank lines that would then meet, one."""
    entry, lines = parent.entries[index], doc.lines
    floor = lines.next(parent.entries[index - 1].end) if index else 0
    start, stop = lines.lead(entry, floor), lines.extent(entry)
    after = stop
    while after < len(doc.text) and not lines.at(after).strip():
        after = lines.next(after)
    if after == len(doc.text):
        while start > floor and lines.blank_above(start):
            start = lines.start(start - 1)
    if lines.blank_above(start) or (not index and parent is not doc.root.value):
        stop = after
    return [(start, stop, "")]


def _delete_flow(doc: Document, parent: Node, index: int) -> list[Patch]:
    entry, lines = parent.entries[index], doc.lines
    comma = _comma(doc, entry)
    stop = max(entry.end, comma + 1)
    last = index == len(parent.entries) - 1
    if lines.leads(entry.begin) and lines.start(lines.skip(stop)) > stop:
        floor = lines.next(parent.entries[index - 1].end) if index else lines.next(parent.start)
        patches = [(lines.lead(entry, floor), lines.next(stop), "")]
        if last and comma < 0 and (dangling := _comma(doc, parent.entries[index - 1])) >= 0:
            patches.append((dangling, dangling + 1, ""))
        return patches
    if not index:
        return [(entry.begin, parent.entries[1].begin, "")]
    previous = parent.entries[index - 1]
    if "#" not in doc.text[previous.end : entry.begin]:
        return [(previous.end, entry.end, "")]
    if not last:
        return [(entry.begin, parent.entries[index + 1].begin, "")]
    dangling = _comma(doc, previous)
    start = lines.lead(entry, lines.next(previous.end)) if lines.leads(entry.begin) else entry.begin
    return [
        (dangling, dangling + 1, ""),
        (start, entry.end, " " * lines.column(entry.begin) if start < entry.begin else ""),
    ]


def rename(doc: Document, path: Keys, new: str) -> list[Patch]:
    trail = doc.whole_trail(path)
    parent, key = trail[-2].value, trail[-1].key
    if key is None:
        raise doc.refused("is an item of a list and has no name", path, trail[-1].value.line)
    doc.refuse_shared(key, path)
    if any(entry.name == new for entry in parent.entries):
        raise doc.refused(f"the name {new!r} is taken", path, key.line)
    if key.style in ("'", '"'):
        return [(key.start, key.end, yaml_text.quoted(new, key.style))]
    local = _local(doc, parent)
    plain = local.plain_keys | {yaml_text.kind(key.text)}
    return [(key.start, key.end, yaml_text.scalar(new, flow=parent.flow, quote=local.quote, plain=plain))]
