"""
Hosts: how one is reached, and what the resources of every host section have in common.

A scope of the facet `hosts` is one section of one host, "officine-brenta/srv-1/patching": names of hosts are the
customer's own, and ninety customers have a srv-1. Where one name has to do, it is "srv-1.officine-brenta".

Each resource has the field `amiss`: sentences about what is not as its other fields make it (a file that was edited, a
timer that is stopped, a package that is gone). Declared it is always empty, so whatever stands in it is drift.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mspctl.kinds import shown
from mspctl.resource import Id, Scope, Value

FACET = "hosts"
AMISS = "amiss"
NOTHING_AMISS: dict[str, Value] = {AMISS: frozenset()}

_WORD = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NAME = re.compile(r"([a-z0-9-]+)/([a-z0-9-]+)/([a-z]+)")


@dataclass(frozen=True, slots=True)
class Host:
    """How to reach one host, and where it belongs."""

    name: str  # "srv-1"
    customer: str
    address: str
    port: int = 22
    user: str = "root"
    keys: tuple[str, ...] = ()  # of the host, "ssh-ed25519 AAAA…"; one of them it must have
    jump: str = ""  # the full name of the host it is reached through
    site: str = ""
    role: str = ""
    os: str = ""

    @property
    def full(self) -> str:
        return full_name(self.customer, self.name)


def full_name(customer: str, host: str) -> str:
    return f"{host}.{customer}"


def scope_name(customer: str, host: str, section: str) -> str:
    return f"{customer}/{host}/{section}"


def parts(scope: Scope) -> tuple[str, str, str]:
    """Customer, host and section of a scope. Raises ValueError."""
    found = _NAME.fullmatch(scope.name)
    if not found:
        raise ValueError(f"{scope.name!r} is no section of a host")
    return found[1], found[2], found[3]


def amiss(sentences: Iterable[str]) -> dict[str, Value]:
    return {AMISS: frozenset(sentences)}


def fold_word(text: str) -> str:
    """The name of a job, a scan or the like: it becomes part of the names of files and units. Raises ValueError."""
    if not _WORD.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a name (small letters, digits and -)")
    return text


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """What programs may say of any resource of a host. Raises ValueError."""
    if field == AMISS and value:
        raise ValueError("is what is found, never what is wished (write [])")
    return fold_word(value) if field == "" and isinstance(value, str) else None


def worded(name: str, value: Value) -> str | None:
    """What fields of hosts have in common: what is not there, and what is amiss with nothing, goes without saying."""
    return "" if value in ("", frozenset()) or (value == 0 and not isinstance(value, bool)) else None
