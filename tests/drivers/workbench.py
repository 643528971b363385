"""What Git declares, a ledger, and the real engine between them and a target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from mspctl.apply import Engine, Held, Outcome, Unheld, apply
from mspctl.desired import Declaration, Outputs
from mspctl.driver import Driver, Reader
from mspctl.exits import Exit
from mspctl.fields import Mode
from mspctl.model.permissions import Approval, Permissions
from mspctl.plan import PENDING, Plan, ScopePlan, Wanted, plan_all
from mspctl.record import Emergency, Run
from mspctl.resource import Cause, Id, Resource, Scope
from tests.drivers import memory
from tests.drivers.memory import Ledger, Server

P = ParamSpec("P")
T = TypeVar("T")
Made = Callable[[Outputs], Sequence[Resource]]  # what a scope declares, given what others hand out


class Inline(Executor):
    """Does the work at once, in order."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001
            future.set_exception(error)
        return future


def everything(scope: Scope, id_: Id) -> bool:
    return True


class Workbench:
    def __init__(
        self, readers: Callable[[Scope], Reader], drivers: Callable[[Scope], Driver], approved: bool = False
    ) -> None:
        """`approved`: somebody names every change that needs it."""
        self.readers = readers
        self.drivers = drivers
        self.approved = approved
        self.ledger = Ledger()
        self.executor: Executor = Inline()
        self.held: Held = Unheld()
        self.runs = 0
        self.marked: Emergency | None = None  # what the next runs are
        self.engine: dict[str, Any] = {}  # further settings
        self._declared: dict[Scope, tuple[Made, dict[str, Any]]] = {}

    def declare(self, scope: Scope, *resources: Resource, mode: Mode = "enforce", ignore: Sequence[str] = ()) -> None:
        """From now on Git says this of the scope, and nothing else."""
        self.declare_from(scope, lambda outputs: resources, mode=mode, ignore=tuple(ignore))

    def declare_from(self, scope: Scope, made: Made, **more: Any) -> None:
        # `after` is no part of a scope's identity: the scope as said last is the one that counts.
        self._declared.pop(scope, None)
        self._declared[scope] = (made, more)

    def forget(self, scope: Scope) -> None:
        """The scope leaves Git."""
        del self._declared[scope]

    def declarations(self, outputs: Outputs) -> list[Declaration]:
        return [
            Declaration(scope, tuple(made(outputs)), "customers/acme/things.yaml", **self._permitted(scope) | more)
            for scope, (made, more) in self._declared.items()
        ]

    def _permitted(self, scope: Scope) -> dict[str, Any]:
        if not self.approved:
            return {}
        said = {"resource": f"{scope.facet}/{scope.name}", "why": f"run {self.runs}", "until": "2099-12-31"}
        return {"permissions": Permissions((Approval.model_validate(said),))}

    def outputs(self) -> Outputs:
        return {scope: record.outputs for scope, record in self.ledger.recorded().items() if record.outputs}

    def plan(self, causes: frozenset[Cause] = PENDING, wanted: Wanted = everything) -> dict[Scope, ScopePlan]:
        declared, recorded = self.declarations(self.outputs()), self.ledger.recorded()
        plans = plan_all(declared, self.readers, recorded, self.executor, causes, wanted)
        return {plan.scope: plan for plan in plans}

    def apply(
        self,
        causes: frozenset[Cause] = PENDING,
        wanted: Wanted = everything,
        first: Mapping[Scope, ScopePlan] | None = None,
        limit: Callable[[Iterable[ScopePlan]], Iterable[ScopePlan]] = lambda plans: plans,
    ) -> Outcome:
        self.runs += 1
        run = Run(f"run-{self.runs}", "Paolo Zen <paolo@msp.example>")
        run = replace(run, emergency=self.marked)
        engine = Engine(self.drivers, self.ledger, self.executor, run, self.held, **self.engine)
        shown = None if first is None else [*first.values()]
        return apply(self.declarations, engine, causes, wanted, shown, self.outputs(), limit)

    def converge(self, *, causes: frozenset[Cause] = PENDING) -> Outcome:
        """Apply, and hold it to its promise: nothing is pending, nothing is in doubt, a second run does nothing."""
        outcome = self.apply(causes)
        assert (outcome.exit_code, outcome.unfinished) == (Exit.DONE, [])
        assert self.pending() == {}
        assert self.in_doubt() == []
        commits = [*self.ledger.commits]
        assert self.apply(causes).landed == 0
        assert self.ledger.commits == commits
        return outcome

    def in_doubt(self) -> list[Id]:
        """What the ledger cannot tell the state of, in scopes that are declared."""
        records = self.ledger.recorded(self._declared).values()
        return [id_ for record in records for id_, known in record.resources.items() if len(known.states) > 1]

    def pending(self) -> dict[Scope, object]:
        plans = self.plan().values()
        assert [p for p in plans if p.error] == []
        return {p.scope: p.steps or p.unknown for p in plans if p.steps or p.unknown}

    def causes(self, scope: Scope) -> dict[str, Cause]:
        """Name → why it differs, of everything in a scope that is not as declared."""
        plan = self.plan()[scope]
        steps = {step.change.id.name: step.change.cause for step in plan.steps}
        return steps | {d.id.name: d.cause for d in plan.left}

    def states(self, scope: Scope) -> dict[str, tuple[Resource | None, ...]]:
        """Name → the states in which the ledger says we may have left it."""
        records = self.ledger.recorded([scope])[scope].resources
        return {id_.name: known.states for id_, known in records.items()}


class Servers(Workbench):
    """Targets in memory, by name."""

    def __init__(self, *names: str) -> None:
        self.server = {name: Server() for name in names}
        super().__init__(
            lambda scope: memory.Reader(self.server[scope.target]),
            lambda scope: memory.Driver(self.server[scope.target]),
        )


def as_plan(plans: Mapping[Scope, ScopePlan]) -> Plan:
    from datetime import UTC, datetime

    return Plan([*plans.values()], datetime(2027, 3, 5, 9, tzinfo=UTC))
