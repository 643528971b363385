"""
What a resource of each kind looks like: its fields and their one normal form.

The model (which reads YAML) and the drivers (which read servers) never meet; they agree because both write
resources through these files. No I/O here. A kind "dns.rrset" is described in `dns.py`. A file may define
`precious(resource)`, which names what a service cannot do without ("MX of the zone"), `widens(before, after, resources)`,
which says why a change lets in too much, and `in_words(resource)`, what a resource does, for people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module

from mspctl.resource import Resource

MOST_SHOWN = 80  # characters of a wrong value that a message repeats


def shown(text: object) -> str:
    """A value as a message shows it: quoted, on one line, and not longer than a line."""
    said = repr(text)
    return said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]}… ({len(str(text)):,} characters)"


def precious(resource: Resource) -> str:
    """What a resource is one of, when the last of these must not go unnoticed; "" for most."""
    return _said(resource.id.kind, "precious")(resource)


def widens(before: Resource | None, after: Resource | None, resources: Sequence[Resource]) -> str:
    """Why a change opens something to anybody; "" for most. `resources`: all that its scope holds then."""
    resource = after or before
    return _said(resource.id.kind, "widens")(before, after, resources) if resource else ""


def in_words(resource: Resource) -> str:
    """What a resource does, where that says more than its fields; "" for most."""
    return _said(resource.id.kind, "in_words")(resource)


def _said(kind: str, what: str) -> Callable[..., str]:
    return _found(kind.partition(".")[0], what)


@cache
def _found(room: str, what: str) -> Callable[..., str]:
    try:
        module = import_module(f"{__name__}.{room}")
    except ModuleNotFoundError:
        return lambda *resources: ""
    found: Callable[..., str] = getattr(module, what, lambda *resources: "")
    return found
