"""Rules across one zone's records: what a name server would refuse is an error, what real estates hold a warning."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType

from mspctl.errors import Problem
from mspctl.kinds import dns
from mspctl.moments import Span
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import Mark, Problems

_POINTING = {"MX": 1, "NS": 0, "SRV": 3}  # where the target stands among a value's words


Places = Mapping[Id, tuple[Mark, str]]
Spans = Mapping[Id, Span]
NO_SPANS: Spans = MappingProxyType({})


def zone(
    name: str,
    resources: Sequence[Resource],
    problems: Problems,
    places: Places | None = None,
    spans: Spans = NO_SPANS,
    *,
    glue: bool = False,
) -> set[Id]:
    """
    Add what is wrong across the records of zone `name`; returns the RRsets that no server takes beside the others.

    `places` are those of RRsets that come from YAML; any other is told at the line of its source. `spans` says when
    those are declared that are not always.

    Addresses that a delegation needs (glue) are right where they are; `import` asks for them too, because whoever
    takes over an estate wants to see everything that lies below a delegation.
    """
    owners: dict[str, dict[str, Resource]] = defaultdict(dict)
    for resource in resources:
        owner, rtype = dns.owner_type(resource.id)
        owners[owner][rtype] = resource
    refused = set()
    for resource, level, text in _found(name, owners, spans, glue):
        if places and resource.id in places:
            mark, path = places[resource.id]
            problems.add(mark, path, text, at_value=False, level=level)
        else:
            file, line = _place(resource)
            problems.append(Problem(file or name, line, 1, resource.id.name, text, level))
        if level == "error":
            refused.add(resource.id)
    return refused


def _place(resource: Resource) -> tuple[str, int]:
    """File and line; ("", 0) for what was read from a target."""
    file, _, line = resource.source.rpartition(":")
    return (file, int(line)) if line.isdigit() else ("", 0)


Owners = Mapping[str, Mapping[str, Resource]]
Found = Iterator[tuple[Resource, str, str]]


def _found(name: str, owners: Owners, spans: Spans, glue: bool) -> Found:
    yield from _single(owners)
    yield from _beside_cname(owners, spans)
    yield from _pointing(name, owners)
    yield from _below_delegation(name, owners, glue)


def _single(owners: Owners) -> Found:
    for types in owners.values():
        for rtype in dns.SINGLE & types.keys():
            values = dns.values_of(types[rtype])
            if len(values) > 1:
                yield types[rtype], "error", f"has {len(values)} values (there can be only one)"


def _beside_cname(owners: Owners, spans: Spans) -> Found:
    for owner, found in owners.items():
        cname = found.get("CNAME")
        if cname is None:
            continue
        types = {rtype: r for rtype, r in found.items() if _meet(spans.get(r.id), spans.get(cname.id))}
        if owner == dns.APEX:
            yield cname, "error", "a CNAME cannot stand at the zone's own name (use A and AAAA, or ALIAS)"
        elif len(types) > 1:
            # Said of the zone's own record, which comes first, when the other is a baseline's.
            first = next(iter(types.values()))
            blamed = cname if _place(first)[0] == _place(cname)[0] else first
            others = ", ".join(f"{t}{_beside(r, blamed)}" for t, r in sorted(types.items()) if r is not blamed)
            yield blamed, "error", f"a CNAME stands alone at its name (there is {others})"


def _meet(one: Span | None, other: Span | None) -> bool:
    """Whether two RRsets are declared at the same time at least once."""
    return one is None or other is None or one.meets(other)


def _beside(resource: Resource, other: Resource) -> str:
    file, line = _place(resource)
    if not file:
        return ""
    return f" on line {line}" if file == _place(other)[0] else f" in {file}:{line}"


def _pointing(name: str, owners: Owners) -> Found:
    """MX, NS and SRV name hosts: within the zone they must exist, and not be a CNAME (RFC 2181 section 10.3)."""
    suffix = f".{name}."
    nodes: set[str] = set()
    for owner, types in owners.items():
        for rtype, position in _POINTING.items():
            for value in dns.values_of(types[rtype]) if rtype in types else ():
                host = value.split()[position]
                if host != f"{name}." and not host.endswith(suffix):
                    continue
                target = dns.fold_owner(host, name)
                if target not in owners and not nodes:
                    nodes = _nodes(owners)
                wrong = _wrong_target(target, owners.get(target) or _wildcard(target, owners, nodes), owner, owners)
                if wrong:
                    yield types[rtype], "warning", f"points at {host}, {wrong}"


def _wrong_target(target: str, types: Mapping[str, Resource], owner: str, owners: Owners) -> str:
    if "CNAME" in types:
        return "which is a CNAME"
    if types.keys() & {"A", "AAAA", "ALIAS"}:
        return ""
    cut = _delegated(target, owners)
    if cut and cut == owner:
        return "which lies below this delegation and needs its address here (glue)"
    return "" if cut else "which has no address in this zone"


def _nodes(owners: Owners) -> set[str]:
    """Every name that exists: also those that only have others below them."""
    nodes = {dns.APEX}
    for owner in owners:
        while owner and owner not in nodes:
            nodes.add(owner)
            owner = owner.partition(".")[2]
    return nodes


def _wildcard(owner: str, owners: Owners, nodes: Collection[str]) -> Mapping[str, Resource]:
    """What answers for a name that does not exist: the wildcard at its closest ancestor that does (RFC 4592)."""
    while owner not in nodes:
        owner = owner.partition(".")[2] or dns.APEX
        if owner in nodes:
            return owners.get("*" if owner == dns.APEX else f"*.{owner}", {})
    return {}


def _delegated(owner: str, owners: Owners) -> str:
    """The highest delegation at or above an owner, or "": what lies below it is never asked here."""
    found = ""
    while owner and owner != dns.APEX:
        if "NS" in owners.get(owner, {}):
            found = owner
        owner = owner.partition(".")[2]
    return found


def _below_delegation(name: str, owners: Owners, with_glue: bool) -> Found:
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
