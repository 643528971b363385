"""Policies for patching → one scope per host, with its policy, its window and the packages that are held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from mspctl.desired import Declaration, Outputs
from mspctl.desired.hosts import places
from mspctl.kinds import patching
from mspctl.kinds.hosts import FACET
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.policies import source
from mspctl.model.sections.hosts import Entry
from mspctl.model.sections.patching import Section, Settled, settled
from mspctl.moments import Ending, Span
from mspctl.resource import Id, Resource, Scope

FACETS = ()  # the way back is that of `hosts`
SCOPES = {FACET: ("hosts:Host", patching.FIELDS)}


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    for name, entry, scope, policy in _patched(customer):
        zone = customer.info.timezone
        own = [
            patching.policy(policy.what, policy.reboot, source(customer, "patching", name, entry, "what")),
            patching.window(str(policy.window), zone, source(customer, "patching", name, entry, "window")),
        ]
        holds = _held(customer, name, entry, policy, now)
        file = f"customers/{customer.name}/patching.yaml"
        yield Declaration(scope, [*own, *holds.resources], file, timed=holds.timed, ends=holds.ends)


def scopes(customer: Customer) -> Iterator[Scope]:
    return (scope for _, _, scope, _ in _patched(customer))


def _patched(customer: Customer) -> Iterator[tuple[str, Entry, Scope, Settled]]:
    section = customer.sections["patching"]
    assert isinstance(section, Section), "load puts each section's own model here"
    for name, entry, scope in places(customer, patching.SECTION):
        if policy := settled(section, name, entry):
            yield name, entry, scope, policy


@dataclass(slots=True)
class _Holds:
    resources: list[Resource] = field(default_factory=list)
    timed: dict[Id, str] = field(default_factory=dict)
    ends: dict[Id, Ending] = field(default_factory=dict)


def _held(customer: Customer, name: str, entry: Entry, policy: Settled, now: datetime) -> _Holds:
    """Packages that are held now, and what time did or will do to the others."""
    found = _Holds()
    for package, hold in policy.holds.items():
        made = patching.hold(package, source(customer, "patching", name, entry, "holds", package))
        if Span(customer.info.timezone, until=hold.until).holds(now):
            found.resources.append(made)
            found.ends[made.id] = Ending(hold.until.ends(customer.info.timezone), f"until {hold.until}")
        else:
            found.timed[made.id] = f"expired {hold.until}"
    return found
