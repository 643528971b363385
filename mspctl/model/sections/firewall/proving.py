"""
`proofs` of a device: packets that are sent for real, and what shall become of them.

A probe that reaches nothing would prove that everything is closed. So each one has to reach something, in each family
in which it is to prove that something is closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from mspctl.kinds import addresses, probes, services
from mspctl.kinds.probes import Shot
from mspctl.model.sections.firewall.names import Names
from mspctl.model.sections.firewall.rules import Packet

_HOST = re.compile(r"[a-z0-9_][a-z0-9._-]*")


def shot(packet: Packet, names: Names) -> Shot:
    """What is sent. Raises ValueError that says what would be right."""
    to, family = _to(packet, names)
    protocol, port = _service(packet, names, family)
    send = b""
    if protocol == "udp":
        if packet.send is None and port not in probes.QUESTIONS:
            raise ValueError(f"nobody knows what udp/{port} answers to (say it: send: hello)")
        send = packet.send.encode() if packet.send is not None else probes.QUESTIONS[port]
    elif packet.send is not None:
        raise ValueError(f"send is for udp, and {packet.service} is none")
    return Shot(packet.id, packet.probe, to, family, protocol, port, send, packet.expect)


def _to(packet: Packet, names: Names) -> tuple[str, int]:
    found = names.addresses([packet.to])
    said = {"ipv4": 4, "ipv6": 6}.get(packet.family or "")
    text = next(iter(found)) if len(found) == 1 else addresses.ANY
    if isinstance(text, str) and text.endswith("."):
        name = text.rstrip(".")
        if not _HOST.fullmatch(name):
            raise ValueError(f"{name} is no name of a host")
        if said is None:
            raise ValueError(f"{name} is a name (say family: ipv4 or ipv6)")
        return name, said
    span = addresses.span(text) if isinstance(text, str) else None
    if span is None or span.low != span.high:
        raise ValueError(f"to: {packet.to} is not one host")
    if said not in (None, span.version):
        raise ValueError(f"{packet.to} is no address of {packet.family}")
    return str(text), span.version


def _service(packet: Packet, names: Names, family: int) -> tuple[str, int]:
    found = names.services([packet.service])
    ping = {4: "icmp/echo-request", 6: "icmpv6/echo-request"}
    if found & {*ping.values()} and found <= {*ping.values()}:
        if ping[family] not in found:
            raise ValueError(f"{packet.service} is none of IPv{family} (write ping)")
        return "ping", 0
    one = services.ports(next(iter(found))) if len(found) == 1 else None
    if one is None or one[1] != one[2] or one[0] == "sctp":
        more = f", and {packet.service} is {', '.join(sorted(found))}" if found != {packet.service} else ""
        raise ValueError(f"a packet goes to one port of tcp or udp, or is a ping{more} (write tcp/443)")
    return one[0], one[1]


def unvouched(shots: Sequence[Shot]) -> Iterator[Shot]:
    """The first of each probe and family of which nothing would show that the probe works."""
    works = {(each.probe, each.family) for each in shots if each.expect == probes.OPEN}
    told: Mapping[tuple[str, int], Shot] = {
        (each.probe, each.family): each for each in reversed(shots) if each.expect == probes.CLOSED
    }
    yield from (each for key, each in told.items() if key not in works)
