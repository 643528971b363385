"""Rules across one zone's records: what a name server would refuse is an error, what real estates hold a warning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from mspctl.errors import Problem
from mspctl.kinds import dns
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import Problems

_POINTING = {"MX": 1, "NS": 0, "SRV": 3}  # where the target stands among a value's words


def zone(name: str, resources: Sequence[Resource], problems: Problems, *, glue: bool = False) -> set[Id]:
    """
    Add what is wrong across the records of zone `name`; returns the RRsets that no server takes beside the others.

    Addresses that a delegation needs (glue) are right where they are; `import` asks for them too, because whoever
    takes over an estate wants to see everything that lies below a delegation.
    """
    owners: dict[str, dict[str, Resource]] = defaultdict(dict)
    for resource in resources:
        owner, rtype = dns.owner_type(resource.id)
        owners[owner][rtype] = resource
    refused = set()
    for resource, level, text in _found(name, owners, glue):
        problems.append(_problem(resource, level, text))
        if level == "error":
            refused.add(resource.id)
    return refused


def _problem(resource: Resource, level: str, text: str) -> Problem:
    file, _, line = resource.source.rpartition(":")
    return Problem(file, int(line), 1, resource.id.name, text, level)


Found = Iterator[tuple[Resource, str, str]]


def _found(name: str, owners: Mapping[str, Mapping[str, Resource]], glue: bool) -> Found:
    yield from _beside_cname(owners)
    yield from _pointing(name, owners)
    yield from _below_delegation(name, owners, glue)


def _beside_cname(owners: Mapping[str, Mapping[str, Resource]]) -> Found:
    for owner, types in owners.items():
        cname = types.get("CNAME")
        if cname is None:
            continue
        if owner == dns.APEX:
            yield cname, "error", "a CNAME cannot stand at the zone's own name (use A and AAAA, or ALIAS)"
        elif len(types) > 1:
            others = ", ".join(f"{t} on line {_line(r)}" for t, r in sorted(types.items()) if t != "CNAME")
            yield cname, "error", f"a CNAME stands alone at its name (there is {others})"


def _pointing(name: str, owners: Mapping[str, Mapping[str, Resource]]) -> Found:
    """MX, NS and SRV name hosts: within the zone they must exist, and not be a CNAME (RFC 2181 section 10.3)."""
    suffix = f".{name}."
    for types in owners.values():
        for rtype, position in _POINTING.items():
            for value in dns.values_of(types[rtype]) if rtype in types else ():
                host = value.split()[position]
                if host != f"{name}." and not host.endswith(suffix):
                    continue
                owner = dns.fold_owner(host, name)
                target = owners.get(owner, owners.get(f"*.{owner.partition('.')[2]}" if "." in owner else "*", {}))
                if "CNAME" in target:
                    yield types[rtype], "warning", f"points at {host}, which is a CNAME"
                elif not target.keys() & {"A", "AAAA", "ALIAS"} and not _delegated(owner, owners):
                    yield types[rtype], "warning", f"points at {host}, which has no address in this zone"


def _delegated(owner: str, owners: Mapping[str, Mapping[str, Resource]]) -> str:
    """The highest delegation at or above an owner, or "": what lies below it is never asked here."""
    found = ""
    while owner and owner != dns.APEX:
        if "NS" in owners.get(owner, {}):
            found = owner
        owner = owner.partition(".")[2]
    return found


def _below_delegation(name: str, owners: Mapping[str, Mapping[str, Resource]], with_glue: bool) -> Found:
    cuts = [owner for owner, types in owners.items() if "NS" in types and owner != dns.APEX]
    if not cuts:
        return
    glue = {
        dns.fold_owner(host, name)
        for owner in cuts
        for host in dns.values_of(owners[owner]["NS"])
        if host.endswith(f".{name}.")
    }
    for owner, types in owners.items():
        cut = _delegated(owner, owners)
        for rtype, resource in types.items() if cut else ():
            if owner == cut and rtype in ("NS", "DS"):
                continue
            if owner in glue and rtype in ("A", "AAAA"):
                if with_glue:
                    yield resource, "warning", f"is an address that the delegation of {cut} needs (glue)"
                continue
            yield resource, "warning", f"is at or below the delegation of {cut}, whose servers answer for it"


def _line(resource: Resource) -> str:
    return resource.source.rpartition(":")[2]
