"""The nouns every other module speaks in: what is declared, where it lives, and a step from one state to the next."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Unknown(enum.Enum):
    """A field nobody can know now: write-only, refused, or an output not made yet. Never equal, never drift."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown.UNKNOWN

# A tuple is ordered, a frozenset is not: the type of a value says how it is compared.
Value = str | int | bool | tuple[str, ...] | frozenset[str] | Unknown
Fields = Mapping[str, Value]


class Id(NamedTuple):
    """Names one thing within its scope. Two resources with equal ids are the same thing."""

    kind: str  # "dns.rrset"
    name: str  # "www A"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """
    One zone, one mail domain, one firewall: the unit of planning, locking, recording and failing.

    Its identity is where it lives, not whose it is: a customer that is renamed, or hands a zone over,
    keeps the same scope. `after` are the scopes that must be finished before this one starts.
    """

    target: str
    facet: str
    name: str
    customer: str = field(default="", compare=False)
    engine: str = field(default="mspctl", compare=False)
    after: tuple[Scope, ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.facet} {self.name} on {self.target}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A thing as it should be (from YAML), was last applied (ledger), or is (read from a target)."""

    id: Id
    fields: Fields
    source: str = field(default="", compare=False)  # "customers/acme/dns/acme.example.yaml:12"
    handle: str = field(default="", compare=False, repr=False)  # native id or ETag; never printed
    was: Id | None = field(default=None, compare=False, repr=False)  # its id before it was renamed in Git


class Cause(enum.StrEnum):
    """Why declared and live differ: a row of the three-way table in docs/architecture.md."""

    PENDING = "pending"  # Git is ahead of what was applied
    DRIFT = "drift"  # somebody changed it outside
    CONFLICT = "conflict"  # Git and somebody outside changed it
    TAKE_OVER = "take-over"  # declared for the first time, but something else is there
    CAME_BACK = "came back"  # deleted by us once, live again
    UNMANAGED = "unmanaged"  # live, neither declared nor recorded


@dataclass(frozen=True, slots=True)
class Change:
    """
    One resource's step from `before` (what was read) to `after`. None means absent.

    When their ids differ the resource is renamed, and keeps what it holds.
    """

    before: Resource | None
    after: Resource | None
    cause: Cause = Cause.PENDING

    @property
    def id(self) -> Id:
        resource = self.after or self.before
        assert resource is not None, "a change has a before or an after"
        return resource.id

    @property
    def verb(self) -> str:
        if self.before is None:
            return "create"
        if self.after is None:
            return "delete"
        return "update" if self.before.id == self.after.id else "rename"

    @property
    def changed(self) -> tuple[str, ...]:
        """Names of the fields that differ, in the order of `after`; for a delete, all of `before`."""
        before = self.before.fields if self.before else {}
        if self.after is None:
            return tuple(before)
        return tuple(name for name, value in self.after.fields.items() if name not in before or before[name] != value)
