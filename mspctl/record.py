"""What the ledger says of a scope: the memory that tells "not applied yet" from "changed outside"."""

from __future__ import annotations

import getpass
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from mspctl.resource import Change, Id, Resource, Scope, Value


@dataclass(frozen=True, slots=True)
class Record:
    """
    The states in which we may have left one resource; None among them means absent.

    There is one, or more while an apply was begun whose end is unknown: then any of them is ours, not drift.
    """

    states: tuple[Resource | None, ...]
    tombstone: date | None = None  # day on which we deleted it; states is then (None,)
    kept_until: date | None = None  # its line was taken out, and it is switched off until this day


@dataclass(frozen=True, slots=True)
class Emergency:
    """An apply without CI: what it did may be missing in Git's main until somebody merges it."""

    who: str
    when: datetime
    reason: str
    branch: str  # where the YAML that it applied is kept
    ids: frozenset[Id] = frozenset()  # what it changed in one scope


@dataclass(frozen=True, slots=True)
class ScopeRecord:
    """All that is recorded of one scope."""

    scope: Scope
    resources: Mapping[Id, Record] = field(default_factory=dict)
    outputs: Mapping[str, Value] = field(default_factory=dict)
    used: frozenset[str] = frozenset()  # approvals that let something through, once
    emergencies: Mapping[str, Emergency] = field(default_factory=dict)  # by run, those that are not over


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for what a run does, and where."""

    tickets: tuple[str, ...] = ()
    by: tuple[str, ...] = ()  # contacts, each with its customer: acme/jane


NOBODY = Asked()  # of whom anybody knows


@dataclass(frozen=True, slots=True)
class Run:
    """Who applies what, for the commit message of each ledger entry."""

    id: str  # unique per process: time and random letters
    who: str  # "Paolo Zen <paolo@msp.example>"
    commit: str = ""  # of the customers' repository
    reason: str = ""  # the pull request or ticket
    plan: str = ""  # digest of the plan
    emergency: Emergency | None = None
    asked: Asked = NOBODY


@dataclass(frozen=True, slots=True)
class Finished:
    """How one scope ended."""

    settled: Mapping[Id, Resource | None]  # what is ours and true now, declared fields only; None: deleted
    changes: Sequence[Change] = ()  # what landed, with what was there before
    outputs: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""  # why the rest did not land; its intent then stays unresolved
    used: Collection[str] = ()  # approvals that let something through
    written: Mapping[Id, Mapping[str, Value]] = field(default_factory=dict)  # true, of what else is in doubt
    kept: Mapping[Id, date] = field(default_factory=dict)  # switched off because their lines were taken out: until when
    found: Sequence[Change] = ()  # what was done before: another run had begun it, and did not come to record it
    over: Collection[str] = ()  # runs of emergencies: Git declares what they did, or it was undone on purpose


def login() -> str:
    """The log-in name of whoever runs this; the user of a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"
