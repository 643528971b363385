"""
What a resource of each kind looks like: its fields and their one normal form.

The model (which reads YAML) and the drivers (which read servers) never meet; they agree because both write
resources through these files. No I/O here. A kind "dns.rrset" is described in `dns.py`; a file may define
`precious(resource)`, which names what a service cannot do without ("MX of the zone"), and `worded(name, value)`, which
says a field in the words of people, or "" where it goes without saying.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from types import ModuleType

from mspctl.resource import Resource, Value

NEWEST = "newest"  # when something came into a thing last: what is measured of every kind that holds data
MOST_SHOWN = 80  # characters of a wrong value that a message repeats


def shown(text: object) -> str:
    """A value as a message shows it: quoted, on one line, and not longer than a line."""
    said = repr(text)
    return said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]}… ({len(str(text)):,} characters)"


def precious(resource: Resource) -> str:
    """What a resource is one of, when the last of these must not go unnoticed; "" for most."""
    return _precious_of(resource.id.kind.partition(".")[0])(resource)


@cache
def _precious_of(room: str) -> Callable[[Resource], str]:
    found: Callable[[Resource], str] = getattr(_module(room), "precious", lambda resource: "")
    return found


def worded(kind: str, name: str, value: Value) -> str | None:
    """A field of a kind in the words of people, "" where it goes without saying; None when there is no better word."""
    return _worded_of(kind.partition(".")[0])(name, value)


@cache
def _worded_of(room: str) -> Callable[[str, Value], str | None]:
    found: Callable[[str, Value], str | None] = getattr(_module(room), "worded", lambda name, value: None)
    return found


def _module(room: str) -> ModuleType | None:
    try:
        return import_module(f"{__name__}.{room}")
    except ModuleNotFoundError:
        return None
