"""
YAML as we allow it: text in, plain data with places out, every problem with its line and column.

The field decides the type, not the spelling: `NO`, `0123`, `12:30` and `7.10` arrive as the text that was typed.
So a scalar is always `str` (or None where nothing was written), and models turn it into what they need.
Duplicate keys, tags, exploding anchors, documents too deep or too large are refused. Built from libyaml's events,
without recursion, so that no document can exhaust the stack.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from mspctl.errors import Problem
from mspctl.kinds import shown

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 32
MAX_ALIASED = 10_000  # values that aliases may repeat in one document; a long text counts as many
MAX_KEY = 1024  # characters

# Control characters, and the bidirectional and zero-width ones that make a line read as something it is not.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ufffe\uffff]"
)

TAG = "tags (!…) are not used here (remove it, or put the text in quotes)"
LINK = "is a link or a special file (only plain files and folders are read)"

Data = Any  # str | None | Map | Seq


class Mark(NamedTuple):
    """Where a key and its value stand; lines and columns from 1. In a sequence both are the item's."""

    file: str
    line: int
    column: int
    value_line: int
    value_column: int


class Map(dict[str, Data]):
    """A mapping that knows where each of its keys stands (baselines and customer files can be mixed in one)."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}


class Seq(list[Data]):
    """A list that knows where each of its items stands."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: list[Mark] = []


class Problems(list[Problem]):
    """All that is wrong, collected before we stop."""

    def add(
        self, mark: Mark | None, path: str, text: str, *, at_value: bool = True, level: str = "error", file: str = ""
    ) -> None:
        if not path.isprintable():
            path = shown(path)
        if mark is None:
            self.append(Problem(file, 0, 1, path, text, level))
        elif at_value:
            self.append(Problem(mark.file, mark.value_line, mark.value_column, path, text, level))
        else:
            self.append(Problem(mark.file, mark.line, mark.column, path, text, level))

    def line(self, file: str, line: int, text: str, path: str = "", level: str = "error") -> None:
        self.append(Problem(file, line, 1, path, text, level))

    @property
    def errors(self) -> list[Problem]:
        return [p for p in self if p.level == "error"]


def find(data: Data, path: Sequence[str | int]) -> Mark | None:
    """The place of the value at `path`, or of its nearest ancestor that has one."""
    mark = None
    for step in path:
        if isinstance(data, Map) and isinstance(step, str) and step in data:
            mark = data.marks.get(step)
        elif isinstance(data, Seq) and isinstance(step, int) and 0 <= step < len(data):
            mark = data.marks[step]
        else:
            break
        data = data[step]
    return mark


def find_value(data: Data, path: Sequence[str | int]) -> Data:
    """The value at `path`, or None."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def read(path: Path, file: str, problems: Problems) -> Data:
    """The document in a file, or None after adding what is wrong with it. `file` is its name in messages."""
    text = read_text(path, file, problems)
    return None if text is None else parse(text, file, problems)


def read_text(path: Path, file: str, problems: Problems) -> str | None:
    """The text of a plain file that is UTF-8, without control characters, and not too large."""
    raw = _read_bytes(path, file, problems)
    if raw is None:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode()  # it is UTF-8 up to here
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        wrong = f"byte 0x{raw[error.start]:02x} is not UTF-8 (save the file as UTF-8)"
        problems.append(Problem(file, line, column, "", wrong))
        return None
    if text.startswith("\ufeff"):
        problems.append(Problem(file, 1, 1, "", "starts with a byte-order mark (save the file as UTF-8 without BOM)"))
        return None
    text = text.replace("\r\n", "\n")
    found = _FORBIDDEN.search(text)
    wrong_at = found.start() if found else text.find("\r")
    if wrong_at >= 0:
        problems.append(_forbidden(text, wrong_at, file))
        return None
    return text


def _read_bytes(path: Path, file: str, problems: Problems) -> bytes | None:
    try:
        info = path.lstat()  # not what a link leads to: that may be any file of this machine
        if stat.S_ISDIR(info.st_mode):
            problems.add(None, "", "is a folder where a file is expected", file=file)
        elif not stat.S_ISREG(info.st_mode):
            problems.add(None, "", LINK, file=file)
        elif info.st_size > MAX_BYTES:
            problems.add(None, "", f"is larger than {MAX_BYTES // 1024**2} MiB (split it)", file=file)
        else:
            return path.read_bytes()
    except OSError as error:
        problems.add(None, "", f"cannot be read ({error.strerror})", file=file)
    return None


def parse(text: str, file: str, problems: Problems) -> Data:
    """The document in `text`; None when it is empty or wrong (then `problems` says why)."""
    try:
        return _Builder(text, file, problems).build()
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax(text, file, error))
    except yaml.YAMLError as error:
        problems.append(Problem(file, 1, 1, "", f"is not YAML ({str(error).splitlines()[0]})"))
    except _StopError:
        pass
    return None


def _forbidden(text: str, start: int, file: str) -> Problem:
    line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
    return Problem(file, line, column, "", _not_allowed(text[start]))


def _not_allowed(character: str) -> str:
    return f"character U+{ord(character):04X} is not allowed (remove it)"


# What libyaml says → what a person can do about it; True: told where the construct starts, not where it broke.
_SYNTAX: tuple[tuple[str, str, bool], ...] = (
    ("mapping values are not allowed", "a colon cannot stand here (quote a text with “: ” in it, or indent)", False),
    ("could not find expected ':'", "a key without its colon (write key: value)", True),
    ("unexpected end of stream", "a quote is opened here and never closed", True),
    ("unexpected document indicator", "a quote is opened here and never closed", True),
    ("unknown escape character", "a backslash in double quotes starts an escape (use single quotes)", False),
    ("escape code", "this escape stands for no character (use single quotes)", False),
    ("hexdecimal", "this escape stands for no character (use single quotes)", False),
    ("expected ',' or ']'", "a list is opened here and not closed, or a comma is missing", True),
    ("expected ',' or '}'", "a mapping is opened here and not closed, or a comma is missing", True),
    ("expected key", "a key cannot stand here (check the indentation, and quotes within a text)", False),
    ("expected '-'", "a list item cannot stand here (check the indentation)", False),
    ("sequence entries are not", "a list cannot start here (start it on a line of its own)", False),
    ("expected node content", "a value is missing here", False),
    ("undefined tag handle", "tags are not used here (remove it)", False),
    ("<document start>", "a second document starts here (one document per file)", False),
    ("comment or line break", "nothing can follow | or > on its line (start the text on the next)", False),
)


def _syntax(text: str, file: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = f"{error.problem} {error.context or ''}".strip()
    for part, ours, at_start in _SYNTAX:
        if part in said:
            said = ours
            mark = error.context_mark if at_start and error.context_mark else mark
            break
    line, column = (mark.line, mark.column) if mark else (0, 0)
    here = [*text.split("\n"), ""][line] if line <= text.count("\n") else ""
    if "\t" in here[: len(here) - len(here.lstrip())] or here[column : column + 1] == "\t":
        said = "a tab cannot indent YAML (use spaces)"
    elif "cannot start any token" in said:
        said = f"a text cannot start with {shown(here[column : column + 1])} (put it in quotes)"
    elif "alphabetic or numeric" in said:
        column = max(column - 1, 0)
        said = f"a text cannot start with {shown(here[column : column + 1])} (put it in quotes)"
    elif "directive" in said or "incompatible" in said:
        said = "a line cannot start with % (put the text in quotes)"
    return Problem(file, line + 1, column + 1, "", f"is not YAML: {said}")


class _StopError(Exception):
    """The document is refused whole; the problem is already noted."""


class _Builder:
    """Events → Map, Seq and str."""

    def __init__(self, text: str, file: str, problems: Problems) -> None:
        self.loader = yaml.CBaseLoader(text)
        self.file = file
        self.problems = problems
        self.stack: list[tuple[Map | Seq, str | None]] = []  # open collections and their anchors
        self.here: Map | Seq | None = None
        self.key: str | None = None  # the key that waits for its value
        self.key_at: tuple[int, int] = (1, 1)
        self.root: Data = None
        self.documents = 0
        self.anchors: dict[str, tuple[Data, int]] = {}
        self.aliased = 0

    def build(self) -> Data:
        get_event = self.loader.get_event
        while True:
            event = get_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self.scalar(event)
            elif kind is yaml.MappingStartEvent:
                self.start(Map(), event)
            elif kind is yaml.SequenceStartEvent:
                self.start(Seq(), event)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self.end()
            elif kind is yaml.AliasEvent:
                self.alias(event)
            elif kind is yaml.DocumentStartEvent:
                self.documents += 1
                if self.documents > 1:
                    self.refuse(event, "a second document starts here (one document per file)")
            elif kind is yaml.StreamEndEvent:
                return self.root

    def refuse(self, event: Any, text: str) -> None:
        mark = event.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, "", text))
        raise _StopError

    def scalar(self, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            self.refuse(event, TAG)
        text: str | None = event.value
        if not text:
            if not event.style:  # plain, not quoted: nothing was written
                text = None
        elif not text.isprintable() and (found := _FORBIDDEN.search(text)):
            self.refuse(event, _not_allowed(text[found.start()]))
        self.put(text, event)
        if event.anchor:
            self.anchors[event.anchor] = (text, _size(text))

    def put(self, value: Data, event: Any) -> None:
        """Place a value where the document stands: as a key, under a key, or in a list."""
        mark = event.start_mark
        line, column = mark.line + 1, mark.column + 1
        here = self.here
        if type(here) is Map:
            if self.key is None:
                self.take_key(here, value, event, line, column)
                return
            here[self.key] = value
            here.marks[self.key] = Mark(self.file, *self.key_at, line, column)
            self.key = None
        elif type(here) is Seq:
            here.append(value)
            here.marks.append(Mark(self.file, line, column, line, column))
        else:
            self.root = value

    def take_key(self, here: Map, value: Data, event: Any, line: int, column: int) -> None:
        if value is None:
            self.refuse(event, "a key is missing before the colon")
        if not isinstance(value, str):
            self.refuse(event, "a mapping or a list cannot be a key")
        if len(value) > MAX_KEY:
            self.refuse(event, f"a key is longer than {MAX_KEY:,} characters")
        if value == "<<" and not event.style:
            self.refuse(event, "merge keys are not used here (write the keys out, or use a baseline)")
        if value in here:
            first = here.marks[value]
            text = f"duplicate key {shown(value)} (first on line {first.line})"
            self.problems.append(Problem(self.file, line, column, "", text))
        self.key = value
        self.key_at = (line, column)

    def start(self, value: Map | Seq, event: Any) -> None:
        if event.tag is not None and event.tag != "!":
            self.refuse(event, TAG)
        if len(self.stack) >= MAX_DEPTH:
            self.refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if type(self.here) is Map and self.key is None:
            self.refuse(event, "a mapping or a list cannot be a key")
        self.put(value, event)
        self.stack.append((value, event.anchor))
        self.here = value

    def end(self) -> None:
        value, anchor = self.stack.pop()
        if anchor:
            self.anchors[anchor] = (value, _size(value))
        self.here = self.stack[-1][0] if self.stack else None

    def alias(self, event: Any) -> None:
        if event.anchor not in self.anchors:
            self.refuse(event, f"alias *{event.anchor} has no anchor above it")
        value, size = self.anchors[event.anchor]
        self.aliased += size
        if self.aliased > MAX_ALIASED:
            self.refuse(event, f"aliases repeat more than {MAX_ALIASED} values (write them out)")
        self.put(value, event)


def _size(value: Data) -> int:
    """Values in a tree, counting shared ones each time and long texts as many; stops counting past the limit."""
    total, todo = 0, [value]
    while todo and total <= MAX_ALIASED:
        item = todo.pop()
        total += 1 + (len(item) // 100 if isinstance(item, str) else 0)
        if isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return total
