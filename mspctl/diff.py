"""
What differs between declared, recorded and live, per field, and why. Pure: no I/O, no clock.

The table of docs/architecture.md, row by row: Git says x or y, the ledger says what we left, the target says what is.
Two values that agree explain the third: live as recorded means Git moved on (pending), recorded as declared means
somebody else did (drift), and three different values are a conflict.

While it is unknown how an apply ended, the ledger gives several states. What is live as any of them is ours; for
drift, all must be as declared. What the target does not let us read is as we wrote it last, once that is certain: a
password is not written again because a rename, or a delete, was begun and may not have come to its end.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from mspctl.record import Record
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Value

NEVER = Record(())


class _Absence(enum.Enum):
    """Of a field: the resource itself may not have been there. Not the same as a resource without the field."""

    ABSENT = "absent"


ABSENT = _Absence.ABSENT
EMPTY: tuple[Value, ...] = ("", (), frozenset())  # of a field that we never wrote: there is nothing to take over
Left = Value | None | _Absence  # what we may have left in a field; None: no such field


@dataclass(frozen=True, slots=True)
class Difference:
    """One resource that is not as declared; `fields` says why for each field when both sides exist."""

    id: Id
    declared: Resource | None
    live: Resource | None
    record: Record
    cause: Cause  # of the whole; for an update the gravest of its fields
    fields: Mapping[str, Cause]
    renamed: Cause | None = None  # why its id differs: `live` still has the one that it had before

    def was_shown(self, seen: Resource | None) -> bool:
        """Whether what came from outside is what somebody saw who saw the resource so; None: it was not there."""
        if self.live is None or seen is None:
            return self.live is seen
        outside = (
            [n for n, cause in self.fields.items() if cause is not Cause.PENDING] if self.declared else seen.fields
        )
        return all(self.live.fields.get(name) in (UNKNOWN, seen.fields.get(name)) for name in outside)

    def change(self, causes: Collection[Cause]) -> Change | None:
        """The step that ends what has one of these causes, and leaves the rest as it is live."""
        if self.declared is None or self.live is None:
            return Change(self.live, self.declared, self.cause) if self.cause in causes else None
        due = {name: cause for name, cause in self.fields.items() if cause in causes}
        if self.renamed not in (None, *causes) or not (due or self.renamed):
            return None
        fields = {**self.live.fields, **{name: self.declared.fields[name] for name in due}}
        after = Resource(self.id, fields, self.declared.source, self.live.handle)
        return Change(self.live, after, _gravest([*due.values(), *([self.renamed] if self.renamed else [])]))

    def without(self, causes: Collection[Cause]) -> Difference | None:
        """What is left of this difference when `change(causes)` is carried out."""
        if self.declared is None or self.live is None:
            return None if self.cause in causes else self
        rest = {name: cause for name, cause in self.fields.items() if cause not in causes}
        if self.renamed not in (None, *causes):
            return self
        if not rest:
            return None
        return Difference(self.id, self.declared, self.live, self.record, _gravest(rest.values()), rest)


def diff(
    declared: Iterable[Resource],
    recorded: Mapping[Id, Record],
    live: Iterable[Resource],
    renames: Collection[str] = frozenset(),
) -> list[Difference]:
    """
    All differences of one scope, in the order in which they may be carried out.

    Deletes come first (a CNAME must go before an A record may take its name), then updates, then creates. What is
    declared with a field that is UNKNOWN yet is not made. `renames` are kinds that can change their id; of others,
    `was` says nothing.
    """
    wanted = {r.id: r for r in declared}
    found = {r.id: r for r in live}
    recorded = _inherited(wanted, recorded, found, renames)
    renamed = {i: r.was for i, r in wanted.items() if r.was and i.kind in renames and i not in found}
    moves = {i: found.pop(was) for i, was in renamed.items() if was in found and was not in wanted}
    moved = [_moved(wanted.pop(i), recorded.get(r.id, NEVER), r) for i, r in moves.items()]
    gone = (_undeclared(r, recorded.get(i, NEVER)) for i, r in found.items() if i not in wanted)
    both = (_both(r, recorded.get(i, NEVER), found[i]) for i, r in wanted.items() if i in found)
    new = (_absent(r, recorded.get(i, NEVER)) for i, r in wanted.items() if i not in found)
    return [d for group in (gone, moved, both, new) for d in sorted(filter(None, group), key=attrgetter("id"))]


def _inherited(
    wanted: Mapping[Id, Resource], recorded: Mapping[Id, Record], found: Collection[Id], renames: Collection[str]
) -> Mapping[Id, Record]:
    """
    The records, where a rename may have been carried out by a run that did not come to its end.

    Then the new name is known from the intent only, and what it was before is said of the old one.
    """
    heirs = {}
    for id_, resource in wanted.items():
        if resource.was and id_.kind in renames and id_ in found and resource.was not in found:
            mine, old = recorded.get(id_, NEVER), recorded.get(resource.was, NEVER)
            if mine.states[:1] == (None,) and any(mine.states) and None in old.states[1:]:
                heirs[id_] = Record((old.states[0], *mine.states[1:]), mine.tombstone)
    return {**recorded, **heirs} if heirs else recorded


def _undeclared(live: Resource, record: Record) -> Difference:
    if not any(record.states):
        cause = Cause.UNMANAGED if record.tombstone is None else Cause.CAME_BACK
    else:
        names = {name for state in record.states if state for name in state.fields}
        ours = all(live.fields.get(name) in (UNKNOWN, *_recorded(record, name)) for name in names)
        cause = Cause.PENDING if ours else Cause.CONFLICT
    return Difference(live.id, None, live, record, cause, {})


def _absent(declared: Resource, record: Record) -> Difference | None:
    if UNKNOWN in declared.fields.values():
        return None
    if not any(record.states) or None in record.states:
        cause = Cause.PENDING
    else:
        same = all(set(_recorded(record, name)) == {value} for name, value in declared.fields.items())
        cause = Cause.DRIFT if same else Cause.CONFLICT
    return Difference(declared.id, declared, None, record, cause, {})


def _moved(declared: Resource, record: Record, live: Resource) -> Difference:
    """Renamed in Git, and still there by its old name; whose it is, is said of that one."""
    rest = _both(declared, record, live)
    fields = rest.fields if rest else {}
    renamed = Cause.PENDING if any(record.states) else Cause.TAKE_OVER
    cause = _gravest([renamed, *fields.values()])
    return Difference(declared.id, declared, live, record, cause, fields, renamed)


def _both(declared: Resource, record: Record, live: Resource) -> Difference | None:
    fields = {}
    for name, value in declared.fields.items():
        now = live.fields.get(name)
        cause = _cause(value, _recorded(record, name), now) if value not in (UNKNOWN, now) else None
        if cause is not None:
            fields[name] = cause
    return Difference(declared.id, declared, live, record, _gravest(fields.values()), fields) if fields else None


def _cause(declared: Value, recorded: Sequence[Left], live: Value | None) -> Cause | None:
    """Why one field differs; None as a value means that the field was, or is, not there."""
    if live is UNKNOWN:
        return None if all(value == declared for value in _while_there(recorded)) else Cause.PENDING
    as_declared = all(value == declared for value in recorded)
    if live in recorded or (live in EMPTY and recorded and all(value is None for value in recorded)):
        return Cause.PENDING
    if recorded and as_declared:
        return Cause.DRIFT
    return Cause.TAKE_OVER if not recorded or None in recorded or ABSENT in recorded else Cause.CONFLICT


def _recorded(record: Record, name: str) -> list[Left]:
    """What we may have left in a field; empty when the resource is not ours."""
    if not any(record.states):
        return []
    return [state.fields.get(name) if state else ABSENT for state in record.states]


def _while_there(recorded: Sequence[Left]) -> list[Left]:
    """What we may have left in a field of something that is there: a delete that was begun did not happen."""
    return [left for left in recorded if left is not ABSENT or recorded[0] is ABSENT]


# -- what the ledger learns -----------------------------------------------------------------------------------


def settled(
    declared: Iterable[Resource],
    recorded: Mapping[Id, Record],
    live: Iterable[Resource],
    landed: Iterable[Change] = (),
    renames: Collection[str] = frozenset(),
) -> dict[Id, Resource | None]:
    """
    What the ledger shall say from now on: fields that are live as declared, and None for what is gone.

    A field that cannot be read counts as true when its change has `landed`. Fields that still differ keep what
    was recorded, so that drift stays drift; what nobody can tell yet is left out.
    """
    written = {change.id: change.changed for change in landed}
    wanted = {r.id: r for r in declared}
    found = {r.id: r for r in live}
    recorded = _inherited(wanted, recorded, found, renames)
    result: dict[Id, Resource | None] = {}
    for id_, resource in wanted.items():
        if id_ in found:
            state = _settled(resource, recorded.get(id_, NEVER), found[id_], written.get(id_, ()))
            if state is not None:
                result[id_] = state
    for id_, record in recorded.items():
        if id_ not in wanted and id_ not in found and any(record.states):
            result[id_] = None
    return result


def written(
    declared: Iterable[Resource], live: Iterable[Resource], landed: Iterable[Change]
) -> dict[Id, dict[str, Value]]:
    """Fields that landed and cannot be read: we know them, whatever is in doubt beside them."""
    names = {change.id: change.changed for change in landed}
    blind = {r.id: {n for n in names[r.id] if r.fields.get(n) is UNKNOWN} for r in live if r.id in names}
    found = {r.id: {n: v for n, v in r.fields.items() if n in blind.get(r.id, ())} for r in declared}
    return {id_: fields for id_, fields in found.items() if fields}


def found(
    declared: Iterable[Resource], recorded: Mapping[Id, Record], settles: Mapping[Id, Resource | None]
) -> list[Change]:
    """
    Changes that a run had begun and did not come to record, and that are done: what is settled is as it was to be.

    What it undid of others' doing is not among them, for before and after are the same to us.
    """
    done = {
        id_: Change(recorded[id_].states[0], state)
        for id_, state in settles.items()
        if id_ in recorded and len(recorded[id_].states) > 1 and _was_begun(recorded[id_], state)
    }
    for resource in declared:
        new, old = done.get(resource.id), done.get(resource.was) if resource.was else None
        if new and old and new.before is None and old.after is None:
            del done[old.id]
            done[resource.id] = Change(old.before, new.after)
    return [*done.values()]


def _was_begun(record: Record, now: Resource | None) -> bool:
    """Whether it is now what a run meant it to become that has not said how it ended."""
    before, *begun = record.states
    if now is None:
        return before is not None and None in begun
    for state in filter(None, begun):
        moved = {n: v for n, v in state.fields.items() if before is None or before.fields.get(n, ABSENT) != v}
        if moved and all(now.fields.get(name) == value for name, value in moved.items()):
            return True
    return False


def _settled(declared: Resource, record: Record, live: Resource, written: Collection[str]) -> Resource | None:
    """What of a live resource is ours; None while that is in doubt, and for what somebody else made."""
    if live.fields == declared.fields and UNKNOWN not in declared.fields.values():
        return Resource(declared.id, declared.fields)  # as nearly all are
    fields = _left_alone(declared, record, live)
    for name, value in declared.fields.items():
        now, before = live.fields.get(name), _recorded(record, name)
        unread = now is UNKNOWN and (name in written or all(old == value for old in _while_there(before)))
        true = value is not UNKNOWN and (now == value or unread)
        kept = {value} if true else {now} if now in before else {*before}
        if len(kept) != 1:
            return None
        (left,) = kept
        if left is not None and left is not ABSENT:
            fields[name] = left
    return Resource(declared.id, fields)


def _left_alone(declared: Resource, record: Record, live: Resource) -> dict[str, Value]:
    """Fields that Git no longer speaks of, and which are as we left them: once it does again, they are still ours."""
    fields: dict[str, Value] = {}
    for name in {n for state in record.states if state for n in state.fields} - declared.fields.keys():
        left = {*_while_there(_recorded(record, name))}
        value = left.pop() if len(left) == 1 else None
        if value is not None and value is not ABSENT and live.fields.get(name) in (value, UNKNOWN):
            fields[name] = value
    return fields


_GRAVITY = (Cause.CAME_BACK, Cause.CONFLICT, Cause.TAKE_OVER, Cause.DRIFT, Cause.PENDING, Cause.UNMANAGED)


def _gravest(causes: Iterable[Cause]) -> Cause:
    return min(causes, key=_GRAVITY.index)
