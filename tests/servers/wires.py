"""
A firewall between four networks, and hands on every wire: packets as we like them, and whatever comes of them.

Sockets are opened by a thread that enters a namespace; they stay there, so that many packets are sent and seen without
starting a program. Each packet carries a number: as its port, its ICMP identifier or in its payload, whatever becomes
of its addresses.
"""

from __future__ import annotations

import ctypes
import ipaddress
import json
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from tests.servers.namespaces import cable, inside, made, run

NETS = {  # zone → the first octets of its two networks; .1 is the firewall
    "wan": ("203.0.113.", "2001:db8:113::"),
    "lan": ("10.20.0.", "2001:db8:20::"),
    "dmz": ("10.40.0.", "2001:db8:40::"),
    "guest": ("10.30.0.", "2001:db8:30::"),
}
HOSTS = ("9", "60", "200")
OUTSIDE = ("77", "78")  # addresses of nobody in wan, which are sent to the firewall
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmpv6": 58, "ospf": 89, "sctp": 132}
KINDS = {
    "icmp": {"echo-reply": 0, "echo-request": 8, "time-exceeded": 11, "timestamp-request": 13},
    "icmpv6": {"echo-request": 128, "echo-reply": 129, "packet-too-big": 2},
}
_MARK = b"msp!"  # in front of a packet's number
_NEWNET = 0x40000000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shot:
    """A packet that is sent: from where to where, and what it is (`tcp/443`, `icmp/echo-request`, `esp`)."""

    number: int  # 20000 to 65535; no port that is sent to
    zone: str
    source: str
    destination: str
    service: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of it: it arrived in a zone, or the device answered."""

    zone: str = ""  # where it arrived
    source: str = ""
    destination: str = ""
    port: int = 0
    answer: str = ""  # the device: "itself" (it took the packet), "prohibited"


@dataclass(slots=True)
class Wires:
    names: Mapping[str, str]  # role → namespace
    senders: dict[tuple[str, int], socket.socket] = field(default_factory=dict)  # (zone, IP version)
    taps: dict[socket.socket, str] = field(default_factory=dict)
    netlink: socket.socket | None = None

    def nft(self, *words: str, given: str | None = None) -> str:
        return run(*inside(self.names["fw"]), "env", "TZ=UTC", "nft", *words, given=given)

    def forget(self) -> None:
        """No connection is known any more."""
        assert self.netlink is not None
        self.netlink.send(
            struct.pack("=IHHIIBBH", 20, 0x102, 5, 1, 0, 0, 0, 0)
        )  # IPCTNL_MSG_CT_DELETE of all, with ACK
        (error,) = struct.unpack("=i", self.netlink.recv(4096)[16:20])
        assert error in (0, -2), os.strerror(-error)

    def shoot(self, shots: Sequence[Shot], expected: Iterable[int]) -> dict[int, list[Seen]]:
        """All of them at once. It waits for what is expected a second, and for more until all is silent."""
        left, seen = {*expected}, {shot.number: list[Seen]() for shot in shots}
        by_number = {shot.number: shot for shot in shots}
        for shot in shots:
            version = ipaddress.ip_address(shot.destination).version
            self.senders[shot.zone, version].sendto(_built(shot), (shot.destination, 0))
        end = time.monotonic() + 1
        while time.monotonic() < end:
            ready, _, _ = select.select([*self.taps], [], [], 0.2 if left else 0.03)
            if not ready and not left:
                break
            for tap in ready:
                packet, (_, _, kind, *_) = tap.recvfrom(4096)
                if kind != socket.PACKET_OUTGOING and (found := _read(packet, self.taps[tap], by_number)):
                    seen[found[0]].append(found[1])
                    left.discard(found[0])
        return seen


@contextmanager
def running() -> Iterator[Wires]:
    with made("fw", *NETS) as names, ExitStack() as stack:
        wires = Wires(names)
        for zone, (net4, net6) in NETS.items():
            there = [f"{net4}{host}/24" for host in HOSTS] + [f"{net6}{host}/64" for host in HOSTS]
            here = [f"{net4}1/24", f"{net6}1/64"]
            cable((names["fw"], f"{zone}0", here), (names[zone], "eth0", there))
            _acquaint(names, zone)
            for family, net in (("-4", net4), ("-6", net6)):
                run("ip", "-n", names[zone], family, "route", "add", "default", "via", f"{net}1")
                for host in OUTSIDE if zone == "wan" else ():
                    run("ip", "-n", names[zone], family, "route", "add", f"{net}{host}", "via", f"{net}1")
            within(names[zone], partial(_open, wires, zone, stack))
        for setting in (
            "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.conf.all.send_redirects=0",
            "net.ipv4.icmp_ratemask=0", "net.ipv6.icmp.ratelimit=0",
        ):  # fmt: skip
            run(*inside(names["fw"]), "sysctl", "-qw", setting)
        within(names["fw"], partial(_open_netlink, wires, stack))
        yield wires


def _acquaint(names: Mapping[str, str], zone: str) -> None:
    """Both ends know each other's hardware, so that no packet waits for an answer to a question."""
    hardware = [json.loads(run("ip", "-j", "-n", *each))[0]["address"] for each in (
        (names["fw"], "link", "show", f"{zone}0"), (names[zone], "link", "show", "eth0"),
    )]  # fmt: skip
    known = "neigh replace {} lladdr {} dev {} nud permanent\n"
    here = [known.format(net + host, hardware[1], f"{zone}0") for net in NETS[zone] for host in HOSTS]
    there = [known.format(f"{net}1", hardware[0], "eth0") for net in NETS[zone]]
    for name, lines in ((names["fw"], here), (names[zone], there)):
        run("ip", "-n", name, "-batch", "-", given="".join(lines))


def within(name: str, work: Callable[[], T]) -> T:
    """In a namespace: a thread enters it, works there, and is gone afterwards."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(_entered, name, work).result()


def _entered(name: str, work: Callable[[], T]) -> T:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{name}") as file:
        if libc.setns(file.fileno(), _NEWNET):
            raise OSError(ctypes.get_errno(), f"no way into {name}")
    return work()


def _open(wires: Wires, zone: str, stack: ExitStack) -> None:
    for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        wires.senders[zone, version] = stack.enter_context(socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW))
    tap = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)))
    tap.bind(("eth0", 3))
    tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    wires.taps[tap] = zone


def _open_netlink(wires: Wires, stack: ExitStack) -> None:
    wires.netlink = stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12))
    wires.netlink.bind((0, 0))


# -- packets ------------------------------------------------------------------------------------------------------


def _built(shot: Shot) -> bytes:
    source, away = ipaddress.ip_address(shot.source), ipaddress.ip_address(shot.destination)
    name, _, kind = shot.service.partition("/")
    protocol = PROTOCOLS[name]
    body = _body(name, kind, shot.number, source.packed + away.packed + struct.pack("!II", 0, protocol))
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + source.packed + away.packed + body
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + source.packed + away.packed + body


def _body(name: str, kind: str, number: int, pseudo: bytes) -> bytes:
    mark = _MARK + struct.pack("!H", number)
    if name == "tcp":  # SYN
        return _summed(struct.pack("!HHIIBBHHH", number, int(kind), 7, 0, 0x50, 2, 1024, 0, 0) + mark, pseudo, 16)
    if name == "udp":
        return _summed(struct.pack("!HHHH", number, int(kind), 8 + len(mark), 0) + mark, pseudo, 6)
    if name in ("icmp", "icmpv6"):
        head = struct.pack("!BBHHH", KINDS[name][kind], 0, 0, number, 1)
        return _summed(head + mark.ljust(12, b"\0"), pseudo if name == "icmpv6" else b"", 2)
    if name == "sctp":  # INIT
        init = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
        head = struct.pack("!HHI", number, int(kind), 0)
        return head + struct.pack("<I", _crc32c(head + bytes(4) + init)) + init
    if name == "gre":
        return struct.pack("!HH", 0, 0x0800) + mark
    if name == "esp":
        return struct.pack("!I", 4711) + mark.ljust(20, b"\0")
    return _summed(bytes(14) + mark.ljust(10, b"\0"), pseudo if len(pseudo) > 20 else b"", 12)  # of OSPF


def _summed(body: bytes, pseudo: bytes, place: int) -> bytes:
    """With the Internet checksum of RFC 1071."""
    if pseudo:
        pseudo = pseudo[:-8] + struct.pack("!I", len(body)) + pseudo[-4:]
    data = pseudo + body
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return body[:place] + struct.pack("!H", ~total & 0xFFFF) + body[place + 2 :]


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _read(packet: bytes, zone: str, shots: Mapping[int, Shot]) -> tuple[int, Seen] | None:
    """The shot that it is, or is an answer to."""
    found = _parts(packet)
    if found is None:
        return None
    protocol, source, away, body = found
    if protocol in (1, 58) and body[0] in ((3, 11) if protocol == 1 else (1, 3, 4)) and (quoted := _parts(body[8:])):
        number = _number(quoted[0], quoted[3], back=False)
        if number in shots and shots[number].zone == zone:
            return number, Seen(answer="prohibited" if (protocol, *body[:2]) in _PROHIBITED else "itself")
        return None
    number = _number(protocol, body, back=True)
    shot = shots.get(number)
    if shot and shot.zone == zone and shot.source == away and shot.destination == source:
        return number, Seen(answer="itself")
    number = _number(protocol, body, back=False)
    port = struct.unpack("!H", body[2:4])[0] if protocol in (6, 17, 132) else 0
    return (number, Seen(zone, source, away, port)) if number in shots else None


_PROHIBITED = ((1, 3, 13), (58, 1, 1))


def _parts(packet: bytes) -> tuple[int, str, str, bytes] | None:
    """Protocol, source, destination, and what is behind the header."""
    if packet[:1] and packet[0] >> 4 == 4 and len(packet) >= 28:
        at = (packet[0] & 15) * 4
        return packet[9], socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), packet[at:]
    if packet[:1] and packet[0] >> 4 == 6 and len(packet) >= 48:
        ends = (socket.inet_ntop(socket.AF_INET6, packet[at : at + 16]) for at in (8, 24))
        return packet[6], next(ends), next(ends), packet[40:]
    return None


def _number(protocol: int, body: bytes, *, back: bool) -> int:
    """Of a packet, or `back`: of what it answers, by what answers keep."""
    if protocol in (1, 58):
        return int(struct.unpack("!H", body[4:6])[0])
    at = body.find(_MARK)
    if at >= 0 and len(body) >= at + 6 and not (back and protocol in (6, 17, 132)):
        return int(struct.unpack("!H", body[at + 4 : at + 6])[0])
    if protocol in (6, 17, 132):
        return int(struct.unpack("!H", body[2:4] if back else body[:2])[0])
    return 0
