"""
Hosts declare nothing themselves: each section that is about hosts has one scope for each of them.

`places` says which; those sections share it, and the way back to YAML starts here, because they share a facet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from mspctl.desired import Declaration, Outputs
from mspctl.kinds.hosts import FACET, scope_name
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.hosts import Entry, entries
from mspctl.resource import Scope

FACETS = (FACET,)
SCOPES = {FACET: ("hosts:Host", dict[str, Mapping[str, type]]())}  # what it holds, its sections say


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    return iter(())


def scopes(customer: Customer) -> Iterator[Scope]:
    return iter(())


def places(customer: Customer, section: str) -> Iterator[tuple[str, Entry, Scope]]:
    """Each host that is driven: its name, what hosts.yaml says of it, and the scope of a section there."""
    for name, entry in entries(customer).items():
        if entry.target and entry.address:
            scope = scope_name(customer.name, name, section)
            yield name, entry, Scope(entry.target, FACET, scope, customer.name, customer.info.engine)
