"""
A plan: for every scope what to change and why, what is left alone, and what could not be read.

Holds readers only, so it cannot write. A plan is data: reports print it, apply carries it out.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase

from mspctl import document
from mspctl.desired import Declaration
from mspctl.diff import Difference, diff, settled
from mspctl.driver import Failed, Reader, Reading
from mspctl.errors import Problem, TargetError, Unreachable, Unsupported
from mspctl.exits import Exit
from mspctl.record import Record, ScopeRecord
from mspctl.resource import Cause, Change, Id, Resource, Scope, Unknown

Readers = Callable[[Scope], Reader]  # the reader that serves a scope; raises TargetError
Wanted = Callable[[Scope, Id], bool]  # whether a resource is part of what was asked for
Progress = Callable[[int], None]  # scopes done since the last call

PENDING = frozenset({Cause.PENDING})
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

    @property
    def due(self) -> list[Change]:
        return [step.change for step in self.steps if step.standing is Standing.DUE]

    def of(self, cause: Cause) -> list[Difference]:
        return [d for d in self.left if d.cause is cause]

    @property
    def drifted(self) -> list[Difference]:
        """Everything that somebody outside caused; unmanaged resources are nobody's change."""
        return [d for d in self.left if d.cause is not Cause.UNMANAGED]


@dataclass(frozen=True, slots=True)
class Plan:
    scopes: Sequence[ScopePlan]
    read_at: datetime
    retired: Sequence[Scope] = ()  # recorded, and no longer declared: kept until somebody names them

    @property
    def changes(self) -> int:
        return sum(len(s.due) for s in self.scopes)

    @property
    def exit_code(self) -> Exit:
        if any(s.error and not s.unreachable for s in self.scopes):
            return Exit.ERROR
        if any(s.steps or s.drifted for s in self.scopes):
            return Exit.DIFFERS
        return Exit.UNREACHABLE if any(s.unreachable for s in self.scopes) else Exit.DONE

    @property
    def digest(self) -> str:
        """Seals what will be carried out: equal digests mean equal changes."""
        changes = [[str(s.scope), [document.to_json(c) for c in s.due]] for s in self.scopes if s.due]
        return hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:16]


def plan_scope(
    declaration: Declaration,
    record: ScopeRecord | None,
    reading: Reading,
    causes: Collection[Cause] = PENDING,
    wanted: Wanted = lambda scope, id_: True,
) -> ScopePlan:
    """The plan of one scope. `declaration` holds resources as the target accepted them. Pure."""
    declared = [r for r in declaration.resources if r.id.kind not in reading.missing]
    recorded = {i: r for i, r in (record.resources if record else {}).items() if i.kind not in reading.missing}
    live = [r for r in reading.resources if not _ignored(r, declaration)]
    steps, left = _sorted_out(diff(declared, recorded, live), declaration, causes, wanted)
    settles = settled(declared, recorded, live)
    due = any(step.standing is Standing.DUE for step in steps)
    return ScopePlan(
        declaration.scope,
        declaration.source,
        steps,
        left,
        tuple(r.id for r in declared if any(isinstance(v, Unknown) for v in r.fields.values())),
        {i: r for i, r in settles.items() if _recorded_otherwise(recorded.get(i), r)},
        reading.resources if due else (),
        reading.token,
        reading.exists,
        len(declared),
    )


def _ignored(resource: Resource, declaration: Declaration) -> bool:
    name = resource.id.name
    return any(fnmatchcase(name, pattern) for pattern in declaration.ignore) and not any(
        r.id == resource.id for r in declaration.resources
    )


def _sorted_out(
    differences: Iterable[Difference], declaration: Declaration, causes: Collection[Cause], wanted: Wanted
) -> tuple[list[Step], list[Difference]]:
    steps, left = [], []
    for difference in differences:
        if not wanted(declaration.scope, difference.id):
            left.append(difference)
            continue
        change = difference.change(causes)
        if change is not None:
            steps.append(_step(change, declaration))
        rest = difference.without(causes)
        if rest is not None:
            left.append(rest)
    return steps, left


def _step(change: Change, declaration: Declaration) -> Step:
    if declaration.mode != "enforce":
        return Step(change, Standing.HELD, f"mode is {declaration.mode}")
    return Step(change)


def _recorded_otherwise(record: Record | None, settles: Resource | None) -> bool:
    if record is None or len(record.states) != 1:
        return True
    state = record.states[0]
    return state is None or settles is None or state.fields != settles.fields


# -- reading --------------------------------------------------------------------------------------------------


def plan_all(
    declarations: Iterable[Declaration],
    readers: Readers,
    recorded: Mapping[Scope, ScopeRecord],
    executor: Executor,
    causes: Collection[Cause] = PENDING,
    wanted: Wanted = lambda scope, id_: True,
    progress: Progress = lambda done: None,
) -> Iterator[ScopePlan]:
    """Plans of all scopes, target by target as they answer. A target that fails costs only its own scopes."""
    by_target: dict[tuple[str, str], list[Declaration]] = {}
    for declaration in declarations:
        by_target.setdefault((declaration.scope.target, declaration.scope.facet), []).append(declaration)
    jobs = [
        executor.submit(_plan_target, group, readers, recorded, causes, wanted, progress)
        for group in by_target.values()
    ]
    for job in as_completed(jobs):
        yield from job.result()


def _plan_target(
    group: Sequence[Declaration],
    readers: Readers,
    recorded: Mapping[Scope, ScopeRecord],
    causes: Collection[Cause],
    wanted: Wanted,
    progress: Progress,
) -> list[ScopePlan]:
    plans: list[ScopePlan] = []
    accepted: dict[Scope, Declaration] = {}
    try:
        reader = readers(group[0].scope)
        for declaration in group:
            taken, error = accept(reader, declaration)
            if error:
                plans.append(ScopePlan(declaration.scope, declaration.source, error=error))
            else:
                accepted[declaration.scope] = taken
        known = {scope: _known(d, recorded.get(scope)) for scope, d in accepted.items()}
        for answer in guarded(reader.read([*accepted], known)):
            declaration = accepted.pop(answer.scope)
            if isinstance(answer, Failed):
                plans.append(_failed(declaration, answer.error))
            else:
                plans.append(plan_scope(declaration, recorded.get(answer.scope), answer, causes, wanted))
            progress(1)
        silent = TargetError("the driver gave no answer for this scope")
        plans.extend(_failed(declaration, silent) for declaration in accepted.values())
    except TargetError as error:
        done = {p.scope for p in plans}
        plans.extend(_failed(d, error) for d in group if d.scope not in done)
    return plans


def accept(reader: Reader, declaration: Declaration) -> tuple[Declaration, str]:
    """The declaration as the target will hold it, and why it cannot ("" when it can)."""
    taken, refused = [], []
    for resource in declaration.resources:
        try:
            taken.append(reader.accept(resource))
        except Unsupported as error:
            refused.append(f"{resource.source}: {resource.id.name}: {error}")
    scope = declaration.scope
    return Declaration(scope, taken, declaration.source, declaration.mode, declaration.ignore), "\n".join(refused)


def refusals(reader: Reader, declaration: Declaration) -> list[Problem]:
    """What the target cannot hold, as problems of the files."""
    found = []
    for resource in declaration.resources:
        try:
            reader.accept(resource)
        except Unsupported as error:
            file, _, line = resource.source.rpartition(":")
            text = f"{declaration.scope.target} cannot hold this: {error}"
            found.append(Problem(file, int(line), 1, resource.id.name, text))
    return found


def guarded(answers: Iterator[Reading | Failed]) -> Iterator[Reading | Failed]:
    """A defect in one driver must cost only its own target, so it is told as that target's error."""
    try:
        yield from answers
    except TargetError:
        raise
    except Exception as error:
        raise TargetError(f"the driver failed: {type(error).__name__}: {error}") from error


def _failed(declaration: Declaration, error: TargetError) -> ScopePlan:
    scope, source = declaration.scope, declaration.source
    return ScopePlan(scope, source, error=str(error), unreachable=isinstance(error, Unreachable))


def _known(declaration: Declaration, record: ScopeRecord | None) -> list[Resource]:
    recorded = [s for r in (record.resources.values() if record else ()) for s in r.states if s is not None]
    return [*declaration.resources, *recorded]
