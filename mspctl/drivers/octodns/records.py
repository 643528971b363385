"""A record of octoDNS and a resource of ours, one made of the other; and zones that hold them. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mspctl.drivers.octodns.told import printable
from mspctl.kinds import dns
from mspctl.resource import Id, Resource

if TYPE_CHECKING:
    from octodns.record import Record
    from octodns.zone import Zone


OWN = "octodns.record"  # the kind of what only octoDNS can say


def resource_of(record: Record, zone: str) -> Resource:
    """As YAML would say it. Raises ValueError when YAML cannot."""
    rtype = dns.fold_type(record._type)
    if getattr(record, "dynamic", None) or getattr(record, "geo", None):
        raise ValueError("it has more than values")
    return dns.rrset(dns.fold_owner(record.fqdn, zone), rtype, record.ttl, _values(record, rtype))


def _values(record: Record, rtype: str) -> Iterable[str]:
    if rtype not in ("TXT", "SPF"):
        return {dns.fold_value(rtype, text, lambda name: f"{name}.") for text in record.to_rrset().rdatas}
    texts = {value.to_raw_text() for value in record.values}
    if any(c in text for text in texts for c in '\\"'):
        raise ValueError('octoDNS’s providers do not agree on how a text holds \\ or "')
    return {dns.quoted(text.encode()) for text in texts}


def own(record: Record) -> Resource:
    """What YAML cannot say, or we could not give back: of a kind that nobody can declare."""
    name = printable(f"{record.name or dns.APEX} {record._type} (octoDNS)")
    return Resource(Id(OWN, name), {"data": json.dumps(record.data, default=str, sort_keys=True)})


def record_of(resource: Resource, zone: Zone, live: Record | None = None) -> Record:
    """Raises RecordException or ValueError for what octoDNS does not take. Flags of the live record are kept."""
    from octodns.record import Record, Rrset

    owner, rtype = dns.owner_type(resource.id)
    values = [dns.master_text(rtype, value) for value in dns.values_of(resource)]
    rrset = Rrset(dns.absolute(owner, zone.name[:-1]), rtype, dns.ttl_of(resource), values)
    record = Record.from_rrset(zone, rrset)
    if live is None or not live.octodns:
        return record
    return Record.new(zone, record.name, {**record.data, "type": rtype, "octodns": live.octodns}, lenient=True)


def zone_of(name: str) -> Zone:
    from octodns.zone import Zone

    return Zone(f"{name}.", [])


def held_in(zone: Zone, id_: Id) -> Record | None:
    owner, rtype = dns.owner_type(id_)
    return zone.get_type("" if owner == dns.APEX else owner, rtype)
