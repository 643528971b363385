"""
What a resource of each kind looks like: its fields and their one normal form.

The model (which reads YAML) and the drivers (which read servers) never meet; they agree because both write
resources through these files. No I/O here. A kind "dns.rrset" is described in `dns.py`. A file may define

    FIELDS                                by kind, its fields and their types; "reply?" need not be there
    precious(resource)                    what a service cannot do without: "MX of the zone"
    widens(before, after, was, will, now) why a change lets in too much
    opens(before, after, was, will)       whether a change lets in what was kept out
    lost(kind, name, before, after)       how much of a field is gone, where that is not how much shorter it is
    is_over(resource, now)                whether its target has ended it by itself
    in_words(resource)                    what a resource does, for people, in place of its fields
    worded(name, value)                   a field in the words of people; "" where it goes without saying
    normal(id, field, value, scope)       a field as a program may spell it, in normal form; "": the resource's name

A folder, as `firewall/`, has them in the files that `_WITHIN` names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any

from mspctl.resource import Id, Resource, Value

# A field: sentences about what is not as the others make it (a file that was edited, a unit that is stopped). Declared
# it is always empty, so whatever stands in it is drift.
AMISS = "amiss"
NOTHING_AMISS: dict[str, Value] = {AMISS: frozenset()}
NEWEST = "newest"  # when something came into a thing last: what is measured of every kind that holds data
MOST_SHOWN = 80  # characters of a wrong value that a message repeats


def shown(text: object) -> str:
    """A value as a message shows it: quoted, on one line, and not longer than a line."""
    said = repr(text)
    return said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]}… ({len(str(text)):,} characters)"


def on_one_line(text: str) -> str:
    """What somebody else said, on one line, and nothing in it that a terminal would act upon."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


_SECRET = re.compile(r"[A-Z][A-Z0-9_]* rev [1-9][0-9]{0,3}")


def fold_secret(text: str) -> str:
    """Which secret is meant, and which of its revisions. Raises ValueError, which does not repeat it: it may be one."""
    if not _SECRET.fullmatch(text):
        raise ValueError("is not a secret's name and revision (write NAME rev 1; the secret never stands here)")
    return text


UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60}


def spoken_duration(seconds: int) -> str:
    """The shortest way to write a duration: 3600 is `1h`, 90 is `90`."""
    whole = (f"{seconds // size}{unit}" for unit, size in UNITS.items() if seconds and seconds % size == 0)
    return next(whole, str(seconds))


def precious(resource: Resource) -> str:
    """What a resource is one of, when the last of these must not go unnoticed; "" for most."""
    found: str = _of(resource.id.kind, "precious", "")(resource)
    return found


def widens(
    before: Resource | None,
    after: Resource | None,
    was: Sequence[Resource],
    will: Sequence[Resource],
    now: datetime | None = None,
) -> str:
    """
    Why a change opens something to anybody; "" for most. `was` and `will`: what its scope holds before and then. `now`
    tells what is over already; without, nothing is.
    """
    resource = after or before
    found: str = _of(resource.id.kind, "widens", "")(before, after, was, will, now) if resource else ""
    return found


def opens(before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]) -> bool:
    """Whether a change lets in what was kept out; `was` and `will`: all that its scope holds before and then."""
    resource = after or before
    return bool(resource and _of(resource.id.kind, "opens", None)(before, after, was, will))


def lost(kind: str, name: str, before: Value | None, after: Value) -> int | None:
    """How much of a field is gone; None where that is how much shorter it is, as for most."""
    found: int | None = _of(kind, "lost", None)(kind, name, before, after)
    return found


def is_over(resource: Resource, now: datetime) -> bool:
    """Whether something that is still there counts no more, as its target has seen to by itself; most always count."""
    return bool(_of(resource.id.kind, "is_over", None)(resource, now))


def in_words(resource: Resource) -> str:
    """What a resource does, where that says more than its fields; "" for most."""
    found: str = _of(resource.id.kind, "in_words", "")(resource)
    return found


def worded(kind: str, name: str, value: Value) -> str | None:
    """A field of a kind in the words of people, "" where it goes without saying; None when there is no better word."""
    found: str | None = _of(kind, "worded", None)(name, value)
    return found


def fields_of(room: str) -> Mapping[str, Mapping[str, type]]:
    """The kinds that one file describes, each with its fields; a trailing ? marks what need not be there."""
    found: Mapping[str, Mapping[str, type]] = import_module(f"{__name__}.{room}").FIELDS
    return found


def normal(id_: Id, field: str, value: Value, scope: str) -> Value:
    """A field in its one normal form, as far as its kind has more than one spelling. Raises ValueError."""
    found: Value | None = _of(id_.kind, "normal", None)(id_, field, value, scope)
    return value if found is None else found


def _of(kind: str, what: str, otherwise: str | None) -> Callable[..., Any]:
    return _found(kind.partition(".")[0], what, otherwise)


_WITHIN = {
    **dict.fromkeys(("precious", "widens", "opens", "lost", "is_over"), "opening"),
    **dict.fromkeys(("in_words", "worded"), "words"),
    "normal": "normal_form",
}


@cache
def _found(room: str, what: str, otherwise: str | None) -> Callable[..., Any]:
    for place in (f"{room}.{_WITHIN[what]}", room):
        with suppress(ModuleNotFoundError):
            found: Callable[..., Any] | None = getattr(import_module(f"{__name__}.{place}"), what, None)
            if found:
                return found
    return lambda *given: otherwise
