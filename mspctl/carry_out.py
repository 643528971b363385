"""
One target's part of a round: what is due there is written, and what was said to have landed is held against what can
be read.

A target that fails costs its own scopes and no other; what it had finished stays finished.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mspctl.desired import Declaration
from mspctl.diff import settled, written
from mspctl.driver import Driver, Failed, Reading, Work, translated
from mspctl.errors import TargetError, Unreachable
from mspctl.plan import ScopePlan, accept, known_of, sides
from mspctl.record import ScopeRecord
from mspctl.resource import UNKNOWN, Change, Id, Resource, Scope, Value

Drivers = Callable[[Scope], Driver]
INTERRUPTED = "interrupted"


@dataclass(slots=True)
class ScopeOutcome:
    """How one scope ended."""

    scope: Scope
    landed: list[Change] = field(default_factory=list)
    failed: list[Change] = field(default_factory=list)  # were due, and are not true
    error: str = ""
    unreachable: bool = False
    held_by: Scope | None = None  # not started: this one is not finished
    outputs: dict[str, Value] = field(default_factory=dict)
    settles: Mapping[Id, Resource | None] = field(default_factory=dict)
    written: Mapping[Id, Mapping[str, Value]] = field(default_factory=dict)
    waits: Sequence[Id] = ()  # for something that nobody has made
    found: Sequence[Change] = ()  # done by a run before, which did not come to record it

    def fail(self, text: str, unreachable: bool = False) -> None:
        """The first error is the one that explains the others."""
        if not self.error:
            self.error, self.unreachable = text, unreachable


@dataclass(frozen=True, slots=True)
class Task:
    """One scope of a round: its plan, and what is needed to read it back."""

    plan: ScopePlan
    declaration: Declaration
    record: ScopeRecord | None


def on_target(drivers: Drivers, tasks: Sequence[Task], stop: threading.Event) -> list[ScopeOutcome]:
    """All scopes of a round on one target."""
    ends = {t.plan.scope: ScopeOutcome(t.plan.scope) for t in tasks}
    try:
        with translated():
            if stop.is_set():
                raise TargetError(f"not started: {INTERRUPTED}")
            driver = drivers(tasks[0].plan.scope)
            _write(driver, tasks, ends, stop)
            time.sleep(driver.traits.settle)
            _read_back(driver, tasks, ends)
    except TargetError as error:
        for end in ends.values():
            end.fail(str(error), isinstance(error, Unreachable))
    return [*ends.values()]


def _write(driver: Driver, tasks: Sequence[Task], ends: Mapping[Scope, ScopeOutcome], stop: threading.Event) -> None:
    said: dict[Scope, set[Id]] = {scope: set() for scope in ends}
    failure: TargetError | None = None
    try:
        with translated():
            for answer in driver.apply([_work(t.plan) for t in tasks]):
                if isinstance(answer, Failed):
                    ends[answer.scope].fail(str(answer.error), isinstance(answer.error, Unreachable))
                else:
                    said[answer.scope].add(answer.change.id)
                    ends[answer.scope].outputs.update(answer.outputs)
                if stop.is_set() and not any(_half_done(t.plan, said, ends) for t in tasks):
                    raise TargetError(f"not finished: {INTERRUPTED}")
    except TargetError as error:
        failure = error
    for task in tasks:
        end = ends[task.plan.scope]
        end.landed = [c for c in task.plan.due if c.id in said[end.scope]]
        if failure and len(end.landed) < len(task.plan.due):  # scopes that were finished stay finished
            end.fail(str(failure), isinstance(failure, Unreachable))


def _half_done(plan: ScopePlan, said: Mapping[Scope, set[Id]], ends: Mapping[Scope, ScopeOutcome]) -> bool:
    return 0 < len(said[plan.scope]) < len(plan.due) and not ends[plan.scope].error


def _work(plan: ScopePlan) -> Work:
    held = {r.id: r for r in plan.live}
    for change in plan.due:
        if change.before is not None:
            held.pop(change.before.id, None)
        if change.after is not None:
            held[change.id] = change.after
    return Work(plan.scope, plan.due, [*held.values()], gone=plan.gone and not held)


def _read_back(driver: Driver, tasks: Sequence[Task], ends: Mapping[Scope, ScopeOutcome]) -> None:
    """Hold what was said to have landed against what is there; the rest of the scope shows what the ledger may say."""
    left = {t.plan.scope: t for t in tasks}
    accepted = {scope: accept(driver, t.declaration)[0] for scope, t in left.items()}
    known = {scope: _expected(accepted[scope], t, ends[scope]) for scope, t in left.items()}
    for answer in driver.read([*accepted], known):
        task, end = left.pop(answer.scope), ends[answer.scope]
        if isinstance(answer, Failed):
            end.fail(f"cannot be read back: {answer.error}", isinstance(answer.error, Unreachable))
            continue
        _check(end, answer)
        end.outputs.update(answer.outputs)
        declared, recorded, live = sides(accepted[answer.scope], task.record, answer)
        end.settles = settled(declared, recorded, live, end.landed, driver.traits.renames)
        end.written = written((r for r in declared if r.id not in end.settles), live, end.landed)
    for scope in left:
        ends[scope].fail("the driver gave no answer when it was read back")


def _expected(declaration: Declaration, task: Task, end: ScopeOutcome) -> list[Resource]:
    deleted = {c.id for c in end.landed if c.after is None}
    return [r for r in known_of(declaration, task.record) if r.id not in deleted]


def _check(end: ScopeOutcome, reading: Reading) -> None:
    """A change is true when it can be read, not when somebody said so."""
    live = {r.id: r for r in reading.resources}
    wrong = [c for c in end.landed if c.id.kind not in reading.missing and not _true(c, live.get(c.id))]
    if wrong:
        end.landed = [c for c in end.landed if c not in wrong]
        names = ", ".join(c.id.name for c in wrong[:5]) + (", …" if len(wrong) > 5 else "")
        end.fail(f"the target said yes, but reading back shows otherwise: {names}")


def _true(change: Change, live: Resource | None) -> bool:
    if change.after is None or live is None:
        return change.after is live
    return all(live.fields.get(name) in (change.after.fields[name], UNKNOWN) for name in change.changed)
