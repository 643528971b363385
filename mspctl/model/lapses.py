"""
Entries that say nothing any more, because their day is past: told, so that somebody takes the line out.

A model that lapses this way says so (`LAPSES`). Others tell it in another way: records, rules of a firewall and
approvals where they are read, senders of a mail filter by a finding that knows whether the server still has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from mspctl.fields import Model
from mspctl.model.base import dotted
from mspctl.moments import Moment
from mspctl.strict_yaml import Data, Problems, find

Path = tuple[str | int, ...]


def tell(section: Model, data: Data, now: datetime, zone: str, problems: Problems) -> None:
    """Add a warning for each entry of a section that is over; one of a baseline once, whoever has it."""
    for path, until in _lapsing(section, ()):
        if _ends(until, zone) <= now:
            path = (*path, "until")
            said = Problems()
            said.add(find(data, path), dotted(path), f"{until} is over (take the line out)", level="warning")
            problems += [each for each in said if each not in problems]


def _ends(until: Moment | date, zone: str) -> datetime:
    return (until if isinstance(until, Moment) else Moment(until)).ends(zone)


def _lapsing(value: Any, path: Path) -> Iterator[tuple[Path, Moment | date]]:
    if isinstance(value, Model):
        if until := getattr(value, "until", None) if getattr(value, "LAPSES", False) else None:
            yield path, until
        for name, field in type(value).model_fields.items():
            yield from _lapsing(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _lapsing(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _lapsing(item, (*path, number))
