"""
What hosts are made of and what is installed on them, as `inventory/assets/` keeps it: plain text in one normal form.

What a host says is cut to what can stand on a line, and to what is worth a line in Git's difference: what a reboot or a
minute changes by itself is left out. Nobody declares any of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LONGEST = 120  # characters of one text
MOST = 5000  # entries of one kind that a host may have; what is more, is no inventory
Text = str | Mapping[str, str] | Sequence[str]

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Inspected:
    """One host, as it says itself."""

    machine: Mapping[str, Text]  # the keys of model/assets.py, in their order; what is not known is left out
    automatic: Mapping[str, str] = field(default_factory=dict)  # packages that came along with others: name → version
    addresses: tuple[str, ...] = ()  # its own
    networks: tuple[str, ...] = ()  # which it is on
    neighbours: Mapping[str, str] = field(default_factory=dict)  # address → MAC: who answered it within a day


@dataclass(frozen=True, slots=True)
class AssetsOf:
    """The question for what was collected last; asked by checks, answered by whoever may read files."""

    customer: str


def line(value: object) -> str:
    """What somebody else wrote, as one short line of harmless characters."""
    text = "".join(c if c.isprintable() and c != "\ufeff" else " " for c in str(value))
    return " ".join(text.split())[:LONGEST].strip()


def mac(value: object) -> str:
    """In lower case; nothing for what is none."""
    text = str(value).lower()
    return text if _MAC.fullmatch(text) else ""
