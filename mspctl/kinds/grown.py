"""
A firewall that other people have written, as far as our language has words for it: what an import is made of.

Drivers translate; whoever writes YAML of it finds names, and asks what `load` refuses. So for each rule its text in the
device's own language comes along, for the case that ours may not say it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mspctl.resource import Id, Resource


@dataclass(frozen=True, slots=True)
class Native:
    """A rule in the device's own language."""

    chain: str  # of ours: input, forward, output, prerouting, postrouting
    text: str  # "" where it cannot be one rule of our table
    place: str  # "table inet filter, INPUT"
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Odd:
    """What has no words in our language, and why."""

    native: Native
    why: str
    before: str = ""  # the rule of our own that it comes before
    spare: bool = False  # forwards say it, so it counts only where one of them cannot be said


@dataclass(frozen=True, slots=True)
class Grown:
    """
    What a device's rules come to: zones, rules, forwards and the rest of `firewall.py`, but for what lets us in.

    `rules` are in their order. `natives` are the rules that each of them comes from; `odd` are those that come to none.
    """

    resources: Sequence[Resource] = ()
    natives: Mapping[Id, Sequence[Native]] = field(default_factory=dict)
    odd: Sequence[Odd] = ()
    notes: Sequence[str] = ()  # what is otherwise with our rules than it was
    called: Mapping[frozenset[str], str] = field(default_factory=dict)  # what sets of addresses and services are called
    port: int = 22  # by which the device is administered
    tables: Sequence[str] = ()  # where all of it stands
    taken: int = 0  # rules of these tables
