"""
Where everything stands in a YAML text: nodes with their first and last character, for edits that leave the rest alone.

libyaml's events carry the places, but a block collection seems to reach up to the next token, comments and blank lines
included, and a dash or a missing value has no place at all. Here every end is the end of real content.
Only for text that `strict_yaml.parse` accepted: one document, no tags, not deep.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from mspctl.edit.text import KEYS, VALUES, WIDTH, Style, plain_holds
from mspctl.edit.text import kind as kind_of

_COLON = re.compile(r"\s*:")
_DASH = re.compile(r"[ ]*(?:[-?:][ ]+)*-(?=\s*(?:#.*)?$)")
_EXPLICIT = re.compile(r"\?\s+$")
_SKIP = re.compile(r"(?:\s+|(?<=\s)#[^\n]*)*")
_HABITS = frozenset({"int", "float", "date", "time", "y"})  # kinds for which a file's own way is followed


@dataclass(slots=True, eq=False)
class Node:
    """A scalar, map, seq or alias from `start` (its anchor included) to `end`."""

    what: str
    start: int
    end: int
    line: int  # from 1
    style: str = ""  # of a scalar: "" (plain), ', ", | or >
    text: str = ""  # of a scalar: its value; of an alias: the anchor
    flow: bool = False
    brace: int = -1  # where { or [ stands; -1 in block style and for the pair in [a: b]
    entries: list[Entry] = field(default_factory=list)
    aliases: list[Node] = field(default_factory=list)  # where this node is repeated
    repeats: Node | None = None  # of an alias: what it stands for

    @property
    def empty(self) -> bool:
        """Nothing was written."""
        return self.what == "scalar" and not self.text and not self.style

    @property
    def bracketed(self) -> bool:
        """Not the bare pair in [a: b], which cannot hold a second key."""
        return not self.flow or self.brace >= 0

    @property
    def scalar_block(self) -> bool:
        return self.style in ("|", ">")

    @property
    def block(self) -> bool:
        return bool(self.entries) and not self.flow

    def walk(self) -> Iterator[Node]:
        yield self
        for entry in self.entries:
            if entry.key:
                yield entry.key
            yield from entry.value.walk()


@dataclass(slots=True, eq=False)
class Entry:
    """A value in its place: under a key, behind a dash, between commas, or the root."""

    value: Node
    begin: int  # the key, the dash, the question mark
    head: int  # just behind the colon or the dash; where a value may start
    key: Node | None = None
    colon: bool = True

    @property
    def name(self) -> str:
        """The key as the reader gives it; "" for an item."""
        return (self.key.repeats or self.key).text if self.key else ""

    @property
    def end(self) -> int:
        return max(self.value.end, self.head)


@dataclass(slots=True)
class Tree:
    root: Entry | None  # None: no document at all
    end: int  # of the document: where "..." or the text ends


def read(text: str) -> Tree:
    return _Reader(text).read()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.loader = yaml.CBaseLoader(text)
        self.anchors: dict[str, Node] = {}

    def read(self) -> Tree:
        root: Entry | None = None
        end = len(self.text)
        event: Any
        while type(event := self.loader.get_event()) is not yaml.StreamEndEvent:
            kind = type(event)
            if kind is yaml.DocumentStartEvent:
                node = self.node(self.loader.get_event())
                root = Entry(node, node.start, node.start)
            elif kind is yaml.DocumentEndEvent and event.explicit:
                end = event.start_mark.index
        return Tree(root, end)

    def node(self, event: Any) -> Node:
        start, end, line = event.start_mark.index, event.end_mark.index, event.start_mark.line + 1
        kind = type(event)
        if kind is yaml.AliasEvent:
            original = self.anchors[event.anchor]
            alias = Node("alias", start, end, line, text=event.anchor, repeats=original)
            original.aliases.append(alias)
            return alias
        if kind is yaml.ScalarEvent:
            style = event.style or ""
            if style in ("|", ">"):
                end = self.block_end(start, end)
            node = Node("scalar", start, end, line, style, event.value)
        else:
            what = "map" if kind is yaml.MappingStartEvent else "seq"
            node = Node(what, start, end, line, flow=event.flow_style)
            self.fill(node, end)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def fill(self, node: Node, opened: int) -> None:
        """Read the entries; `opened`: the end of the opening bracket, or the start of the first entry."""
        if node.flow and self.text[opened - 1 : opened] in ("{", "[") and opened > node.start:
            node.brace = opened - 1
        event: Any
        while type(event := self.loader.get_event()) not in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
            node.entries.append(self.pair(event) if node.what == "map" else self.item(event, node.flow))
        node.end = event.end_mark.index if node.brace >= 0 or not node.entries else node.entries[-1].end

    def pair(self, event: Any) -> Entry:
        key = self.node(event)
        mark = _EXPLICIT.search(self.text, self.text.rfind("\n", 0, key.start) + 1, key.start)
        value = self.node(self.loader.get_event())
        colon = _COLON.match(self.text, key.end)
        begin, head = mark.start() if mark else key.start, colon.end() if colon else key.end
        return self.placed(Entry(value, begin, head, key, bool(colon)))

    def item(self, event: Any, flow: bool) -> Entry:
        value = self.node(event)
        if flow:
            return Entry(value, value.start, value.start)
        dash = self.dash(value.start)
        return self.placed(Entry(value, dash, dash + 1))

    def placed(self, entry: Entry) -> Entry:
        """A value that nobody wrote stands right behind its colon or dash."""
        if entry.value.empty and entry.value.start == entry.value.end:
            entry.value.start = entry.value.end = entry.head
            entry.value.line = entry.key.line if entry.key else entry.value.line
        return entry

    def dash(self, start: int) -> int:
        """The dash of the item that starts here: on this line, or above it and above its comments."""
        line = self.text.rfind("\n", 0, start) + 1
        before = self.text[line:start].rstrip()
        if before.endswith("-"):
            return line + len(before) - 1
        while line > 0:
            end, line = line - 1, self.text.rfind("\n", 0, line - 1) + 1
            if found := _DASH.match(self.text[line:end]):
                return line + found.end() - 1
        return start

    def block_end(self, start: int, end: int) -> int:
        """The end of the last line of a block scalar. Blank lines belong to it only when it keeps them (|+)."""
        header = self.text[start : self.text.find("\n", start)]
        if "+" in header.split("#")[0]:
            return _line_stop(self.text, max(self.text.rfind("\n", start, end), start))
        return _line_stop(self.text, start + len(self.text[start:end].rstrip()))


def _line_stop(text: str, position: int) -> int:
    """The end of the line at a position, its line ending not counted."""
    found = text.find("\n", position)
    stop = len(text) if found < 0 else found
    return stop - 1 if text[stop - 1 : stop] == "\r" else stop


class Lines:
    """Lines of a text whose last line is ended."""

    def __init__(self, text: str) -> None:
        self.text = text

    def start(self, position: int) -> int:
        return self.text.rfind("\n", 0, position) + 1

    def stop(self, position: int) -> int:
        return _line_stop(self.text, position)

    def next(self, position: int) -> int:
        found = self.text.find("\n", position)
        return len(self.text) if found < 0 else found + 1

    def column(self, position: int) -> int:
        return position - self.start(position)

    def at(self, position: int) -> str:
        return self.text[self.start(position) : self.stop(position)]

    def leads(self, position: int) -> bool:
        """Whether nothing but blanks stands before this on its line."""
        return not self.text[self.start(position) : position].strip()

    def blank_above(self, position: int) -> bool:
        """Whether the line above the one that starts here is blank."""
        return position > 0 and not self.at(position - 1).strip()

    def extent(self, entry: Entry) -> int:
        """
        The start of the line behind an entry in block style. Comments below that are indented deeper than its first
        character are inside it, and go where it goes.
        """
        last = here = self.next(entry.end)
        column = self.column(entry.begin)
        while here < len(self.text):
            line = self.at(here)
            here = self.next(here)
            if line.strip().startswith("#") and len(line) - len(line.lstrip()) > column:
                last = here
            elif line.strip():
                break
        return last

    def lead(self, entry: Entry, floor: int) -> int:
        """
        The start of the first line of an entry: of the comments right above it at its indent, as far as `floor`.
        Comments that open the file are the file's own.
        """
        column = self.column(entry.begin)
        first = here = self.start(entry.begin)
        while here > floor:
            line = self.at(here - 1)
            if line.lstrip(" ")[:1] != "#" or len(line) - len(line.lstrip(" ")) != column:
                return here
            here = self.start(here - 1)
        above = self.at(here - 1) if here else "---"
        return first if above.startswith("---") and not column else here

    def skip(self, position: int) -> int:
        """Past blanks, line ends and comments."""
        found = _SKIP.match(self.text, position)
        return found.end() if found else position


def habits(text: str, root: Node) -> Style:
    """How a file is written, as far as it shows; where it does not, the defaults."""
    steps: Counter[int] = Counter()
    offsets: Counter[int] = Counter()
    leaves: Counter[tuple[str, bool]] = Counter()
    pads: Counter[tuple[str, bool]] = Counter()
    lines, width = Lines(text), WIDTH
    values, keys = list[Node](), list[Node]()
    todo: list[tuple[Node, Entry | None, bool]] = [(root, None, False)]
    while todo:
        node, entry, in_flow = todo.pop()
        for child in node.entries:
            todo.append((child.value, child if not node.flow and node.what == "map" else None, node.flow))
            keys.extend([child.key] if child.key else [])
        if node.what == "scalar":
            values.append(node)
        elif node.entries:
            if entry and node.block:
                deeper = lines.column(node.entries[0].begin) - lines.column(entry.begin)
                (steps if node.what == "map" else offsets)[deeper] += 1
            if node.brace >= 0:
                pads[node.what, text[node.brace + 1] == " "] += 1
                width = max(width, len(lines.at(node.start)))
            if node is not root and not in_flow and _leaf(node):
                leaves[node.what, node.flow] += 1
    quotes = Counter(node.style for node in values + keys)
    flow_maps, flow_lists = _flow(leaves, "map"), _flow(leaves, "seq")
    return Style(
        step=_most(steps, 2),
        offset=_most(offsets, 2),
        width=width,
        quote='"' if quotes['"'] > quotes["'"] else "'",
        plain=plain_kinds(values, VALUES),
        plain_keys=plain_kinds(keys, KEYS),
        flow_maps=next((said for said in (flow_maps, flow_lists) if said is not None), True),
        flow_lists=next((said for said in (flow_lists, flow_maps) if said is not None), True),
        pad_maps=pads["map", True] > pads["map", False],
        pad_lists=pads["seq", True] > pads["seq", False],
    )


def _flow(leaves: Counter[tuple[str, bool]], what: str) -> bool | None:
    """Whether leaf collections of this sort are mostly in flow style; None when there are none."""
    return leaves[what, True] > leaves[what, False] if leaves[what, True] + leaves[what, False] else None


def _most(counted: Counter[int], default: int) -> int:
    return counted.most_common(1)[0][0] if counted else default


def _leaf(node: Node) -> bool:
    below = [entry.value for entry in node.entries]
    if node.what == "map":
        below = [deep.value for n in below for deep in (n.entries if n.what == "seq" else [Entry(n, 0, 0)])]
    return not any(n.entries for n in below)


def plain_kinds(nodes: Iterable[Node], usual: frozenset[str]) -> frozenset[str]:
    """The kinds of text that are written plain here: as usual, unless the file always does the opposite."""
    plain, needless = set[str](), set[str]()
    for node in nodes:
        if node.what == "scalar" and not node.empty:
            if not node.style:
                plain.add(kind_of(node.text))
            elif node.style in ("'", '"') and plain_holds(node.text, flow=True):
                needless.add(kind_of(node.text))
    return frozenset((usual | (plain & _HABITS - needless)) - (needless - plain))
