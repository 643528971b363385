"""
Hosts: how one is reached, and what the resources of every host section have in common.

A scope of the facet `hosts` is one section of one host, "officine-brenta/srv-1/patching": names of hosts are the
customer's own, and ninety customers have a srv-1. Where one name has to do, it is "srv-1.officine-brenta".

Each resource has the field `AMISS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mspctl.kinds import AMISS, shown
from mspctl.resource import Scope, Value

FACET = "hosts"

_OWN_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
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


def worded(name: str, value: Value) -> str | None:
    """What fields of hosts have in common: what is not there, and what is amiss with nothing, goes without saying."""
    return "" if value in ("", frozenset()) or (value == 0 and not isinstance(value, bool)) else None


# -- as programs may spell it; what is written here becomes files and commands on a host ------------------------------


def fold_name(text: str) -> str:
    """The name of a job, a scan, a product: part of names of files. Raises ValueError."""
    if not _OWN_NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a name (lower-case letters, digits and -)")
    return text


def one_of(words: Iterable[str]) -> Callable[[str], str]:
    known = (*words,)

    def fold(text: str) -> str:
        if text not in known:
            raise ValueError(f"{shown(text)} is none of {', '.join(known)}")
        return text

    return fold


def maybe(fold: Callable[[str], str]) -> Callable[[str], str]:
    """ "" is nothing, which may be."""
    return lambda text: fold(text) if text else ""


def between(least: int, most: int, value: Value) -> Value:
    """Raises ValueError."""
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{shown(value)} is not from {least} to {most}")
    return value


def folded(fold: Callable[[str], str] | None, value: Value) -> Value | None:
    """A text, or each text of a set. Raises ValueError."""
    if fold is None:
        return None
    return frozenset(map(fold, value)) if isinstance(value, frozenset) else fold(str(value))
