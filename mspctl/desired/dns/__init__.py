"""Zones and their records → one scope per zone and target. `back` is the other direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from mspctl.desired import Declaration, Outputs
from mspctl.kinds import dns
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.dns import FACET, Records, Section, Zone, derived
from mspctl.moments import Ending, Span
from mspctl.resource import Cause, Resource, Scope
from mspctl.strict_yaml import Map, find

FACETS = (FACET,)
SCOPES = {FACET: ("dns:Zone", dns.FIELDS)}


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    section = customer.sections["dns"]
    assert isinstance(section, Section), "load puts each section's own model here"
    said = derived.by_zone(customer, inventory, outputs)
    settings = _settings(customer, section)
    for zone, found in customer.files["dns"].items():
        resources = [*found.resources, *_standing(found, now)] if found.timed else found.resources
        if zone in said:
            resources = derived.joined(zone, section.zones[zone].ttl, resources, said[zone], outputs)
        if zone in settings:
            resources = [*resources, *settings[zone]]
        # A pattern is about owner names; a resource's name is "<owner> <TYPE>".
        ignore = tuple(f"{pattern} *" for pattern in section.zones[zone].ignore)
        timed = {id_: why for id_, layers in found.timed.items() if (why := _why(layers[0][1], now))}
        ends = {id_: end for id_, ((_, s), *_) in found.timed.items() if s.holds(now) and (end := _ending(s))}
        later = [r for layers in found.timed.values() for r, s in layers if not (s.holds(now) or s.is_over(now))]
        for target in section.targets_of(zone):
            scope = Scope(target, FACET, zone, customer.name, customer.info.engine)
            also = _also(section.zones[zone])
            made = Declaration(scope, resources, found.file, ignore=ignore, also=also)
            yield replace(made, timed=timed, ends=ends, later=later) if found.timed else made


def scopes(customer: Customer) -> Iterator[Scope]:
    section = customer.sections["dns"]
    assert isinstance(section, Section), "load puts each section's own model here"
    for zone in section.zones:
        for target in section.targets_of(zone):
            yield Scope(target, FACET, zone, customer.name, customer.info.engine)


def _standing(found: Records, now: datetime) -> Iterator[Resource]:
    """Of RRsets limited in time, those that are declared now: a zone's own before its baseline's."""
    for layers in found.timed.values():
        yield from [resource for resource, span in layers if span.holds(now)][:1]


def _why(span: Span, now: datetime) -> str:
    """What time did to an RRset, if it did something."""
    if span.is_over(now):
        return f"expired {span.until}"
    return f"from {span.since}" if span.since and span.holds(now) else ""


def _ending(span: Span) -> Ending | None:
    return Ending(span.ends, f"until {span.until}") if span.ends else None


def _settings(customer: Customer, section: Section) -> dict[str, list[Resource]]:
    """What is declared of zones besides their records, each at its place in dns.yaml or a baseline."""
    if all(zone.dnssec is None for zone in section.zones.values()):
        return {}
    zones = customer.data["dns"]["zones"]
    assert isinstance(zones, Map), "a section that was validated has its zones in a mapping"
    declared = {}
    for key in zones:
        zone, mark = dns.fold_zone(key), find(zones, [key, "dnssec"])
        dnssec = section.zones[zone].dnssec
        if dnssec is not None and mark is not None:
            declared[zone] = [dns.zone(dnssec, f"{mark.file}:{mark.line}")]
    return declared


def _also(zone: Zone) -> frozenset[Cause]:
    revert = {Cause.DRIFT, Cause.CAME_BACK} if zone.drift == "revert" else set()
    return frozenset(revert | ({Cause.UNMANAGED} if zone.unmanaged == "delete" else set()))
