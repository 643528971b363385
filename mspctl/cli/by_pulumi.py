"""
A repository as Pulumi carries it out: its state is what was recorded, and its preview says which scopes an update
would touch; what is live, and what of it waits for whom, is read and judged as ever. So the plan, the outcome and the
exit codes are the same as our engine's, and so are promises that Pulumi knows nothing of.

An update of a scope ends drift in it as well, as far as Pulumi's state shows it (`provider/scopes.py`); what came since
then, and what Pulumi does not touch, is left, and --revert has Pulumi look first.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING

import click

from mspctl.apply import Outcome
from mspctl.asked import NOTHING as UNSAID
from mspctl.asked import Trailers
from mspctl.carry_out import ScopeOutcome
from mspctl.cli import console
from mspctl.cli.workspace import Workspace
from mspctl.desired import Declaration, Outputs, Selection, scopes
from mspctl.errors import Error, InputError
from mspctl.finding_page import Found
from mspctl.guards import CONTESTED
from mspctl.load import Estate
from mspctl.plan import PENDING, REVERT, Plan, ScopePlan, Standing
from mspctl.record import ScopeRecord
from mspctl.resource import Cause, Change, Id, Resource, Scope
from mspctl.vault import Store

if TYPE_CHECKING:
    from mspctl.pulumi.automation import Seen, Stacks

ENGINE = "pulumi"


def refuse(selected: Selection, said: Mapping[str, object]) -> None:
    """Options that mean nothing where Pulumi carries out whole customers."""
    if selected.paths or selected.sections or selected.targets:
        raise click.UsageError(
            "Pulumi carries out a customer as a whole (only --customer chooses with --engine pulumi)"
        )
    for name, value in said.items():
        if value:
            raise click.UsageError(f"{name} is of our own engine (leave it out with --engine pulumi)")


class OfPulumi(Workspace):
    """Of the customers that say engine: pulumi. `only_state`: what an update would do is not asked."""

    engine = ENGINE

    def __init__(
        self, directory: str | None, selection: Selection, *, only_state: bool = False, said: Trailers = UNSAID
    ) -> None:
        super().__init__(directory, selection, said=said)
        self.only_state, self._refresh = only_state, False
        self.found: Mapping[str, Found] = {}  # nobody keeps observations of them
        engines = {name: customer.info.engine for name, customer in self.estate.customers.items()}
        self.mine = [name for name, engine in engines.items() if engine == ENGINE]
        others = sorted({*selection.customers} - {*self.mine})
        if others:
            raise InputError.at(
                f"customers/{others[0]}/customer.yaml", "does not say engine: pulumi, so our own engine carries it out"
            )
        theirs = {name: self.estate.customers[name] for name in self.mine}
        self.estate = replace(self.estate, customers=theirs)
        if self.mine:
            self.narrow(self.mine)
        else:
            console.hint("no customer says engine: pulumi, so there is nothing that Pulumi carries out")

    @cached_property
    def stacks(self) -> Stacks:
        if importlib.util.find_spec("pulumi") is None:
            raise Error("the package pulumi is not installed (pip install 'mspctl[pulumi]')")
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it would tell of every connection that ends
        import mspctl.provider  # noqa: F401 (before grpc, which it tells that others may fork)
        from mspctl.pulumi.automation import Stacks

        settings = self.estate.inventory.pulumi
        names = settings.secrets if settings else {}
        return Stacks(self.root, settings, Store(self.root).for_target("inventory/pulumi.yaml", names))

    @cached_property
    def seen(self) -> dict[str, Seen]:
        """What Pulumi says of each customer, one after the other."""
        if self.only_state:
            return {name: self.stacks.state(name) for name in self.mine}
        return {name: self.stacks.preview(name, refresh=self._refresh) for name in self.mine}

    @cached_property
    def recorded(self) -> dict[Scope, ScopeRecord]:
        return {scope: record for seen in self.seen.values() for scope, record in seen.recorded.items()}

    @cached_property
    def retired(self) -> list[Scope]:
        declared = {*scopes(self.estate)}
        return sorted(scope for scope in self.recorded if scope not in declared)

    def _with_kept(self, found: Sequence[Declaration], estate: Estate | None = None) -> list[Declaration]:
        return [*found]  # what is taken out waits for an approval: Pulumi has no word for "switched off until"

    def wants(self, scope: Scope, id_: Id) -> bool:
        """What an update does not touch is left, whatever is wrong with it."""
        return self.only_state or self.seen[scope.customer].steps.get(scope, "same") != "same"

    def plan(self, causes: frozenset[Cause] = PENDING) -> Plan:
        self._refresh = causes == REVERT
        made = super().plan(PENDING if self.only_state else REVERT)
        plan = replace(made, scopes=[self._with_errors(each) for each in made.scopes])
        self._shown = {each.scope: each.due for each in plan.scopes}
        return plan

    def _meant(self, outputs: Outputs) -> list[Declaration]:
        """With what Pulumi saw last, unless it looks again; what goes whole goes as it is."""
        found = super()._meant(outputs)
        if self._refresh or self.only_state:
            return found
        return [d if d.gone else replace(d, seen=self.seen[d.scope.customer].live.get(d.scope, {})) for d in found]

    def _with_errors(self, plan: ScopePlan) -> ScopePlan:
        """What Pulumi refuses; what it says of no scope is true of all of a customer's."""
        seen = self.seen[plan.scope.customer]
        found = seen.errors.get(plan.scope) or seen.said
        return ScopePlan(plan.scope, plan.source, error="\n".join(found)) if found and not plan.error else plan

    def apply(self, plan: Plan, causes: frozenset[Cause], reason: str, wait: float) -> Outcome:
        """Customer by customer, as far as what Pulumi would do is what the plan shows."""
        from mspctl.pulumi.automation import interruptible

        self.stacks.wait = wait
        outcome = Outcome([*plan.scopes])
        message = "; ".join(filter(None, (reason, *plan.asked.tickets))) or "mspctl apply"
        with interruptible(self.stacks.cli, console.hint):
            for customer, group in groupby(sorted(plan.scopes, key=_customer), _customer):
                plans = [*group]
                if outcome.interrupted or not self._goes(customer, plans):
                    continue
                after = self.stacks.update(customer, refresh=self._refresh, message=message)
                outcome.interrupted = after.interrupted
                for each in plans:
                    if end := ended(each, self.recorded.get(each.scope), after):
                        outcome.scopes[each.scope] = end
        return outcome

    def _goes(self, customer: str, plans: Sequence[ScopePlan]) -> bool:
        """Whether there is something to do, and only what was shown."""
        seen = self.seen[customer]
        if not (seen.others or any(step != "same" for step in seen.steps.values())):
            return False
        if any(plan.due != self._shown[plan.scope] or unplanned(plan, seen) for plan in plans):
            console.hint(f"left alone: Pulumi would do for {customer} what was not reviewed (plan it again)")
            return False
        return True


def _customer(plan: ScopePlan) -> str:
    return plan.scope.customer


def unplanned(plan: ScopePlan, seen: Seen) -> list[Id]:
    """What the plan leaves to others, and Pulumi would change all the same."""
    from mspctl.provider.shapes import path_of
    from mspctl.provider.values import spelled

    details = seen.details.get(plan.scope, ())
    others = [d.id for d in plan.of(Cause.UNMANAGED)]
    return [id_ for id_ in others if any(_within(detail, spelled(path_of(id_))) for detail in details)]


def _within(detail: str, path: str) -> bool:
    return detail == path or detail.startswith((f"{path}.", f"{path}["))


def ended(plan: ScopePlan, before: ScopeRecord | None, after: Seen) -> ScopeOutcome | None:
    """How a scope ended, told from the state before and after; None when nothing was to be done there."""
    scope, was, now = plan.scope, _states(before), _states(after.recorded.get(plan.scope))
    end, live = ScopeOutcome(scope), after.live.get(plan.scope, {})
    for change in plan.due:
        # Where somebody's hand was, what we wished was recorded before.
        there = live if change.cause in (Cause.DRIFT, Cause.CAME_BACK) else now
        (end.landed if _landed(change, there) else end.failed).append(change)
    made = [Change(was.get(id_), now[id_]) for id_ in plan.unknown if id_ in now and now[id_] != was.get(id_)]
    end.landed += made
    end.waits = [id_ for id_ in plan.unknown if id_ not in now]
    said = after.errors.get(scope) or (after.said if end.failed else [])
    if end.failed and not said:
        said = ["not carried out: what it comes after was not finished"]
    if said and not (plan.error or (not end.failed and waits(plan))):
        end.fail("\n".join(said))
    if record := after.recorded.get(scope):
        end.outputs = dict(record.outputs)
    return end if end.landed or end.failed or end.waits or end.error else None


def waits(plan: ScopePlan) -> bool:
    """Whether something is left for an approval, a window or the like: Pulumi calls that a failure."""
    held = any(step.standing is not Standing.DUE for step in plan.steps)
    return held or any(d.cause in CONTESTED for d in plan.left)


def _states(record: ScopeRecord | None) -> dict[Id, Resource]:
    return {id_: state for id_, known in (record.resources if record else {}).items() if (state := known.states[0])}


def _landed(change: Change, now: Mapping[Id, Resource]) -> bool:
    """Whether the state says what a change was to bring about."""
    if change.after is None:
        return change.id not in now
    there = now.get(change.id)
    return there is not None and all(there.fields.get(name) == change.after.fields[name] for name in change.changed)
