"""
Plain data → YAML text: scalars, flow and block collections, whole new documents.

Our reader takes every scalar as the text that was typed, so `NO` or `0123` would need no quotes for us. Editors and
other programs read the same files though, and give such words a type. So text that they would misread is quoted, and
only what they cannot spoil stays plain: ordinary words, decimal integers (`300`), `true` and `false`. A number of
another form (`7.10`, `0x1f`, `1_000`), a time (`12:30`), a date, `yes`, `null` are quoted, unless given as `Bare`, or
where a file writes its own dates and times plain already. Keys are names: there, integers and booleans are quoted too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from mspctl import strict_yaml
from mspctl.errors import InputError, Problem

Plain: TypeAlias = "str | Mapping[str, Plain] | Sequence[Plain]"

WIDTH = 100
VALUES = frozenset({"text", "int", "true"})  # kinds that are written plain as a value
KEYS = frozenset({"text"})  # … and as a key

_KINDS = tuple(
    (kind, re.compile(pattern, flags))
    for kind, pattern, flags in (
        ("int", "0|-?[1-9][0-9]{0,14}", 0),  # longer ones lose digits where numbers are doubles
        ("true", "true|false", 0),
        ("float", "-?(0|[1-9][0-9]{0,8})\\.(0|[0-9]{0,5}[1-9])", 0),  # reads back as it was typed; 7.10 does not
        ("y", "y|n", re.I),
        ("yes", "true|false|yes|no|on|off", re.I),
        ("null", "~|null|", re.I),
        ("date", "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t ].*)?", re.I),
        ("time", "[-+]?[0-9][0-9_]*(:[0-9]{1,2})+(\\.[0-9_]*)?", 0),
        ("number", "[-+]?(0[box][0-9a-f_]+|[0-9][0-9_]*\\.?[0-9_]*(e[-+]?[0-9]+)?)", re.I),
        ("number", "[-+]?(\\.[0-9][0-9_]*(e[-+]?[0-9]+)?|\\.inf)|\\.nan", re.I),
        ("merge", "<<|=", 0),
    )
)
_FIRST = frozenset("+-.0123456789~<=fnotyFNOTY")  # what a text of any kind but "text" can start with
_PLAIN = re.compile(
    r"""(?!---|\.\.\.)(?:[^\s\-?:,\[\]{}#&*!|>'"%@`]|-(?=[\w./~+-]))"""  # no indicator first
    r"""(?:[^:#]|:(?!\s|$)|(?<!\s)#)*(?<!\s)"""  # no ": ", " #", no colon or blank at the end
)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def plain_data(value: Plain) -> Plain:
    """The value as dicts, lists and text. TypeError for a number, say: how it is spelt is the caller's to know."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {_text(k): plain_data(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain_data(item) for item in value]
    raise TypeError(f"text, a mapping or a list is written to YAML, not {type(value).__name__} ({value!r})")


def _text(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"keys are text, not {type(key).__name__} ({key!r})")
    return key


class Bare(str):
    """Text to write without quotes where that reads back as the same text: a date that is meant as a date, say."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Style:
    """How a file is written; the defaults are how we write new ones."""

    step: int = 2  # a mapping under its key
    offset: int = 2  # the dashes of a list under its key; 0: not indented
    width: int = WIDTH  # longest line for a collection in flow style
    quote: str = "'"
    plain: frozenset[str] = VALUES
    plain_keys: frozenset[str] = KEYS
    flow_maps: bool = True  # short leaf collections on one line
    flow_lists: bool = True
    pad_maps: bool = False  # { a: 1 }
    pad_lists: bool = False


def kind(text: str) -> str:
    """What a reader of standard YAML (1.1 or 1.2) could take plain text for; "text" when it is nothing but text."""
    if text and text[0] not in _FIRST:
        return "text"
    return next((name for name, pattern in _KINDS if pattern.fullmatch(text)), "text")


def scalar(text: str, *, flow: bool, quote: str = "'", plain: frozenset[str] = VALUES) -> str:
    """Text as YAML on one line: plain where its kind is among `plain` and nothing in it could mislead, else quoted."""
    if (isinstance(text, Bare) or kind(text) in plain) and plain_holds(text, flow=flow):
        return str(text)
    return quoted(text, quote)


def plain_holds(text: str, *, flow: bool) -> bool:
    """Whether plain style can hold this text (kinds aside)."""
    if not text.isprintable() or not _PLAIN.fullmatch(text):
        return False
    return not (flow and any(c in text for c in ",?[]{}"))


def quoted(text: str, quote: str = "'") -> str:
    """Text in single quotes, or in double quotes when those are wanted or it needs escapes."""
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'" if quote == "'" else '"' + _escaped(text) + '"'
    _refuse_forbidden(text, result := '"' + _escaped(text) + '"')
    return result


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(c) or (c if c.isprintable() else _code(c)) for c in text)


def _code(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _refuse_forbidden(text: str, written: str) -> None:
    """Characters that the reader refuses must not be written."""
    problems = strict_yaml.Problems()
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError([Problem("", 0, 1, "", f"{text!r} holds half a character (a lone surrogate)")])
    if strict_yaml.parse(written, "", problems) != text or problems:
        raise InputError(Problem("", 0, 1, "", f"{text!r}: {problem.text}") for problem in problems)


def literal(text: str, *, folded: bool = False) -> list[str] | None:
    """Header and lines of a block scalar; None when it would need indentation marks, or spaces that editors strip."""
    body = text.removesuffix("\n")
    lines = body.split("\n")
    if not all(line.isprintable() and line == line.rstrip() for line in lines) or not lines[0] or not lines[-1]:
        return None
    if lines[0][0] == " ":
        return None
    return [(">" if folded and len(lines) == 1 else "|") + ("" if text.endswith("\n") else "-"), *lines]


def key(text: str, style: Style, *, flow: bool) -> str:
    return scalar(text, flow=flow, quote=style.quote, plain=style.plain_keys)


def flow(value: Plain, style: Style) -> str:
    """A value on one line, collections in flow style."""
    if isinstance(value, str):
        return scalar(value, flow=True, quote=style.quote, plain=style.plain)
    if isinstance(value, Mapping):
        pad = " " if style.pad_maps and value else ""
        inner = ", ".join(f"{key(k, style, flow=True)}: {flow(v, style)}" for k, v in value.items())
        return f"{{{pad}{inner}{pad}}}"
    pad = " " if style.pad_lists and value else ""
    return f"[{pad}{', '.join(flow(item, style) for item in value)}{pad}]"


def entry(head: str, value: Plain, style: Style, column: int, *, one_line: bool | None = None) -> list[str]:
    """
    The lines of `head` ("key:" or "-") with its value; the first stands at `column`, the others are indented from it.
    A collection goes on one line when `one_line` says so, or when it says nothing and `style` does; and when it fits.
    """
    inline = _inline(value, style, style.width - column - len(head) - 1, one_line)
    if inline is not None:
        return [f"{head} {inline}"]
    if isinstance(value, str):
        header, *lines = literal(value) or [""]
        return [f"{head} {header}", *_indented(lines, style.step)]
    if not head.endswith(":"):
        first, *rest = block(value, style, column + len(head) + 1)
        return [f"{head} {first}", *_indented(rest, len(head) + 1)]
    below = style.step if isinstance(value, Mapping) else style.offset
    return [head, *_indented(block(value, style, column + below), below)]


def block(value: Plain, style: Style, column: int = 0) -> list[str]:
    """The lines of a value in block style, as they stand at `column`; a scalar or an empty collection is one line."""
    if isinstance(value, str):
        return [scalar(value, flow=False, quote=style.quote, plain=style.plain)]
    if not value:
        return [flow(value, style)]
    if isinstance(value, Mapping):
        return [line for k, v in value.items() for line in entry(key(k, style, flow=False) + ":", v, style, column)]
    return [line for item in value for line in entry("-", item, style, column)]


def _inline(value: Plain, style: Style, room: int, one_line: bool | None) -> str | None:
    if isinstance(value, str):
        if "\n" in value and literal(value):
            return None
        return scalar(value, flow=False, quote=style.quote, plain=style.plain)
    if value:
        wanted = style.flow_maps if isinstance(value, Mapping) else style.flow_lists
        if one_line is False or _tall(value) or (one_line is None and not (wanted and is_leaf(value))):
            return None
    text = flow(value, style)
    return text if len(text) <= room or not value else None


def is_leaf(value: Plain) -> bool:
    """A list of scalars, or a mapping of scalars and such lists."""
    if isinstance(value, Mapping):
        return all(isinstance(v, str) or (not isinstance(v, Mapping) and is_leaf(v)) for v in value.values())
    return isinstance(value, str) or all(isinstance(item, str) for item in value)


def _tall(value: Plain) -> bool:
    """Whether text of several lines is inside."""
    if isinstance(value, str):
        return "\n" in value
    return any(_tall(v) for v in (value.values() if isinstance(value, Mapping) else value))


def _indented(lines: Sequence[str], by: int) -> list[str]:
    return [" " * by + line if line else line for line in lines]


def dump(value: Plain, *, width: int = WIDTH, comment: str = "", tall: bool = False) -> str:
    """
    A new document: block style, short leaf collections on one line when they fit, keys as given, `comment` on top.
    `tall`: everything on its own line, so that what changes is a line of a difference.
    Raises InputError for what the reader would refuse or read differently.
    """
    value = plain_data(value)
    head = [f"# {line}".rstrip() for line in comment.splitlines()]
    text = "\n".join([*head, *block(value, Style(width=width, flow_maps=not tall, flow_lists=not tall))]) + "\n"
    problems = strict_yaml.Problems()
    if strict_yaml.parse(text, "new document", problems) != value or problems:
        raise InputError(problems or [Problem("new document", 0, 1, "", "cannot be written as YAML")])
    return text
