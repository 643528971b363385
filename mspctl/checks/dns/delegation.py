"""Who the zone above names as name servers, and whether each of these serves the zone, the same one."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks.dns.zone import Zone, hosts_listed, listed, plain
from mspctl.finding import Finding, Severity
from mspctl.kinds import dns
from mspctl.kinds.answers import Delegation, Server, Serves, Status, ZoneSeen, is_elsewhere

OR_NOT = "or take it out of dns.yaml; `public: false` says that it is known inside only"


def findings(zone: Zone, seen: ZoneSeen) -> Iterator[Finding]:
    delegation = seen.delegation
    if delegation.status in (Status.NOTHING, Status.EMPTY):
        yield _not_there(zone, delegation)
    elif delegation.status is Status.FOUND and is_elsewhere(zone.question, delegation):
        yield _elsewhere(zone, delegation)
    elif delegation.status is Status.FOUND:
        yield from _parent(zone, seen)
        yield from _servers(zone, seen)
        yield from _serials(zone, seen)


def unknown(seen: ZoneSeen) -> list[str]:
    """What could not be learnt of it, and why."""
    if seen.delegation.status is Status.UNKNOWN:
        return [seen.delegation.why]
    answered = {server.host for server in seen.serving}
    return [
        f"name server {plain(server.host)}: {server.why}"
        for server in seen.servers
        if server.serves is Serves.UNKNOWN and server.host not in answered
    ]


# -- the zone above -------------------------------------------------------------------------------------------


def _not_there(zone: Zone, delegation: Delegation) -> Finding:
    known = "does not know it" if delegation.status is Status.NOTHING else "names no name servers for it"
    what = f"nobody finds the zone: the zone above, {plain(delegation.parent)}, {known}"
    remedy = f"register it with {_wanted(zone)}, {OR_NOT}"
    return zone.finding("dns.not-delegated", Severity.SEVERE, what, remedy)


def _elsewhere(zone: Zone, delegation: Delegation) -> Finding:
    what = f"the Internet gets the zone elsewhere: {plain(delegation.parent)} names {hosts_listed(delegation.hosts)}"
    remedy = f"name {_wanted(zone)} {zone.registrar}, {OR_NOT}"
    return zone.finding("dns.not-delegated", Severity.WARNING, what, remedy)


def _wanted(zone: Zone) -> str:
    return hosts_listed(zone.hosts) if zone.hosts else "its name servers"


def _parent(zone: Zone, seen: ZoneSeen) -> Iterator[Finding]:
    if seen.delegation.itself:
        return
    at_parent, who = seen.delegation.hosts, "Git"
    right = [*zone.name_servers]
    if not right:
        own = seen.answer(zone.absolute, "NS")
        right, who = [frozenset(own.values)] if own.status is Status.FOUND else [], "the zone itself"
    if not right or at_parent in right or at_parent == frozenset().union(*right):
        return
    nearest = max(right, key=lambda hosts: len(hosts & at_parent))
    parts = []
    if more := at_parent - nearest:
        parts.append(f"names {hosts_listed(more)}, which {who} does not")
    if less := nearest - at_parent:
        parts.append(f"lacks {hosts_listed(less)}")
    what = f"the zone above, {plain(seen.delegation.parent)}, {', and '.join(parts)}"
    remedy = f"change the name servers {zone.registrar} to {hosts_listed(nearest)}, or change Git"
    declared = zone.resource(dns.APEX, "NS")
    yield zone.finding(
        "dns.parent-ns", Severity.WARNING, what, remedy, source=declared.source if declared is not None else ""
    )


# -- name servers ---------------------------------------------------------------------------------------------


def _servers(zone: Zone, seen: ZoneSeen) -> Iterator[Finding]:
    known = all(server.serves is not Serves.UNKNOWN for server in seen.servers)
    severity = Severity.SEVERE if known and not seen.serving else Severity.WARNING
    for server in seen.servers:
        if found := _server(zone, server):
            code, what, remedy = found
            yield zone.finding(code, severity, what, remedy)


def _server(zone: Zone, server: Server) -> tuple[str, str, str] | None:
    """Code, what is wrong, what to do."""
    host, where = plain(server.host), f"{plain(server.host)} ({server.address})"
    leave = f"take it out of the name servers, in Git and {zone.registrar}"
    if server.serves is Serves.NOWHERE:
        return "dns.ns-address", f"name server {host} has {server.why}", f"give it an address, or {leave}"
    if server.serves is Serves.SILENT:
        return (
            "dns.ns-silent",
            f"name server {host} does not answer: {server.why}",
            f"see that it runs and is let through (UDP and TCP), or {leave}",
        )
    if server.serves is Serves.LAME:
        make = "let mspctl apply make the zone, which is new" if zone.is_new else "let it serve the zone"
        return "dns.ns-lame", f"name server {where} does not serve the zone: it {server.why}", f"{make}, or {leave}"
    return None


def _serials(zone: Zone, seen: ZoneSeen) -> Iterator[Finding]:
    for servers in _that_copy(zone, seen):
        newest = _newest({server.serial for server in servers})
        behind = [f"{plain(s.host)} ({s.address}) has {s.serial}" for s in servers if s.serial != newest]
        ahead = [plain(s.host) for s in servers if s.serial == newest]
        if behind:
            what = f"name servers hold different versions: {listed(behind)}, {listed(ahead)} has {newest}"
            remedy = "see why it does not follow: notifications, transfers and their keys, and the logs of both sides"
            yield zone.finding("dns.serial", Severity.WARNING, what, remedy)


def _that_copy(zone: Zone, seen: ZoneSeen) -> list[list[Server]]:
    """Servers that copy from one another; those of different targets have serials of their own."""
    if len(zone.declared) == 1:
        return [seen.serving]
    if len(zone.name_servers) == 1:  # which of them belongs to which target is not known
        return []
    return [[server for server in seen.serving if server.host in hosts] for hosts in zone.name_servers]


def _newest(serials: set[int]) -> int:
    """Serials are compared on a circle (RFC 1982)."""
    for serial in serials:
        if all((serial - other) % 2**32 < 2**31 for other in serials):
            return serial
    return max(serials, default=0)
