"""
What a resource of each kind looks like: its fields and their one normal form.

The model (which reads YAML) and the drivers (which read servers) never meet; they agree because both write
resources through these files. No I/O here. A kind "dns.rrset" is described in `dns.py`; a file may define
`precious(resource)`, which names what a service cannot do without ("MX of the zone").
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from mspctl.resource import Resource

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
    try:
        module = import_module(f"{__name__}.{room}")
    except ModuleNotFoundError:
        return lambda resource: ""
    found: Callable[[Resource], str] = getattr(module, "precious", lambda resource: "")
    return found
