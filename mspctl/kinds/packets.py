"""
What a firewall's policy does with a packet: which rule decides, and what it says. Pure, on declared and live resources.

It judges the first packet of a connection; see `firewall.py` for the order in which things count. That the device's
kernel thinks the same is tested with real packets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.addresses import Address
from mspctl.kinds.firewall import ANY, SELF, text, texts, times
from mspctl.resource import Id, Resource

# What begins a connection of ICMP, as kernels see it; other kinds answer to something, or are nothing.
_BEGINS = frozenset({"icmp/echo-request", "icmp/timestamp-request", "icmpv6/echo-request"})
_NEIGHBOURS = frozenset(
    f"icmpv6/nd-{kind}" for kind in ("router-solicit", "router-advert", "neighbor-solicit", "neighbor-advert")
)
_UNTRACKED = _NEIGHBOURS | {"icmpv6/mld-listener-query", "icmpv6/mld-listener-report"}


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection, as it arrives."""

    came: str  # the zone it comes from; `self`: the device sends it
    goes: str  # the zone it would leave by; `self`: it is for the device. For a host's address outside: the host's zone
    source: Address
    destination: Address
    service: str  # in normal form, with one port: "tcp/443", "icmp/echo-request", "esp"
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    action: str  # accept, drop, reject
    by: Id | None  # the resource that decides; None: nothing is said, so it is dropped
    to: str = ""  # where a forward or a host's other address sends it: "10.20.1.60 tcp/443"
    seen_as: str = ""  # the source that is seen there, if it is another one: "203.0.113.9", "the device"
    because: str = ""  # what decides when no resource does
    perhaps: tuple[Id, ...] = ()  # raw rules that come before, which may decide otherwise

    @property
    def passes(self) -> bool:
        return self.action == "accept"


@dataclass(frozen=True, slots=True)
class Other:
    """Something else on the device that has a say about a packet."""

    where: str  # "table ip filter, FORWARD (forward, priority 0)"
    action: str  # accept, drop, reject; elsewhere: it is sent to another address; unknown: it may be any of them
    rule: str  # in the device's words


def decide(resources: Sequence[Resource], packet: Packet) -> Decision:
    """What becomes of a packet."""
    decision = _decided(resources, packet)
    if not any(r.id.kind == firewall.RAW for r in resources):
        return decision
    return replace(decision, perhaps=tuple(_raw_before(resources, packet, decision)))


def _raw_before(resources: Sequence[Resource], packet: Packet, decision: Decision) -> Iterator[Id]:
    """Raw rules that a packet goes through, as far as it gets; what they do to it, nobody here knows."""
    chain = "input" if packet.goes == SELF and not decision.to else "forward"
    first, last = ("output", "postrouting") if packet.came == SELF else ("prerouting", chain)
    for rule in firewall.rules(resources):
        if rule.id.kind == firewall.RAW and text(rule, "chain") == first:
            yield rule.id
    forwarded = decision.by is not None and decision.by.kind == firewall.FORWARD
    for rule in firewall.rules(resources) if not forwarded else ():
        if rule.id == decision.by:
            break
        if rule.id.kind == firewall.RAW and text(rule, "chain") == last:
            yield rule.id
    for rule in firewall.rules(resources) if chain == "forward" and packet.came != SELF and decision.passes else ():
        if rule.id.kind == firewall.RAW and text(rule, "chain") == "postrouting":
            yield rule.id


def _decided(resources: Sequence[Resource], packet: Packet) -> Decision:
    if packet.came == SELF:
        return Decision("accept", None, because="the device itself, which sends it")
    if packet.goes == SELF and packet.service in _NEIGHBOURS:
        return Decision("accept", None, because="what IPv6 itself needs")
    if packet.service.startswith("icmp") and packet.service not in _BEGINS | _UNTRACKED:
        return Decision("drop", None, because="what it is: it answers to nothing")
    inside = _inside(resources, packet)
    for resource in sorted(resources, key=lambda r: r.id):
        if resource.id.kind == firewall.FORWARD and _is_forwarded(resource, packet, inside):
            return Decision("accept", resource.id, _sent_to(resource, packet))
    action, by = _judged(resources, inside)
    if action != "accept":
        return Decision(action, by)
    to = f"{inside.destination} {packet.service}" if inside.destination != packet.destination else ""
    return Decision(action, by, to, _seen_as(resources, inside))


def _judged(resources: Sequence[Resource], packet: Packet) -> tuple[str, Id | None]:
    for rule in firewall.rules(resources):
        if rule.id.kind == firewall.RULE and matches(rule, packet):
            return str(rule.fields["action"]), rule.id
    for id_ in (Id(firewall.POLICY, firewall.pair(packet.came, packet.goes)), firewall.DEFAULT):
        for resource in resources:
            if resource.id == id_:
                return str(resource.fields["action"]), id_
    return "drop", None


def matches(rule: Resource, packet: Packet) -> bool:
    return (
        _in_zones(packet.came, texts(rule, "from"))
        and _in_zones(packet.goes, texts(rule, "to"))
        and addresses.holds(texts(rule, "source"), packet.source)
        and addresses.holds(texts(rule, "destination"), packet.destination)
        and services.covers(texts(rule, "services"), frozenset({packet.service}))
        and times.holds_at(rule, packet.at)
    )


def _in_zones(zone: str, zones: frozenset[str]) -> bool:
    """`any` is every zone, and not the device."""
    return zone in zones or (ANY in zones and zone != SELF)


def _inside(resources: Sequence[Resource], packet: Packet) -> Packet:
    """A packet for a host's outside address goes to its inside one."""
    for resource in sorted(resources, key=lambda r: r.id):
        if (
            resource.id.kind == firewall.NAT
            and packet.came == text(resource, "zone")
            and str(packet.destination) == text(resource, "outside")
        ):
            return replace(packet, destination=ipaddress.ip_address(text(resource, "inside")))
    return packet


def _is_forwarded(forward: Resource, packet: Packet, inside: Packet) -> bool:
    """A host that has an address of its own outside is reached there by the ports that forwards open, too."""
    to = ipaddress.ip_address(text(forward, "to"))
    if inside.destination != packet.destination:
        ours = inside.destination == to and forward.fields["port"] in (0, _port(packet.service))
    else:
        ours = packet.goes == SELF and packet.destination.version == to.version
    return (
        ours
        and packet.came == text(forward, "zone")
        and addresses.holds(texts(forward, "source"), packet.source)
        and services.covers(texts(forward, "listen"), frozenset({packet.service}))
        and times.holds_at(forward, packet.at)
    )


def _port(service: str) -> int:
    found = services.ports(service)
    return found[1] if found else 0


def _sent_to(forward: Resource, packet: Packet) -> str:
    protocol, _, port = packet.service.partition("/")
    return f"{text(forward, 'to')} {protocol}/{forward.fields['port'] or port}"


def _seen_as(resources: Sequence[Resource], packet: Packet) -> str:
    for resource in sorted(resources, key=lambda r: r.id):
        leaves = resource.id.kind == firewall.NAT and packet.goes == text(resource, "zone")
        if leaves and str(packet.source) == text(resource, "inside"):
            return text(resource, "outside")
    id_ = Id(firewall.MASQUERADE, firewall.pair(packet.came, packet.goes))
    held = (r for r in resources if r.id == id_ and packet.source.version == 4)
    return "the device" if any(addresses.holds(texts(r, "source"), packet.source) for r in held) else ""
