"""Zones and their records → one scope per zone and target; and back, as edits of the record files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from mspctl.desired import Declaration, Outputs
from mspctl.edit import Plain
from mspctl.fields import spoken_duration
from mspctl.kinds import dns
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.dns import DEFAULT_TTL, FACET, Section, records
from mspctl.resource import Resource, Scope


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, today: date) -> Iterator[Declaration]:
    section = customer.sections["dns"]
    assert isinstance(section, Section), "load puts each section's own model here"
    for zone, found in customer.files["dns"].items():
        # A pattern is about owner names; a resource's name is "<owner> <TYPE>".
        ignore = tuple(f"{pattern} *" for pattern in section.ignored(zone))
        for target in section.targets_of(zone):
            scope = Scope(target, FACET, zone, customer.name, customer.info.engine)
            yield Declaration(scope, found.resources, found.file, customer.info.mode, ignore)


# -- and back -------------------------------------------------------------------------------------------------


def usual_ttl(resources: Sequence[Resource]) -> int:
    """The TTL that most RRsets have: what is written once for the zone."""
    counted = Counter(dns.ttl_of(r) for r in resources)
    return max(counted, key=lambda ttl: (counted[ttl], ttl)) if counted else DEFAULT_TTL


def as_yaml(resources: Sequence[Resource], ttl: int) -> dict[str, Plain]:
    """A record file in the short form; `ttl` is the zone's own, and not repeated."""
    owners: dict[str, dict[str, Resource]] = {}
    for resource in resources:
        owner, rtype = dns.owner_type(resource.id)
        owners.setdefault(owner, {})[rtype] = resource
    ordered = sorted(owners, key=lambda owner: (owner != dns.APEX, owner))
    return {typed_owner(owner): _entry(owners[owner], ttl) for owner in ordered}


def typed_owner(owner: str) -> str:
    return records.APEX if owner == dns.APEX else owner


def _entry(types: Mapping[str, Resource], ttl: int) -> dict[str, Plain]:
    ttls = {dns.ttl_of(r) for r in types.values()}
    shared = next(iter(ttls)) if len(ttls) == 1 else ttl
    entry: dict[str, Plain] = {}
    for rtype in sorted(types):
        entry[rtype] = _rrset(types[rtype], shared)
    if shared != ttl:
        entry["ttl"] = spoken_duration(shared)
    return entry


def _rrset(resource: Resource, ttl: int) -> Plain:
    rtype = dns.owner_type(resource.id)[1]
    typed: list[Plain] = [dns.as_typed(rtype, value) for value in dns.values_of(resource)]
    values = typed[0] if len(typed) == 1 else typed
    own = dns.ttl_of(resource)
    return values if own == ttl else {"values": values, "ttl": spoken_duration(own)}
