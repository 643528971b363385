"""
Annotations of a GitHub job: what can hurt, at the line of the file it comes from.

They are workflow commands, lines that GitHub acts upon. Its own escapes keep a text from ending its line or property.
"""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.report.digest import cut, places, visible
from mspctl.report.view import Line, Tone, View

MOST = 10  # of each level; GitHub shows no more of one step
LEVELS = {Tone.BAD: "error", Tone.SEVERE: "error", Tone.TAKE: "warning", Tone.OPENS: "warning"}
LONGEST = 500  # characters


def annotate(view: View) -> Iterator[str]:
    """Lines to print, at most MOST of each level."""
    left = {"error": MOST, "warning": MOST}
    for place in places(view):
        level = _level(place.line)
        file, line = (
            _place(place.line.source) if place.line.source else _place(place.block.source if place.block else "")
        )
        if not level or not file or not left[level]:
            continue
        left[level] -= 1
        what = f"{place.line.label} {place.line.name}: {place.line.detail}"
        yield annotation(level, file, line, f"title={escaped_property(place.line.label)}", cut(visible(what), LONGEST))


def annotation(level: str, file: str, line: int, more: str, text: str) -> str:
    """One workflow command; `more` is properties, escaped already."""
    return f"::{level} file={escaped_property(file)},line={line or 1},{more}::{escaped(text)}"


def escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(text: str) -> str:
    return escaped(text).replace(":", "%3A").replace(",", "%2C")


def _level(line: Line) -> str:
    return LEVELS.get(line.tone) or ("warning" if line.heed else "")


def _place(source: str) -> tuple[str, int]:
    file, _, number = source.rpartition(":")
    return (file, int(number)) if file and number.isdecimal() else (source, 0)
