"""What RRsets must be to make a zone: a name server does not load, or silently drops, what is against this."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mspctl.kinds import dns
from mspctl.resource import Id, Resource

Owners = Mapping[str, set[str]]  # the types at each owner


def alone(resource: Resource) -> Iterator[str]:
    """Why an RRset can be in no zone, whatever else is there."""
    owner, rtype = dns.owner_type(resource.id)
    count = len(dns.values_of(resource))
    if rtype == "CNAME" and owner == dns.APEX:
        yield "a CNAME cannot stand at the zone's own name"
    if rtype in dns.SINGLE and count > 1:
        yield f"a name has one {rtype} record, not {count}"


_HOST = re.compile(r"\.|(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+|\*\.")


def bad_hosts(resource: Resource) -> Iterator[str]:
    """Why BIND refuses an RRset unless it is told `check-names primary warn` or `ignore`."""
    owner, rtype = dns.owner_type(resource.id)
    hosts = [f"{owner}."] if rtype in ("A", "AAAA", "MX") and owner not in (dns.APEX, "gc._msdcs") else []
    hosts += [value.split()[-1] for value in dns.values_of(resource) if rtype in ("MX", "NS")]
    for host in hosts:
        if not _HOST.fullmatch(host):
            yield f"BIND loads no zone with the host name {host.rstrip('.')} (rename it, or leave out check_names)"


def together(zone: str, records: Mapping[Id, Resource]) -> Iterator[str]:
    """Why these RRsets are no whole zone."""
    owners: dict[str, set[str]] = {}
    for id_ in records:
        owner, rtype = dns.owner_type(id_)
        owners.setdefault(owner, set()).add(rtype)
    for owner, types in owners.items():
        if "CNAME" in types and (len(types) > 1 or owner == dns.APEX):
            others = ", ".join(sorted(types - {"CNAME"})) or "the SOA"
            yield f"{dns.absolute(owner, zone)} would hold a CNAME beside {others}"
        if "DNAME" in types and _hides(owner, owners):
            yield f"{dns.absolute(owner, zone)} would hold a DNAME above other names, which it hides"
    if "NS" not in owners.get(dns.APEX, ()):
        yield f"{zone} has no name servers (declare apex NS, or give the target nameservers)"
        return
    for host in _bare_name_servers(zone, records, owners):
        yield f"name server {host} has no address in {zone} (declare its A or AAAA)"


def _hides(owner: str, owners: Owners) -> bool:
    return len(owners) > 1 if owner == dns.APEX else any(dns.is_below(name, owner) for name in owners)


def _bare_name_servers(zone: str, records: Mapping[Id, Resource], owners: Owners) -> Iterator[str]:
    for host in dns.values_of(records[Id(dns.KIND, f"{dns.APEX} NS")]):
        if host.endswith(f".{zone}.") or host == f"{zone}.":
            owner = dns.fold_owner(host, zone)
            cut = any("NS" in owners.get(owner[i:], ()) for i in _label_starts(owner))
            if not cut and not owners.get(owner, set()) & {"A", "AAAA"}:
                yield host


def _label_starts(owner: str) -> Iterator[int]:
    if owner == dns.APEX:
        return
    yield 0
    yield from (i + 1 for i, c in enumerate(owner) if c == ".")
