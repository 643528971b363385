"""
What differs between declared, recorded and live, per field, and why. Pure: no I/O, no clock.

The table of docs/architecture.md, row by row: Git says x or y, the ledger says what we left, the target says what is.
Two values that agree explain the third: live as recorded means Git moved on (pending), recorded as declared means
somebody else did (drift), and three different values are a conflict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from mspctl.record import Record
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Value

NEVER = Record(())


@dataclass(frozen=True, slots=True)
class Difference:
    """One resource that is not as declared; `fields` says why for each field when both sides exist."""

    id: Id
    declared: Resource | None
    live: Resource | None
    record: Record
    cause: Cause  # of the whole; for an update the gravest of its fields
    fields: Mapping[str, Cause]

    def change(self, causes: Collection[Cause]) -> Change | None:
        """The step that ends what has one of these causes, and leaves the rest as it is live."""
        if self.declared is None or self.live is None:
            return Change(self.live, self.declared, self.cause) if self.cause in causes else None
        names = [name for name, cause in self.fields.items() if cause in causes]
        if not names:
            return None
        declared = self.declared
        fields = {**self.live.fields, **{name: declared.fields[name] for name in names}}
        after = Resource(declared.id, fields, declared.source, self.live.handle)
        return Change(self.live, after, _gravest(self.fields[name] for name in names))

    def without(self, causes: Collection[Cause]) -> Difference | None:
        """What is left of this difference when `change(causes)` is carried out."""
        if self.declared is None or self.live is None:
            return None if self.cause in causes else self
        rest = {name: cause for name, cause in self.fields.items() if cause not in causes}
        if not rest:
            return None
        return Difference(self.id, self.declared, self.live, self.record, _gravest(rest.values()), rest)


def diff(declared: Iterable[Resource], recorded: Mapping[Id, Record], live: Iterable[Resource]) -> list[Difference]:
    """
    All differences of one scope, in the order in which they may be carried out.

    Deletes come first (a CNAME must go before an A record may take its name), then updates, then creates.
    """
    wanted = {r.id: r for r in declared}
    found = {r.id: r for r in live}
    gone = [_undeclared(i, recorded.get(i, NEVER), found[i]) for i in sorted(found.keys() - wanted.keys())]
    both = [_both(wanted[i], recorded.get(i, NEVER), found[i]) for i in sorted(found.keys() & wanted.keys())]
    new = [_absent(wanted[i], recorded.get(i, NEVER)) for i in sorted(wanted.keys() - found.keys())]
    return [*gone, *(d for d in both if d is not None), *new]


def settled(
    declared: Iterable[Resource], recorded: Mapping[Id, Record], live: Iterable[Resource], landed: Collection[Id] = ()
) -> dict[Id, Resource | None]:
    """
    What the ledger shall say from now on: fields that are live as declared, and None for what is gone.

    A field that cannot be read counts as true when its change has `landed`. Fields that still differ keep what
    was recorded, so that drift stays drift.
    """
    wanted = {r.id: r for r in declared}
    found = {r.id: r for r in live}
    result: dict[Id, Resource | None] = {}
    for id_, resource in wanted.items():
        if id_ in found:
            fields = _settled_fields(resource, recorded.get(id_, NEVER), found[id_], id_ in landed)
            if fields:
                result[id_] = Resource(id_, fields)
    for id_, record in recorded.items():
        if id_ not in wanted and id_ not in found and record.states != (None,):
            result[id_] = None
    return result


def _settled_fields(declared: Resource, record: Record, live: Resource, landed: bool) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    for name, value in declared.fields.items():
        now = live.fields.get(name)
        before = _recorded(record, name)
        if value is not UNKNOWN and (now == value or (now is UNKNOWN and (landed or value in before))):
            fields[name] = value
        elif before:
            fields[name] = before[0]
    return fields


def _undeclared(id_: Id, record: Record, live: Resource) -> Difference:
    if record.tombstone is not None:
        cause = Cause.CAME_BACK
    elif not record.states:
        cause = Cause.UNMANAGED
    elif any(state is not None and _holds(live, state) for state in record.states):
        cause = Cause.PENDING
    else:
        cause = Cause.CONFLICT
    return Difference(id_, None, live, record, cause, {})


def _absent(declared: Resource, record: Record) -> Difference:
    if not record.states or None in record.states:
        cause = Cause.PENDING
    elif any(state is not None and _same(declared, state) for state in record.states):
        cause = Cause.DRIFT
    else:
        cause = Cause.CONFLICT
    return Difference(declared.id, declared, None, record, cause, {})


def _both(declared: Resource, record: Record, live: Resource) -> Difference | None:
    fields = {}
    for name, value in declared.fields.items():
        if value is UNKNOWN or live.fields.get(name) == value:
            continue
        cause = _field(value, _recorded(record, name), live.fields.get(name))
        if cause is not None:
            fields[name] = cause
    return Difference(declared.id, declared, live, record, _gravest(fields.values()), fields) if fields else None


def _field(declared: Value, recorded: list[Value], live: Value | None) -> Cause | None:
    """Why one field differs; `live` is None where the target does not have it."""
    if live is UNKNOWN:  # cannot be read: what we wrote last is all we know
        return None if declared in recorded else Cause.PENDING
    if live in recorded or (live is None and not recorded):
        return Cause.PENDING
    if declared in recorded:
        return Cause.DRIFT
    return Cause.CONFLICT if recorded else Cause.TAKE_OVER


def _recorded(record: Record, name: str) -> list[Value]:
    return [state.fields[name] for state in record.states if state is not None and name in state.fields]


def _same(declared: Resource, state: Resource) -> bool:
    return all(value is UNKNOWN or state.fields.get(name) == value for name, value in declared.fields.items())


def _holds(live: Resource, state: Resource) -> bool:
    """Whether live still is what we left: fields that cannot be read, or were never ours, say nothing."""
    return all(live.fields.get(name, value) in (value, UNKNOWN) for name, value in state.fields.items())


_GRAVITY = (Cause.CAME_BACK, Cause.CONFLICT, Cause.TAKE_OVER, Cause.DRIFT, Cause.PENDING, Cause.UNMANAGED)


def _gravest(causes: Iterable[Cause]) -> Cause:
    return min(causes, key=_GRAVITY.index)
