"""
Carry out a plan, and say exactly what landed, even when a target fails half-way.

    intent recorded → driver.apply → read back → outcome recorded

A scope starts when the scopes it comes `after` are finished; when one of them failed it is held. What a scope
hands out (a key, an address) is known after its apply, so the declarations that waited for it are made again and
finished in a second wave.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from mspctl.desired import Declaration, Outputs
from mspctl.diff import settled
from mspctl.driver import Driver, Failed, Landed, Reading, Work
from mspctl.errors import LedgerError, TargetError
from mspctl.exits import Exit
from mspctl.plan import PENDING, ScopePlan, Standing, Wanted, accept, guarded, plan_all
from mspctl.record import Finished, Record, Run, ScopeRecord
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Scope, Value

Drivers = Callable[[Scope], Driver]
Declare = Callable[[Outputs], Iterable[Declaration]]
MAX_WAVES = 4  # sections hand outputs down a short chain; a longer one is a defect


class Ledger(Protocol):
    """What apply needs of the ledger."""

    def recorded(self, scopes: Iterable[Scope] | None = None) -> dict[Scope, ScopeRecord]: ...
    def begin(self, run: Run, intents: Mapping[Scope, Mapping[Id, Resource | None]]) -> None: ...
    def finish(self, run: Run, ends: Mapping[Scope, Finished]) -> None: ...


@dataclass(slots=True)
class ScopeOutcome:
    """How one scope ended."""

    scope: Scope
    landed: list[Change] = field(default_factory=list)
    failed: list[Change] = field(default_factory=list)  # were due, and are not true
    error: str = ""
    held_by: Scope | None = None  # not started: this one failed before it
    outputs: dict[str, Value] = field(default_factory=dict)
    settles: Mapping[Id, Resource | None] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What an apply did. `plans` are all the plans it carried out or left, in the order of their waves."""

    plans: list[ScopePlan] = field(default_factory=list)
    scopes: dict[Scope, ScopeOutcome] = field(default_factory=dict)
    ledger_error: str = ""

    @property
    def landed(self) -> int:
        return sum(len(s.landed) for s in self.scopes.values())

    @property
    def exit_code(self) -> Exit:
        unread = [p for p in self.plans if p.error and p.scope not in self.scopes]
        if self.ledger_error:
            return Exit.ERROR
        if self.unfinished or (unread and self.landed):
            return Exit.PARTLY if self.landed or any(s.held_by for s in self.unfinished) else Exit.ERROR
        if unread:
            return Exit.UNREACHABLE if all(p.unreachable for p in unread) else Exit.ERROR
        return (
            Exit.PARTLY if any(step.standing is not Standing.DUE for p in self.plans for step in p.steps) else Exit.DONE
        )

    @property
    def unfinished(self) -> list[ScopeOutcome]:
        return [s for s in self.scopes.values() if s.error or s.held_by]


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an apply runs: drivers, ledger and workers."""

    drivers: Drivers
    ledger: Ledger
    executor: Executor
    run: Run


def apply(
    declare: Declare,
    engine: Engine,
    causes: Collection[Cause] = PENDING,
    wanted: Wanted = lambda scope, id_: True,
    first: Sequence[ScopePlan] | None = None,
    outputs: Outputs | None = None,
) -> Outcome:
    """
    Carry out what is due, wave after wave until no declaration waits for an output.

    `first` is a plan that was shown already; without one, it is made here.
    """
    outcome = Outcome()
    known = {scope: dict(values) for scope, values in (outputs or {}).items()}
    todo = list(declare(known))
    for _ in range(MAX_WAVES):
        recorded = engine.ledger.recorded()
        plans = (
            first
            if first is not None
            else list(plan_all(todo, engine.drivers, recorded, engine.executor, causes, wanted))
        )
        first = None
        accepted = {d.scope: d for d in todo}
        outcome.plans.extend(plans)
        _wave(plans, accepted, recorded, engine, outcome)
        waiting = {p.scope for p in plans if p.unknown and not _unfinished(outcome, p.scope)}
        fresh = {s: {**known.get(s, {}), **o.outputs} for s, o in outcome.scopes.items() if o.outputs}
        if not waiting or all(known.get(s) == values for s, values in fresh.items()):
            break
        known.update(fresh)
        todo = [d for d in declare(known) if d.scope in waiting]
    return outcome


def _unfinished(outcome: Outcome, scope: Scope) -> bool:
    end = outcome.scopes.get(scope)
    return end is not None and bool(end.error or end.held_by)


def _wave(
    plans: Sequence[ScopePlan],
    declared: Mapping[Scope, Declaration],
    recorded: Mapping[Scope, ScopeRecord],
    engine: Engine,
    outcome: Outcome,
) -> None:
    """All due scopes of one set of plans, in rounds: a round holds what waits for nothing any more."""
    broken = {p.scope for p in plans if p.error}
    broken |= {s for s in outcome.scopes if _unfinished(outcome, s)}
    left = {p.scope: p for p in plans if p.due}
    while left:
        _hold(left, broken, outcome)
        ready = [p for p in left.values() if not any(s in left for s in p.scope.after)]
        if not ready and left:
            _circle(left, outcome)
            break
        for plan in ready:
            del left[plan.scope]
        if not _round(ready, declared, recorded, engine, outcome):
            return
        broken |= {p.scope for p in ready if _unfinished(outcome, p.scope)}
    _learn(plans, engine, outcome)


def _hold(left: dict[Scope, ScopePlan], broken: set[Scope], outcome: Outcome) -> None:
    """Take out what comes after a failure, and what comes after that."""
    while held := [(s, b) for s in left for b in s.after if b in broken]:
        for scope, cause in held:
            plan = left.pop(scope, None)
            if plan is not None:
                outcome.scopes[scope] = ScopeOutcome(scope, failed=plan.due, held_by=cause)
                broken.add(scope)


def _circle(left: Mapping[Scope, ScopePlan], outcome: Outcome) -> None:
    names = ", ".join(map(str, sorted(left)))
    for scope, plan in left.items():
        outcome.scopes[scope] = ScopeOutcome(scope, failed=plan.due, error=f"these scopes wait for each other: {names}")


def _learn(plans: Sequence[ScopePlan], engine: Engine, outcome: Outcome) -> None:
    """Record what is as declared though nobody applied it: the estate that was imported, the change made by hand."""
    ends = {p.scope: Finished(p.settles) for p in plans if p.settles and p.scope not in outcome.scopes and not p.error}
    _record(outcome, lambda: engine.ledger.finish(engine.run, ends))


def _record(outcome: Outcome, write: Callable[[], None]) -> bool:
    try:
        write()
    except LedgerError as error:
        outcome.ledger_error = outcome.ledger_error or str(error)
        return False
    return True


def _round(
    ready: Sequence[ScopePlan],
    declared: Mapping[Scope, Declaration],
    recorded: Mapping[Scope, ScopeRecord],
    engine: Engine,
    outcome: Outcome,
) -> bool:
    """One round; False when the intent could not be recorded, and so nothing was written."""
    intents = {p.scope: _intent(p, declared[p.scope]) for p in ready}
    if not _record(outcome, lambda: engine.ledger.begin(engine.run, intents)):
        for plan in ready:
            error = f"not started: {outcome.ledger_error}"
            outcome.scopes[plan.scope] = ScopeOutcome(plan.scope, failed=plan.due, error=error)
        return False
    by_target: dict[tuple[str, str], list[ScopePlan]] = {}
    for plan in ready:
        by_target.setdefault((plan.scope.target, plan.scope.facet), []).append(plan)
    jobs = [engine.executor.submit(_target, group, declared, recorded, engine) for group in by_target.values()]
    ends: dict[Scope, Finished] = {}
    for job in jobs:
        for end in job.result():
            outcome.scopes[end.scope] = end
            ends[end.scope] = Finished(end.settles, end.landed, end.outputs, end.error)
    _record(outcome, lambda: engine.ledger.finish(engine.run, ends))
    return True


def _intent(plan: ScopePlan, declaration: Declaration) -> dict[Id, Resource | None]:
    """What each resource will be, in the fields that Git declares."""
    fields = {r.id: r.fields.keys() for r in declaration.resources}
    return {c.id: _only(c.after, fields.get(c.id, ())) for c in plan.due}


def _only(resource: Resource | None, names: Collection[str]) -> Resource | None:
    if resource is None:
        return None
    return Resource(resource.id, {n: v for n, v in resource.fields.items() if n in names})


# -- one target -----------------------------------------------------------------------------------------------


def _target(
    group: Sequence[ScopePlan],
    declared: Mapping[Scope, Declaration],
    recorded: Mapping[Scope, ScopeRecord],
    engine: Engine,
) -> list[ScopeOutcome]:
    ends = {p.scope: ScopeOutcome(p.scope) for p in group}
    try:
        driver = engine.drivers(group[0].scope)
        _write(driver, group, ends)
        _read_back(driver, group, declared, recorded, ends)
    except TargetError as error:
        for end in ends.values():
            end.error = end.error or str(error)
    for plan in group:
        end = ends[plan.scope]
        true = {c.id for c in end.landed}
        end.failed = [c for c in plan.due if c.id not in true]
        if end.failed and not end.error:
            end.error = "the driver did not say that these changes landed"
    return [*ends.values()]


def _write(driver: Driver, group: Sequence[ScopePlan], ends: Mapping[Scope, ScopeOutcome]) -> None:
    work = [Work(p.scope, p.due, _after(p)) for p in group]
    try:
        for answer in _answers(driver.apply(work)):
            end = ends[answer.scope]
            if isinstance(answer, Failed):
                end.error = str(answer.error)
            else:
                end.landed.append(answer.change)
                end.outputs.update(answer.outputs)
    except TargetError as error:
        # The target is gone; scopes that were finished stay finished.
        for plan in group:
            end = ends[plan.scope]
            if len(end.landed) < len(plan.due):
                end.error = end.error or str(error)


def _answers(answers: Iterator[Landed | Failed]) -> Iterator[Landed | Failed]:
    try:
        yield from answers
    except TargetError:
        raise
    except Exception as error:
        raise TargetError(f"the driver failed: {type(error).__name__}: {error}") from error


def _after(plan: ScopePlan) -> list[Resource]:
    """Everything the scope holds when its changes are done."""
    held = {r.id: r for r in plan.live}
    for change in plan.due:
        held.pop(change.id, None)
        if change.after is not None:
            held[change.id] = change.after
    return [*held.values()]


def _read_back(
    driver: Driver,
    group: Sequence[ScopePlan],
    declared: Mapping[Scope, Declaration],
    recorded: Mapping[Scope, ScopeRecord],
    ends: Mapping[Scope, ScopeOutcome],
) -> None:
    accepted = {p.scope: accept(driver, declared[p.scope])[0] for p in group}
    known = {scope: [*d.resources] for scope, d in accepted.items()}
    for answer in guarded(driver.read([*accepted], known)):
        end = ends[answer.scope]
        if isinstance(answer, Failed):
            end.error = end.error or f"read back failed: {answer.error}"
            continue
        _check(end, answer)
        records: Mapping[Id, Record] = recorded[answer.scope].resources if answer.scope in recorded else {}
        landed = {c.id for c in end.landed}
        end.outputs.update(answer.outputs)
        end.settles = settled(accepted[answer.scope].resources, records, answer.resources, landed)


def _check(end: ScopeOutcome, reading: Reading) -> None:
    """A change is true when it can be read, not when somebody said so."""
    live = {r.id: r for r in reading.resources}
    wrong = [c for c in end.landed if c.id.kind not in reading.missing and not _true(c, live.get(c.id))]
    if wrong:
        end.landed = [c for c in end.landed if c not in wrong]
        names = ", ".join(c.id.name for c in wrong[:5]) + (", …" if len(wrong) > 5 else "")
        end.error = end.error or f"the target said yes, but reading back shows otherwise: {names}"


def _true(change: Change, live: Resource | None) -> bool:
    if change.after is None or live is None:
        return change.after is live
    after = change.after.fields
    return all(live.fields.get(name) in (after[name], UNKNOWN) for name in change.changed)
