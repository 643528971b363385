"""Zones and their records → one scope per zone and target. `back` is the other direction."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from mspctl.desired import Declaration, Outputs
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.dns import FACET, Section, Zone, derived
from mspctl.resource import Cause, Scope

FACETS = (FACET,)


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, today: date) -> Iterator[Declaration]:
    section = customer.sections["dns"]
    assert isinstance(section, Section), "load puts each section's own model here"
    said = derived.by_zone(customer, inventory)
    for zone, found in customer.files["dns"].items():
        resources = found.resources
        if zone in said:
            resources = derived.joined(zone, section.zones[zone].ttl, resources, said[zone], outputs)
        # A pattern is about owner names; a resource's name is "<owner> <TYPE>".
        ignore = tuple(f"{pattern} *" for pattern in section.zones[zone].ignore)
        for target in section.targets_of(zone):
            scope = Scope(target, FACET, zone, customer.name, customer.info.engine)
            yield Declaration(scope, resources, found.file, ignore=ignore, also=_also(section.zones[zone]))


def scopes(customer: Customer) -> Iterator[Scope]:
    section = customer.sections["dns"]
    assert isinstance(section, Section), "load puts each section's own model here"
    for zone in section.zones:
        for target in section.targets_of(zone):
            yield Scope(target, FACET, zone, customer.name, customer.info.engine)


def _also(zone: Zone) -> frozenset[Cause]:
    revert = {Cause.DRIFT, Cause.CAME_BACK} if zone.drift == "revert" else set()
    return frozenset(revert | ({Cause.UNMANAGED} if zone.unmanaged == "delete" else set()))
