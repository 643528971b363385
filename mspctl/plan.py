"""
A plan: for every scope what to change and why, what is left alone, and what could not be read.

Holds readers only, so it cannot write. A plan is data: reports print it, apply carries it out.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from fnmatch import fnmatchcase
from types import MappingProxyType

from mspctl import document, guards
from mspctl.desired import Declaration
from mspctl.diff import Difference, diff, settled
from mspctl.driver import (
    Failed,
    Gauge,
    Measured,
    Outputs,
    Reader,
    Reading,
    Touched,
    Traits,
    Unmeasured,
    measured,
    translated,
)
from mspctl.errors import InputError, Problem, TargetError, Unreachable, Unsupported
from mspctl.exits import Exit
from mspctl.kinds import NEWEST
from mspctl.model.permissions import Acceptance, Approval
from mspctl.record import NOBODY, Asked, Emergency, Record, ScopeRecord
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Scope

Readers = Callable[[Scope], Reader]  # the reader that serves a scope; raises TargetError
Wanted = Callable[[Scope, Id], bool]  # whether a resource is part of what was asked for
Progress = Callable[[int], None]  # scopes done since the last call
Gauged = Mapping[Gauge, Measured]

UNASKED = Unmeasured("it was not asked")
NO_GAUGES: Gauged = MappingProxyType({})
TRAITS = Traits()
PENDING = frozenset({Cause.PENDING})
AHEAD = frozenset({Cause.PENDING, Cause.CONFLICT, Cause.TAKE_OVER})
REVERT = frozenset({Cause.PENDING, Cause.DRIFT, Cause.CAME_BACK})


class Standing(enum.StrEnum):
    DUE = "due"  # carried out by the next apply
    HELD = "held"  # not now; the reason says what it waits for
    APPROVAL = "needs approval"  # somebody has to name it first


@dataclass(frozen=True, slots=True)
class Step:
    """One change and whether it will be carried out."""

    change: Change
    standing: Standing = Standing.DUE
    reason: str = ""
    approval: str = ""  # the key of the approval that lets a guarded change through
    opens: bool = False  # it lets in what was kept out


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that somebody left as it is until a day."""

    difference: Difference
    who: str
    why: str
    until: date


@dataclass(frozen=True, slots=True)
class ScopePlan:
    """What one scope needs."""

    scope: Scope
    source: str = ""
    steps: Sequence[Step] = ()
    left: Sequence[Difference] = ()  # not in this merge: drift, unmanaged, and what waits for somebody
    unknown: Sequence[Id] = ()  # resources with a field that nobody can know yet
    settles: Mapping[Id, Resource | None] = field(default_factory=dict)  # what the ledger learns without a change
    live: Sequence[Resource] = ()  # kept only where something is due
    token: str = ""
    exists: bool = True
    declared: int = 0
    error: str = ""  # why there is no plan for this scope
    unreachable: bool = False
    outputs: Outputs = field(default_factory=dict)  # what the scope hands out, as read
    facts: Outputs = field(default_factory=dict)  # what findings want to know besides, as read
    accepted: Sequence[Accepted] = ()  # differences that somebody let be
    gone: bool = False  # the scope itself goes, with what is due
    kept: frozenset[Id] = frozenset()  # switched off, their lines taken out: Git has no line for them
    untried: str = ""  # what `Traits.untried` says
    seen_at: datetime | None = None  # when it was read, if not now: nothing has changed since
    words: Mapping[Id, str] = field(default_factory=dict)  # what resources do, as their section says it
    since: Mapping[Id, datetime] | None = None  # when known differences were first seen; None: nothing is known
    looked: datetime | None = None  # when it was read the time before, if that is known
    touched: Mapping[Id, Touched] = field(default_factory=dict)  # who touched last what is left, if that was asked
    elsewhere: Sequence[Step] = ()  # of another merge than the one that is carried out: its own run does it, or did

    @property
    def due(self) -> list[Change]:
        return [step.change for step in self.steps if step.standing is Standing.DUE]

    @property
    def digest(self) -> str:
        """Of what is due; "" where nothing is."""
        changes = [str(self.scope), [_sealed(c) for c in self.due]]
        return document.hashed(json.dumps(changes, sort_keys=True)) if self.due else ""

    def of(self, cause: Cause) -> list[Difference]:
        return [d for d in self.left if d.cause is cause]

    @property
    def ahead(self) -> set[Id]:
        """Resources that Git says otherwise than they were left."""
        pending = {step.change.id for step in (*self.steps, *self.elsewhere) if step.change.cause in AHEAD}
        return pending | {d.id for d in self.left if d.cause in AHEAD}

    @property
    def drifted(self) -> list[Difference]:
        """Everything that somebody outside caused; unmanaged resources are nobody's change."""
        return [d for d in self.left if d.cause is not Cause.UNMANAGED]


@dataclass(frozen=True, slots=True)
class Plan:
    scopes: Sequence[ScopePlan]
    read_at: datetime
    retired: Sequence[Scope] = ()  # recorded, and no longer declared: kept until somebody names them
    emergencies: Sequence[Emergency] = ()  # whose changes Git does not declare yet
    only_due: bool = False  # nothing was looked at but what time made due
    asked: Asked = NOBODY
    doubts: Sequence[str] = ()  # what is told first: who is said to have asked, where secrets would go

    @property
    def changes(self) -> int:
        return sum(len(s.due) for s in self.scopes)

    @property
    def exit_code(self) -> Exit:
        if any(s.error and not s.unreachable for s in self.scopes):
            return Exit.ERROR
        if any(s.steps or s.drifted or s.unknown for s in self.scopes):
            return Exit.DIFFERS
        return Exit.UNREACHABLE if any(s.unreachable for s in self.scopes) else Exit.DONE

    @property
    def digest(self) -> str:
        """
        Seals what will be carried out: equal digests mean equal changes, wherever in the files they stand, and in
        however many parts they were planned.
        """
        return document.digest_of(s.digest for s in self.scopes)


def _sealed(change: Change) -> document.Object:
    before, after = (r and replace(r, source="") for r in (change.before, change.after))
    return document.to_json(replace(change, before=before, after=after))


Sides = tuple[list[Resource], Mapping[Id, Record], list[Resource]]


def sides(declaration: Declaration, record: ScopeRecord | None, reading: Reading) -> Sides:
    """Declared, recorded and live: without kinds that were not read whole, and without what belongs to others."""
    ours = {r.id for r in declaration.resources}
    recorded = record.resources if record else {}
    return (
        [r for r in declaration.resources if r.id.kind not in reading.missing],
        {i: r for i, r in recorded.items() if i.kind not in reading.missing} if reading.missing else recorded,
        [
            r
            for r in reading.resources
            if r.id.kind not in reading.missing
            and (r.id in ours or not any(fnmatchcase(r.id.name, pattern) for pattern in declaration.ignore))
        ],
    )


def plan_scope(
    declaration: Declaration,
    record: ScopeRecord | None,
    reading: Reading,
    causes: frozenset[Cause] = PENDING,
    wanted: Wanted = lambda scope, id_: True,
    traits: Traits = TRAITS,
    gauged: Gauged = NO_GAUGES,
) -> ScopePlan:
    """
    The plan of one scope. `declaration` holds resources as the target accepted them; `traits` are the target's, and
    `gauged` is what `gauges` asks it for. Pure.
    """
    scope, allowed = declaration.scope, declaration.permissions
    declared, recorded, live = sides(declaration, record, reading)
    chosen: list[tuple[Change, Approval | None]] = []
    left, accepted = [], []
    for difference in diff(declared, recorded, live, traits.renames):
        approval = allowed.approval(scope, difference.id, record.used if record else ())
        acceptance = allowed.acceptance(scope, difference.id)
        asked = causes | declaration.also if causes and wanted(scope, difference.id) else frozenset()
        if declaration.seen is not None and not difference.was_shown(declaration.seen.get(difference.id)):
            asked &= PENDING
        mine = _causes(asked, approval, acceptance)
        change, rest = difference.change(mine), difference.without(mine)
        chosen += [(change, approval)] if change else []
        if rest and acceptance:
            accepted.append(Accepted(rest, acceptance.who, acceptance.why, acceptance.until))
        elif rest:
            left.append(rest)
    ours = [i for i, r in recorded.items() if r.states and None not in r.states]  # what was begun may never have been
    changes = [change for change, _ in chosen]
    purges = {g.id: guards.purge(declaration.backup, gauged.get(g, UNASKED)) for g in gauges(declaration, traits)}
    declaration = _vouched_for(declaration, [id_ for id_, why in purges.items() if not why])
    judged = [c for c in changes if not (_is_succeeded(c, declaration) or is_shifted(c, declaration))]
    undone = guards.undone(changes, record.emergencies.values()) if record and not declaration.urgent else {}
    reasons = undone | guards.judge(
        judged, reading.resources, ours, traits.holds_data, purges, declaration.now, undone.keys()
    )
    if declaration.gone:
        reasons = {change.id: "its scope left Git" for change in changes} | reasons
    named = {change.id for change, approval in chosen if approval}
    joint = guards.joint(judged, reading.resources, ours, named, declaration.now)
    chosen = [(change, None if change.id in joint else approval) for change, approval in chosen]
    learned = settled(declared, recorded, live, renames=traits.renames)
    if ours and not reading.resources and not declaration.gone:  # not believed: what is recorded is not forgotten
        learned = {i: r for i, r in learned.items() if r is not None}
    steps = [_step(change, approval, reasons.get(change.id, ""), declaration) for change, approval in chosen]
    opening = guards.opening(changes, reading.resources)
    steps = [replace(step, opens=True) if step.change.id in opening else step for step in steps]
    if declaration.gone:
        steps = _leaving(steps, left)
    return ScopePlan(
        scope,
        declaration.source,
        steps,
        left,
        [r.id for r in declared if UNKNOWN in r.fields.values() and wanted(scope, r.id)],
        {i: r for i, r in learned.items() if _says_new(recorded.get(i), r, i in declaration.kept)},
        reading.resources if any(step.standing is Standing.DUE for step in steps) else (),
        "" if reading.missing else reading.token,  # what could not be read whole is read again
        reading.exists,
        len(declared),
        outputs=reading.outputs,
        facts=reading.facts,
        accepted=accepted,
        gone=declaration.gone,
        kept=frozenset(declaration.kept),
        untried=traits.untried,
        words=declaration.words,
    )


def gauges(declaration: Declaration, traits: Traits) -> list[Gauge]:
    """What has to be measured before things go whose time is over, and which hold data."""
    return [Gauge(declaration.scope, id_, NEWEST) for id_ in declaration.over(traits.holds_data)]


def _vouched_for(declaration: Declaration, kept: Collection[Id]) -> Declaration:
    """What is told of things that go because a backup of them was restored."""
    if not (kept and declaration.backup):
        return declaration
    said = f"all of it is in the backup of {declaration.backup.vouches_for:%Y-%m-%d}, which was restored"
    return replace(declaration, timed={**declaration.timed, **{i: f"{declaration.timed[i]}; {said}" for i in kept}})


def _leaving(steps: Sequence[Step], left: Sequence[Difference]) -> list[Step]:
    """A scope goes whole or not at all: what others have put there is not orphaned."""
    if not left:
        return [*steps]
    names = ", ".join(d.id.name for d in left[:3]) + (", …" if len(left) > 3 else "")
    reason = f"the scope goes only when nothing else is in it: {names}"
    return [replace(step, standing=Standing.HELD, reason=reason, approval="") for step in steps]


def _causes(causes: frozenset[Cause], approval: Approval | None, acceptance: Acceptance | None) -> frozenset[Cause]:
    """What may be ended in one resource: an acceptance leaves what came from outside, an approval lets Git win."""
    if acceptance:
        return PENDING.intersection(causes)
    return causes | guards.CONTESTED.keys() if approval and causes else causes


def _step(change: Change, approval: Approval | None, reason: str, declaration: Declaration) -> Step:
    time = _timed(change, declaration)
    if declaration.mode != "enforce":
        return Step(change, Standing.HELD, _joined(time, f"mode is {declaration.mode}"))
    if declaration.unproved and _is_succeeded(change, declaration):
        return Step(change, Standing.HELD, _joined(time, declaration.unproved))
    if reason and approval is None:
        return Step(change, Standing.APPROVAL, _joined(time, reason))
    if declaration.closed and not declaration.urgent:
        return Step(change, Standing.HELD, _joined(time, declaration.closed))
    if reason and approval:
        return Step(change, Standing.DUE, _joined(time, f"approved: {approval.why}"), approval.key)
    return Step(change, Standing.DUE, time)


def _is_succeeded(change: Change, declaration: Declaration) -> bool:
    """Whether it goes because something else takes its place: that this was proved is worth more than an approval."""
    return change.after is None and declaration.proving is not None and change.id.kind in declaration.proving.kinds


def is_shifted(change: Change, declaration: Declaration) -> bool:
    """Whether clocks were set, and that is all: what Git says on the wall was agreed to before."""
    if change.before is None or change.after is None or change.cause is not Cause.PENDING:
        return False
    before, after = change.before.fields, change.after.fields
    return any({**after, **fields} == before for fields in declaration.shifted.get(change.id, ()))


def _timed(change: Change, declaration: Declaration) -> str:
    """What time did to a resource, or will do."""
    if change.cause is not Cause.PENDING:
        return ""
    ending = None if change.id in declaration.words else declaration.ends.get(change.id)
    said = ending.says if ending else ""
    if change.after is not None and change.id in declaration.shifted and not is_shifted(change, declaration):
        return said  # somebody made it, or changed what it says
    return declaration.timed.get(change.id) or said


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _says_new(record: Record | None, settles: Resource | None, kept: bool) -> bool:
    if record is None or len(record.states) != 1 or kept != (record.kept_until is not None):
        return True
    state = record.states[0]
    return state is None or settles is None or state.fields != settles.fields


# -- reading --------------------------------------------------------------------------------------------------


def plan_all(
    declarations: Iterable[Declaration],
    readers: Readers,
    recorded: Mapping[Scope, ScopeRecord],
    executor: Executor,
    causes: frozenset[Cause] = PENDING,
    wanted: Wanted = lambda scope, id_: True,
    progress: Progress = lambda done: None,
) -> Iterator[ScopePlan]:
    """Plans of all scopes, target by target as they answer. A target that fails costs only its own scopes."""
    by_target: dict[tuple[str, str], dict[Scope, Declaration]] = {}
    for declaration in declarations:
        group = by_target.setdefault((declaration.scope.target, declaration.scope.facet), {})
        if other := group.get(declaration.scope):
            raise InputError.at(declaration.source, f"{declaration.scope} is declared in {other.source} too")
        group[declaration.scope] = declaration
    jobs = [
        executor.submit(_plan_target, [*group.values()], readers, recorded, causes, wanted, progress)
        for group in by_target.values()
    ]
    for job in as_completed(jobs):
        yield from job.result()


def _plan_target(
    group: Sequence[Declaration],
    readers: Readers,
    recorded: Mapping[Scope, ScopeRecord],
    causes: frozenset[Cause],
    wanted: Wanted,
    progress: Progress,
) -> list[ScopePlan]:
    plans: dict[Scope, ScopePlan] = {}
    failure = TargetError("the driver gave no answer for this scope")
    try:
        with translated():
            reader = readers(group[0].scope)
            asked: dict[Scope, Declaration] = {}
            for declaration in group:
                taken, refused = accept(reader, declaration)
                if refused:
                    plans[taken.scope] = _unplanned(taken, TargetError("\n".join(map(str, refused))))
                else:
                    asked[taken.scope] = taken
            known = {scope: known_of(d, recorded.get(scope)) for scope, d in asked.items()}
            looked_up = [gauge for d in asked.values() for gauge in gauges(d, reader.traits)]
            gauged = measured(reader, looked_up) if looked_up else {}
            for answer in reader.read([*asked], known):
                declaration = asked[answer.scope]
                plans[answer.scope] = (
                    _unplanned(declaration, answer.error)
                    if isinstance(answer, Failed)
                    else plan_scope(
                        declaration, recorded.get(answer.scope), answer, causes, wanted, reader.traits, gauged
                    )
                )
                progress(1)
    except TargetError as error:
        failure = error
    return [plans.get(d.scope) or _unplanned(d, failure) for d in group]


def accept(reader: Reader, declaration: Declaration) -> tuple[Declaration, list[Problem]]:
    """The declaration as the target will hold it, and what it cannot hold, as problems of the files."""
    taken: dict[Id, Resource] = {}
    refused = []
    for resource in declaration.resources:
        try:
            accepted = reader.accept(resource)
            if accepted.id in taken:
                raise Unsupported(f"is the same there as {taken[accepted.id].source}")
            taken[accepted.id] = replace(accepted, was=resource.was) if resource.was else accepted
        except Unsupported as error:
            file, _, line = resource.source.rpartition(":")
            text = f"{declaration.scope.target} cannot hold this: {error}"
            place = (file, int(line)) if line.isdecimal() else (resource.source or declaration.source, 0)
            refused.append(Problem(*place, 1, resource.id.name, text))
    return replace(declaration, resources=[*taken.values()]), refused


def known_of(declaration: Declaration, record: ScopeRecord | None) -> list[Resource]:
    """What a reader may meet: all that is declared or recorded."""
    recorded = [s for r in (record.resources.values() if record else ()) for s in r.states if s is not None]
    return [*declaration.resources, *recorded]


def _unplanned(declaration: Declaration, error: TargetError) -> ScopePlan:
    scope, source = declaration.scope, declaration.source
    return ScopePlan(scope, source, error=str(error), unreachable=isinstance(error, Unreachable))
