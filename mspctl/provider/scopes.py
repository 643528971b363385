"""
One scope planned, carried out and read, with Pulumi's state in place of our ledger: what its inputs were last is what
we recorded, its outputs are what was live when somebody looked last.

Diff, guards, windows, locks, rounds and reading back are the engine's own. What Pulumi calls an update ends drift too,
but only what its state shows: drift that nobody has refreshed yet was in no preview, so it stays, is told, and stands
in the state from then on, where the next preview finds it. What needs an approval needs it here as well. What we
deleted is remembered in the state for as long as the ledger would, so that it is told when it comes back.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from mspctl import guards
from mspctl.apply import Engine, Outcome, apply
from mspctl.desired import Declaration
from mspctl.diff import Difference, diff
from mspctl.driver import Failed as NotRead
from mspctl.driver import Reading, translated
from mspctl.errors import TargetError, Unreachable
from mspctl.ledger_page import TOMBSTONES
from mspctl.locks import lock_name
from mspctl.model.permissions import Permissions
from mspctl.plan import REVERT, ScopePlan, Standing, plan_all
from mspctl.provider.repository import Repository, now
from mspctl.provider.shapes import path_of
from mspctl.record import Finished, Record, Run, ScopeRecord
from mspctl.resource import UNKNOWN, Cause, Id, Resource, Scope, Value

CONTESTED = frozenset(guards.CONTESTED)


class Refused(Exception):
    """Nothing was changed; why, in lines."""


@dataclass(slots=True)
class State:
    """What Pulumi knows of a scope."""

    resources: dict[Id, Resource]
    outputs: dict[str, Value] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    seen: Mapping[Id, Resource] = field(default_factory=dict)  # live when somebody looked last
    deleted: dict[Id, date] = field(default_factory=dict)  # by us, and when
    left: dict[Id, Difference] = field(default_factory=dict)  # came from outside, and nobody had seen it

    @property
    def shown(self) -> list[Resource]:
        """What the state shows as live."""
        found: dict[Id, Resource | None] = {**self.resources}
        found |= {id_: _with_left(self.resources.get(id_), each) for id_, each in self.left.items()}
        return [resource for resource in found.values() if resource]


class Partly(Exception):
    """Something is there now, and not all that was wished."""

    def __init__(self, state: State, reasons: Sequence[str]) -> None:
        self.state, self.reasons = state, reasons
        super().__init__("; ".join(reasons))


class StateLedger:
    """What `apply` asks of a ledger, kept in Pulumi's state."""

    def __init__(self, scope: Scope, recorded: State) -> None:
        self.scope = scope
        self.state = replace(recorded, resources={**recorded.resources}, outputs={**recorded.outputs})
        self.state.deleted = remembered(recorded.deleted)

    def recorded(self, scopes: Iterable[Scope] | None = None) -> dict[Scope, ScopeRecord]:
        resources = records(self.state)
        return {self.scope: ScopeRecord(self.scope, resources, self.state.outputs, self.state.used)}

    def begin(self, run: Run, intents: Mapping[Scope, Mapping[Id, Resource | None]]) -> None:
        """Pulumi remembers itself that an operation was begun."""

    def finish(self, run: Run, ends: Mapping[Scope, Finished]) -> None:
        end = ends[self.scope]
        landed: dict[Id, Resource | None] = {c.before.id: None for c in end.changes if c.before}
        landed |= {c.id: c.after and Resource(c.id, {n: c.after.fields[n] for n in c.changed}) for c in end.changes}
        for id_, resource in {**landed, **end.settled}.items():
            if resource is None:
                self.state.resources.pop(id_, None)
                self.state.deleted[id_] = now().date()
            elif id_ in end.settled:
                self.state.resources[id_] = resource
            else:  # it landed, and could not be read back
                before = self.state.resources.get(id_)
                fields = {**(before.fields if before else {}), **resource.fields}
                self.state.resources[id_] = Resource(id_, fields)
        for id_, written in end.written.items():
            if id_ in self.state.resources:
                self.state.resources[id_] = Resource(id_, {**self.state.resources[id_].fields, **written})
        for id_ in self.state.resources:
            self.state.deleted.pop(id_, None)
        self.state.outputs.update(end.outputs)
        self.state.used |= frozenset(end.used)


def remembered(deleted: Mapping[Id, date]) -> dict[Id, date]:
    """Of what we deleted, what the ledger would know of still."""
    return {id_: day for id_, day in deleted.items() if now().date() - day <= TOMBSTONES}


def records(state: State) -> dict[Id, Record]:
    gone = {id_: Record((None,), day) for id_, day in state.deleted.items()}
    return gone | {id_: Record((resource,)) for id_, resource in state.resources.items()}


def differences(declared: Sequence[Resource], recorded: State, live: State) -> list[Difference]:
    """The three-way diff of one scope, as far as Pulumi knows it."""
    return [d for d in diff(declared, records(recorded), live.resources.values()) if d.declared or d.record.states]


def paths(difference: Difference) -> Iterator[tuple[tuple[str, ...], str]]:
    """Properties that differ, each as add, delete or update."""
    path = path_of(difference.id)
    if difference.declared is None or difference.live is None:
        yield path, "delete" if difference.declared is None else "add"
        return
    for name in difference.fields:
        yield (*path, name), "update" if name in difference.live.fields else "add"


class Scopes:
    """Of one repository. Calls come from many threads at once."""

    def __init__(self, repository: Repository, stop: threading.Event) -> None:
        self.repository = repository
        self.stop = stop
        self._mine: dict[str, threading.Lock] = {}  # by lock: our own calls wait for each other here, not at the remote
        self._lock = threading.Lock()

    def planned(self, scope: Scope, declared: Sequence[Resource], recorded: State) -> ScopePlan:
        """What an apply would do now. Holds a reader only."""
        declaration = self._declaration(scope, declared, recorded)
        ledger = StateLedger(scope, recorded).recorded()
        with ThreadPoolExecutor(1) as executor:
            (plan,) = plan_all([declaration], self.repository.targets.reader, ledger, executor, REVERT)
        return plan

    def make_true(self, scope: Scope, declared: Sequence[Resource], recorded: State, run: Run) -> State:
        """Raises Refused when nothing was changed, and Partly when something was, and not all."""
        self._is_ours(scope)
        return self._carry_out(self._declaration(scope, declared, recorded), recorded, run)

    def take_away(self, scope: Scope, recorded: State, run: Run) -> None:
        """All that is ours in a scope, and the scope itself; an approval names it, or nothing is there any more."""
        self._is_ours(scope)
        try:
            found = self.live(scope, [*recorded.resources.values()])
        except TargetError as error:
            raise Refused(str(error)) from error
        if found is None or not (found.resources or recorded.resources):
            return
        approval = self.repository.permissions(scope, now()).retirement(scope, recorded.used)
        if approval is None:
            raise Refused(self._unnamed(scope))
        declaration = Declaration(scope, (), permissions=Permissions((approval,)), gone=True)
        if scope.customer in self.repository.estate.everyone:
            governed = self.repository.governed(declaration, now())
            declaration = replace(governed, permissions=declaration.permissions)
        self._carry_out(declaration, recorded, run)

    def live(
        self, scope: Scope, known: Sequence[Resource], deleted: Collection[Id] = (), *, everything: bool = False
    ) -> State | None:
        """What is there of `known` and what came back, or all; None when the scope is not there. Raises TargetError."""
        reading = self._read(scope, known)
        if not reading.exists:
            return None
        wanted = {resource.id: resource for resource in known}
        found = {}
        for resource in reading.resources:
            if everything or (resource.id in deleted and resource.id not in wanted):
                found[resource.id] = Resource(resource.id, _readable(resource.fields))
            elif resource.id in wanted:
                found[resource.id] = _as_known(resource, wanted[resource.id])
        for id_, resource in wanted.items():
            if id_.kind in reading.missing:
                found[id_] = resource
        servers = self.repository.name_servers(scope, found.values())
        return State(found, {**reading.outputs, **servers})

    def _read(self, scope: Scope, known: Sequence[Resource]) -> Reading:
        with translated():
            for answer in self.repository.targets.reader(scope).read([scope], {scope: known}):
                if isinstance(answer, NotRead):
                    raise answer.error
                return answer
        raise Unreachable("the driver gave no answer for this scope")

    def _declaration(self, scope: Scope, declared: Sequence[Resource], recorded: State) -> Declaration:
        declaration = Declaration(scope, declared, seen=recorded.seen)
        return self.repository.proved(self.repository.governed(declaration, now()), recorded.resources, now())

    def _carry_out(self, declaration: Declaration, recorded: State, run: Run) -> State:
        scope = declaration.scope
        ledger = StateLedger(scope, recorded)
        reader = self.repository.targets.reader(scope)
        name = lock_name(scope, reader.traits.lock)
        with self._lock:
            mine = self._mine.setdefault(name, threading.Lock())
        with mine:
            if self.stop.is_set():
                raise Refused("not started: interrupted")
            with (
                self.repository.locks.hold({name}, run, wait=self.repository.wait) as held,
                ThreadPoolExecutor(1) as executor,
            ):
                engine = Engine(self.repository.targets.driver, ledger, executor, run, held, self.stop)
                outcome = apply(lambda outputs: [declaration], engine, REVERT, outputs={scope: ledger.state.outputs})
        ledger.state.left = {d.id: d for plan in outcome.plans for d in unseen(plan)}
        ledger.state.outputs |= self.repository.name_servers(scope, ledger.state.resources.values())
        reasons = [*_reasons(outcome, scope)]
        if reasons and outcome.landed:
            raise Partly(ledger.state, reasons)
        if reasons:
            raise Refused("\n".join(reasons))
        return ledger.state

    def _is_ours(self, scope: Scope) -> None:
        """Raises Refused; the engine's check comes before what it does, and may be an old one at a destroy."""
        for why in self.repository.owners(scope):
            raise Refused(f"customer {scope.customer}: {why}; nothing was changed (pulumi state delete forgets it)")

    def _unnamed(self, scope: Scope) -> str:
        known = scope.customer in self.repository.estate.everyone
        file = f"customers/{scope.customer}/approvals.yaml" if known else "inventory/approvals.yaml"
        return (
            f"{scope} is kept until an approval names it"
            f" (in {file}: resource: {scope.facet}/{scope.name}, target: {scope.target}, why: …, until: …)"
        )


def _with_left(ours: Resource | None, left: Difference) -> Resource | None:
    """As it is live: what landed meanwhile, and what came from outside."""
    if left.live is None or ours is None or left.declared is None:
        return left.live and Resource(left.live.id, _readable(left.live.fields))
    there = {name: left.live.fields[name] for name in left.fields if name in left.live.fields}
    kept = {name: value for name, value in ours.fields.items() if name not in left.fields}
    return Resource(ours.id, kept | _readable(there))


def _readable(fields: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if value is not UNKNOWN}


def _as_known(live: Resource, known: Resource) -> Resource:
    """The fields that we speak of; what cannot be read is as we left it."""
    fields = {n: v if v is not UNKNOWN else known.fields[n] for n, v in live.fields.items() if n in known.fields}
    return Resource(live.id, fields)


def _reasons(outcome: Outcome, scope: Scope) -> Iterator[str]:
    """Why a scope is not as declared."""
    for plan in outcome.plans:
        if plan.error:
            yield plan.error
        yield from waiting(plan)
    end = outcome.scopes.get(scope)
    if end and end.error:
        yield end.error


def waiting(plan: ScopePlan) -> Iterator[str]:
    """What of a plan nobody carries out, each with what it waits for."""
    for step in plan.steps:
        if step.standing is not Standing.DUE:
            yield _waits(plan.scope, step.change.id, step.reason, step.standing is Standing.APPROVAL)
    for difference in plan.left:
        if difference.cause in CONTESTED:
            yield _waits(plan.scope, difference.id, guards.CONTESTED[difference.cause], True)


def unseen(plan: ScopePlan) -> list[Difference]:
    """What came from outside since somebody looked last."""
    return [d for d in plan.left if d.cause in (Cause.DRIFT, Cause.CAME_BACK)]


def told(difference: Difference) -> str:
    what = "came back" if difference.cause is Cause.CAME_BACK else "was changed outside"
    return f"{difference.id.name}: {what} since Pulumi looked last; it stays, until a preview has shown it"


def _waits(scope: Scope, id_: Id, why: str, approval: bool) -> str:
    hint = (
        f" (approve {scope.facet}/{scope.name}/{id_.name} in customers/{scope.customer}/approvals.yaml)"
        if approval
        else ""
    )
    return f"{id_.name}: {why}{hint}"


def spoken(outputs: Mapping[str, Value]) -> dict[str, Any]:
    """Outputs as a program sees them; what is unknown is left out."""
    return {n: sorted(v) if isinstance(v, frozenset) else v for n, v in outputs.items() if v is not UNKNOWN}
