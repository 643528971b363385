"""
What a firewall's policy does with a packet: which rule decides, and what it says. Pure, on declared and live resources.

It judges the first packet of a connection; see `firewall.py` for the order in which things count. That the device's
kernel thinks the same is tested with real packets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.addresses import Address
from mspctl.kinds.firewall import ANY, SELF, text, texts
from mspctl.resource import Id, Resource


@dataclass(frozen=True, slots=True)
class Packet:
    """The first packet of a connection, as it arrives."""

    came: str  # the zone it comes from; `self`: the device sends it
    goes: str  # the zone it would leave by; `self`: it is for an address of the device
    source: Address
    destination: Address
    service: str  # in normal form, with one port: "tcp/443", "icmp/echo-request", "esp"
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    action: str  # accept, drop, reject
    by: Id | None  # the resource that decides; None: nothing is said, so it is dropped
    to: str = ""  # where a forward sends it: "10.20.1.60 tcp/443"

    @property
    def passes(self) -> bool:
        return self.action == "accept"


def decide(resources: Sequence[Resource], packet: Packet) -> Decision:
    """What becomes of a packet."""
    if packet.came == SELF:
        return Decision("accept", None)
    packet = _inside(resources, packet)
    for resource in resources:
        if resource.id.kind == firewall.FORWARD and _is_forwarded(resource, packet):
            return Decision("accept", resource.id, _sent_to(resource, packet))
    for rule in firewall.rules(resources):
        if matches(rule, packet):
            return Decision(str(rule.fields["action"]), rule.id)
    for id_ in (Id(firewall.POLICY, firewall.pair(packet.came, packet.goes)), firewall.DEFAULT):
        for resource in resources:
            if resource.id == id_:
                return Decision(str(resource.fields["action"]), id_)
    return Decision("drop", None)


def matches(rule: Resource, packet: Packet) -> bool:
    return (
        _in_zones(packet.came, texts(rule, "from"))
        and _in_zones(packet.goes, texts(rule, "to"))
        and addresses.holds(texts(rule, "source"), packet.source)
        and addresses.holds(texts(rule, "destination"), packet.destination)
        and services.covers(texts(rule, "services"), frozenset({packet.service}))
        and firewall.holds_at(rule, packet.at)
    )


def _in_zones(zone: str, zones: frozenset[str]) -> bool:
    """`any` is every zone, and not the device."""
    return zone in zones or (ANY in zones and zone != SELF)


def _inside(resources: Sequence[Resource], packet: Packet) -> Packet:
    """A packet for a host's outside address goes to its inside one."""
    for resource in resources:
        if (
            resource.id.kind == firewall.NAT
            and packet.came == text(resource, "zone")
            and str(packet.destination) == text(resource, "outside")
        ):
            return replace(packet, destination=ipaddress.ip_address(text(resource, "inside")))
    return packet


def _is_forwarded(forward: Resource, packet: Packet) -> bool:
    return (
        packet.goes == SELF
        and packet.came == text(forward, "zone")
        and packet.destination.version == ipaddress.ip_address(text(forward, "to")).version
        and addresses.holds(texts(forward, "source"), packet.source)
        and services.covers(texts(forward, "listen"), frozenset({packet.service}))
        and firewall.holds_at(forward, packet.at)
    )


def _sent_to(forward: Resource, packet: Packet) -> str:
    protocol, _, port = packet.service.partition("/")
    return f"{text(forward, 'to')} {protocol}/{forward.fields['port'] or port}"
