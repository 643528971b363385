"""
Scopes that the ledger knows and Git no longer declares: removed zones, customers that left, what moved elsewhere.

They are kept and reported, until an approval names the scope and its target; then everything of ours goes, and the
scope itself where the driver can remove it. The approval stands in the customer's folder; once there is none, in
`inventory/approvals.yaml`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mspctl.desired import Declaration, hours_of
from mspctl.driver import Known, Reading, Traits
from mspctl.load import Estate
from mspctl.model.permissions import Permissions
from mspctl.moments import Clock
from mspctl.record import ScopeRecord
from mspctl.resource import Resource, Scope


def retired(recorded: Mapping[Scope, ScopeRecord], declared: Collection[Scope]) -> list[Scope]:
    """Recorded scopes in which we left something, and which nothing declares any more."""
    return sorted(
        scope
        for scope, record in recorded.items()
        if scope not in declared and scope.engine == "mspctl" and any(any(r.states) for r in record.resources.values())
    )


def named(
    scopes: Iterable[Scope], recorded: Mapping[Scope, ScopeRecord], estate: Estate, now: datetime
) -> Iterator[Declaration]:
    """Of retired scopes, those that an approval lets go: each as a declaration of nothing."""
    for scope in scopes:
        customer = estate.everyone.get(scope.customer)
        clock = Clock(now, customer.info.timezone) if customer else Clock(now)
        allowed = (customer.permissions if customer else estate.inventory.permissions).on(clock.today)
        approval = allowed.retirement(scope, recorded[scope].used)
        if approval:
            mode = customer.info.mode if customer else "enforce"
            file = f"customers/{scope.customer}/approvals.yaml" if customer else "inventory/approvals.yaml"
            hours = hours_of(customer.info if customer else None, None, estate.inventory, scope.target)
            found = Declaration(scope, (), file, mode, permissions=Permissions((approval,)), gone=True)
            yield replace(found, hours=hours, closed=hours.why_closed(now))


class Nowhere:
    """Reads a target that is no longer in the inventory: nothing is there, so that the ledger can forget it."""

    traits = Traits()

    def accept(self, resource: Resource) -> Resource:
        return resource

    def read(self, scopes: Sequence[Scope], known: Known) -> Iterator[Reading]:
        return (Reading(scope, (), exists=False) for scope in scopes)
