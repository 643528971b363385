"""
Carry out a plan, and say exactly what landed, even when a target fails half-way.

    intent recorded → driver.apply → read back → outcome recorded

That is a round: all scopes that wait for nothing any more. A scope starts when the scopes it comes `after` are
finished; when one of them cannot be finished it is held. What a scope hands out (a key, an address) is known after
its reading, so what others declare with it is made again then, and planned in a further wave.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

from mspctl.carry_out import INTERRUPTED, Drivers, ScopeOutcome, Task, on_target
from mspctl.desired import Declaration, Outputs
from mspctl.diff import found
from mspctl.errors import LedgerError, LockError
from mspctl.exits import Exit
from mspctl.guards import CONTESTED
from mspctl.plan import PENDING, ScopePlan, Standing, Wanted, plan_all
from mspctl.record import Emergency, Finished, Run, ScopeRecord
from mspctl.resource import Cause, Change, Id, Resource, Scope, Value
from mspctl.soft_delete import switched_off

Declare = Callable[[Outputs], Iterable[Declaration]]
MAX_WAVES = 4  # sections hand outputs down a short chain; a longer one is a defect


class Ledger(Protocol):
    """What apply needs of the ledger."""

    def recorded(self, scopes: Iterable[Scope] | None = None) -> dict[Scope, ScopeRecord]: ...
    def begin(self, run: Run, intents: Mapping[Scope, Mapping[Id, Resource | None]]) -> None: ...
    def finish(self, run: Run, ends: Mapping[Scope, Finished]) -> None: ...


@dataclass(slots=True)
class Outcome:
    """What an apply did. `plans` are the last plans of all scopes, carried out or left."""

    plans: list[ScopePlan] = field(default_factory=list)
    scopes: dict[Scope, ScopeOutcome] = field(default_factory=dict)
    ledger_error: str = ""
    interrupted: bool = False
    emergencies: Sequence[Emergency] = ()  # whose changes Git does not declare yet
    unproved: str = ""  # what is wrong with live tests that had to pass

    @property
    def landed(self) -> int:
        return sum(len(s.landed) for s in self.scopes.values())

    @property
    def exit_code(self) -> Exit:
        unread = [p for p in self.plans if p.error]
        failed = [s for s in self.unfinished if s.error]
        if self.interrupted:
            return Exit.INTERRUPTED
        if self.ledger_error:
            return Exit.ERROR
        if (self.unfinished or unread) and (self.landed or len(failed) < len(self.unfinished)):
            return Exit.PARTLY
        if self.unfinished or unread:
            silent = all(p.unreachable for p in unread) and all(s.unreachable for s in failed)
            return Exit.UNREACHABLE if silent else Exit.ERROR
        held = any(step.standing is not Standing.DUE for p in self.plans for step in p.steps)
        return Exit.PARTLY if held or self.contested or self.unproved else Exit.DONE

    @property
    def contested(self) -> int:
        """Resources that Git and somebody outside want differently: pending, until an approval names the winner."""
        return sum(d.cause in CONTESTED for plan in self.plans for d in plan.left)

    @property
    def unfinished(self) -> list[ScopeOutcome]:
        return [s for s in self.scopes.values() if s.error or s.held_by or s.waits]


class Held(Protocol):
    """The locks that a run holds."""

    def check(self) -> None:
        """Raises LockError or LedgerError when they are not ours any more."""


class Unheld:
    """Where nobody else can be at work."""

    def check(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Engine:
    """Where an apply runs: drivers, ledger and workers."""

    drivers: Drivers
    ledger: Ledger
    executor: Executor
    run: Run
    held: Held = field(default_factory=lambda: Unheld())
    stop: threading.Event = field(default_factory=threading.Event)  # once set, no further scope is begun
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    committed: bool = True  # whether what is declared is committed: then it can be the end of an emergency


def apply(
    declare: Declare,
    engine: Engine,
    causes: frozenset[Cause] = PENDING,
    wanted: Wanted = lambda scope, id_: True,
    first: Sequence[ScopePlan] | None = None,
    outputs: Outputs | None = None,
    limit: Callable[[Iterable[ScopePlan]], Iterable[ScopePlan]] = lambda plans: plans,
) -> Outcome:
    """
    Carry out what is due, wave after wave until outputs change no declaration any more.

    `first` is a plan that was shown already; without one, it is made here. `limit` holds back what later waves may
    not do.
    """
    run = _Run(declare, engine, outputs or {})
    for wave in range(MAX_WAVES):
        declared = run.declare()
        if not declared:
            break
        recorded = engine.ledger.recorded()
        if wave or first is None:
            plans: Iterable[ScopePlan] = plan_all(declared, engine.drivers, recorded, engine.executor, causes, wanted)
        else:
            plans = first
        run.take(limit(plans) if wave else plans, declared, recorded)
        while ready := run.ready():
            run.round(ready)
    run.close()
    return run.outcome


class _Run:
    """One apply under way."""

    def __init__(self, declare: Declare, engine: Engine, outputs: Outputs) -> None:
        self.make = declare
        self.engine = engine
        self.outputs = dict(outputs)
        self.used: Outputs | None = None  # the outputs that `declared` was made with
        self.outcome = Outcome()
        self.declared: dict[Scope, Declaration] = {}
        self.recorded: dict[Scope, ScopeRecord] = {}
        self.plans: dict[Scope, ScopePlan] = {}
        self.left: dict[Scope, ScopePlan] = {}  # due, and not started
        self.stopped = False

    def declare(self) -> list[Declaration]:
        """What is declared otherwise than before, now that more outputs are known; what failed is left alone."""
        if self.used == self.outputs:
            return []
        self.used = dict(self.outputs)
        made = self.make(self.outputs)
        return [d for d in made if d != self.declared.get(d.scope) and not self._failed(d.scope)]

    def take(
        self, plans: Iterable[ScopePlan], declared: Iterable[Declaration], recorded: dict[Scope, ScopeRecord]
    ) -> None:
        """A wave's plans, in place of what was planned for the same scopes before."""
        self.declared.update((d.scope, d) for d in declared)
        self.recorded = recorded
        for plan in plans:
            self.plans[plan.scope] = plan
            self.left.pop(plan.scope, None)
            if plan.due:
                self.left[plan.scope] = plan
            self._hand_out(plan.scope, plan.outputs)

    def _hand_out(self, scope: Scope, outputs: Mapping[str, Value]) -> None:
        if outputs:
            self.outputs[scope] = {**self.outputs.get(scope, {}), **outputs}

    def ready(self) -> list[ScopePlan]:
        return [plan for plan in self.left.values() if all(map(self._finished, plan.scope.after))]

    def _finished(self, scope: Scope) -> bool:
        """Whether nothing is left to do there; a scope that nobody asked for is not waited for."""
        plan = self.plans.get(scope)
        if plan is None:
            return True
        held = any(step.standing is not Standing.DUE for step in plan.steps)
        return not (scope in self.left or held or plan.unknown or self._failed(scope))

    def _failed(self, scope: Scope) -> bool:
        plan, end = self.plans.get(scope), self.outcome.scopes.get(scope)
        return bool((plan and plan.error) or (end and (end.error or end.held_by)))

    def round(self, ready: Sequence[ScopePlan]) -> None:
        """One round; when our locks are gone, or the intent cannot be recorded, nothing more is written."""
        try:
            self.engine.held.check()
        except (LockError, LedgerError) as error:
            self._stop(str(error))
            return
        if self.engine.stop.is_set():
            self._stop(INTERRUPTED)
            return
        ready = [plan for plan in ready if self._is_open(plan)]
        if not ready:
            return
        intents = {p.scope: _intents(p, self.recorded.get(p.scope)) for p in ready}
        if not self._record(lambda: self.engine.ledger.begin(self.engine.run, intents)):
            self._stop(self.outcome.ledger_error)
            return
        tasks: dict[tuple[str, str], list[Task]] = {}
        for plan in ready:
            task = Task(plan, self.declared[plan.scope], self.recorded.get(plan.scope))
            tasks.setdefault((plan.scope.target, plan.scope.facet), []).append(task)
        jobs = [
            self.engine.executor.submit(on_target, self.engine.drivers, group, self.engine.stop)
            for group in tasks.values()
        ]
        ends: dict[Scope, Finished] = {}
        try:
            for job in as_completed(jobs):
                for end in job.result():
                    used, over = _used(self.plans[end.scope], end), self._over(self.plans[end.scope], end)
                    kept = switched_off(self.declared[end.scope], end.settles)
                    end.found = done = [c for c in self._found(self.plans[end.scope]) if c.id in end.settles]
                    said = (end.settles, tuple(end.landed), end.outputs, end.error, used, end.written, kept, done, over)
                    ends[end.scope] = Finished(*said)
                    self._hand_out(end.scope, end.outputs)
                    self._end(end)
        finally:  # whatever stops us, what is known is recorded
            self._record(lambda: self.engine.ledger.finish(self.engine.run, ends))

    def _is_open(self, plan: ScopePlan) -> bool:
        """Earlier rounds take their time: where a window has closed meanwhile, the changes wait for the next one."""
        declaration = self.declared[plan.scope]
        closed = "" if declaration.urgent else declaration.hours.why_closed(self.engine.now())
        if closed:
            held = [replace(s, standing=Standing.HELD, reason=closed) for s in plan.steps if s.standing is Standing.DUE]
            others = [s for s in plan.steps if s.standing is not Standing.DUE]
            self.plans[plan.scope] = replace(plan, steps=[*held, *others], live=())
            del self.left[plan.scope]
        return not closed

    def _over(self, plan: ScopePlan, end: ScopeOutcome | None = None) -> set[str]:
        """Emergencies of which Git says nothing otherwise any more once this run has finished a scope."""
        record, error = self.recorded.get(plan.scope), plan.error or (end.error if end else "")
        if record is None or error or self.engine.run.emergency or not self.engine.committed:
            return set()
        ahead = plan.ahead - ({change.id for change in end.landed} if end else set())
        return {run for run, emergency in record.emergencies.items() if not emergency.ids & ahead}

    def _stop(self, why: str) -> None:
        self.stopped = True
        for scope in [*self.left]:
            self._end(ScopeOutcome(scope, error=f"not started: {why}"))

    def _record(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except LedgerError as error:
            self.outcome.ledger_error = self.outcome.ledger_error or str(error)
            return False
        return True

    def _end(self, end: ScopeOutcome) -> None:
        """A scope's plan is over; what an earlier wave did there stays told."""
        plan = self.left.pop(end.scope, None)
        landed = {c.id for c in end.landed}
        end.failed = [c for c in (plan.due if plan else ()) if c.id not in landed]
        if end.failed and not end.held_by:
            end.fail("the driver did not say that these changes landed")
        before = self.outcome.scopes.get(end.scope)
        end.landed[:0] = before.landed if before else ()
        end.found = [*(before.found if before else ()), *end.found]
        self.outcome.scopes[end.scope] = end

    def close(self) -> None:
        """Record what is true though nobody applied it, and say of what was not done why."""
        self._learn()
        for declaration in self.declare():
            self._end(ScopeOutcome(declaration.scope, error="what it is made from changes with every apply"))
        while held := [(p.scope, s) for p in self.left.values() for s in p.scope.after if self._blocks(s)]:
            for scope, cause in held:
                if scope in self.left:
                    self._end(ScopeOutcome(scope, held_by=cause))
        circle = ", ".join(map(str, sorted(self.left)))
        for scope in [*self.left]:
            self._end(ScopeOutcome(scope, error=f"these scopes wait for each other: {circle}"))
        for plan in self.plans.values():
            if plan.unknown:
                self.outcome.scopes.setdefault(plan.scope, ScopeOutcome(plan.scope)).waits = plan.unknown
            if plan.error and plan.scope in self.outcome.scopes:  # an earlier wave could read it
                self.outcome.scopes[plan.scope].fail(plan.error, plan.unreachable)
        self.outcome.plans = [*self.plans.values()]
        self.outcome.interrupted = self.engine.stop.is_set()

    def _learn(self) -> None:
        """What is true of scopes in which there was nothing to do."""
        if self.stopped:
            return
        over = {p.scope: self._over(p) for p in self.plans.values() if not (p.due or p.error)}
        true = [
            p
            for p in self.plans.values()
            if p.scope in over and (p.settles or p.outputs or over[p.scope] or self._moved(p))
        ]
        ends: dict[Scope, Finished] = {}
        for p in true:
            kept, done = switched_off(self.declared[p.scope], p.settles), self._found(p)
            ends[p.scope] = Finished(p.settles, outputs=p.outputs, kept=kept, found=done, over=over[p.scope])
            if done:
                self._end(ScopeOutcome(p.scope, found=done))
        if ends:
            self._record(lambda: self.engine.ledger.finish(self.engine.run, ends))

    def _found(self, plan: ScopePlan) -> list[Change]:
        """What another run had done, and had not come to record, when the plan was made."""
        record = self.recorded.get(plan.scope)
        return found(self.declared[plan.scope].resources, record.resources, plan.settles) if record else []

    def _moved(self, plan: ScopePlan) -> bool:
        """Whether a recorded scope belongs to another customer, or engine, now."""
        record = self.recorded.get(plan.scope)
        if record is None:
            return False
        return (record.scope.customer, record.scope.engine) != (plan.scope.customer, plan.scope.engine)

    def _blocks(self, scope: Scope) -> bool:
        return scope not in self.left and not self._finished(scope)


def _used(plan: ScopePlan, end: ScopeOutcome) -> set[str]:
    """Approvals of which all that they let through has landed; running again finishes what has not."""
    landed = {change.id for change in end.landed}
    let = [step for step in plan.steps if step.approval and step.standing is Standing.DUE]
    return {s.approval for s in let} - {s.approval for s in let if s.change.id not in landed}


def _intents(plan: ScopePlan, record: ScopeRecord | None) -> dict[Id, Resource | None]:
    """What each resource will be: as recorded, but for what changes. Drift that stays is not our intent."""
    intents: dict[Id, Resource | None] = {}
    for change in plan.due:
        was = change.before.id if change.before else change.id
        states = record.resources[was].states if record and was in record.resources else ()
        ours = next((state.fields for state in states if state), {})
        new = {name: change.after.fields[name] for name in change.changed} if change.after else {}
        intents[was] = None
        if change.after:
            intents[change.id] = Resource(change.id, {**ours, **new})
    return intents
