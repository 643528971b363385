"""
From what lives somewhere to YAML that plans to nothing.

One file per source. A source counts what went in by itself, so that what comes out can be held against it: nothing
is dropped in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mspctl.errors import InputError, Problem
from mspctl.resource import Resource


@dataclass(slots=True)
class Found:
    """Zones as a source holds them, what it holds besides, and how much that is."""

    zones: dict[str, Sequence[Resource]] = field(default_factory=dict)
    left_out: list[Problem] = field(default_factory=list)  # each thing that does not come in, with its place
    warnings: list[Problem] = field(default_factory=list)
    files: int = 0
    rrsets: int = 0
    values: int = 0
    doubled: int = 0  # values that stood twice in one RRset


@dataclass(frozen=True, slots=True)
class Written:
    """What an import wrote."""

    files: Sequence[str]
    rrsets: int
    values: int


WHOLE = "was left out whole"  # said of a file, after what is wrong with it


def file_names(folder: Path) -> Iterator[tuple[Path, str]]:
    """What a folder holds besides hidden files, each with its name for messages: one line that can be printed."""
    if not folder.is_dir():
        raise InputError.at(str(folder), "is not a folder")
    for path in sorted(folder.iterdir()):
        if not path.name.startswith("."):
            file = str(path)
            yield path, file if file.isprintable() else repr(file)


def count(zones: Mapping[str, Sequence[Resource]]) -> tuple[int, int]:
    """RRsets and values."""
    rrsets = values = 0
    for resources in zones.values():
        rrsets += len(resources)
        for resource in resources:
            held = resource.fields.get("values")
            values += len(held) if isinstance(held, frozenset) else 0
    return rrsets, values
