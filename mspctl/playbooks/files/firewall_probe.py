"""
Sends declared packets and says what became of each: sent along to a probe host, and kept nowhere.

Ordinary sockets of an ordinary user, no packet but the declared ones. What it tells apart: an answer; a refusal by
whoever is there, which means that the packet came through; a router or firewall that says no; and silence. It judges
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, Optional, Tuple

AT_ONCE = 16
TRIES = 3  # of what nobody sends again by himself, within the time
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
# linux/in.h, linux/in6.h, linux/errqueue.h
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
NOBODY_LISTENS = {4: (3, 3), 6: (1, 4)}  # type and code of ICMP: there is no such port
PING = {4: (socket.IPPROTO_ICMP, 8, 0), 6: (58, 128, 129)}  # protocol, what is sent, what comes back

Outcome = Tuple[str, str]


def answer(ask: Mapping[str, Any]) -> Dict[str, Any]:
    """
    `ask`: `rounds`, lists of packets, one list after the other. A packet: `to` (an address, or a name), `family`
    (4 or 6), `protocol` (tcp, udp or ping), `port`, `send` (hex, for udp), `within` (seconds).

    {"rounds": [[{"outcome", "said", "seconds"}]]}; outcomes are answered, refused, rejected, silent, unsent.
    """
    with ThreadPoolExecutor(AT_ONCE) as executor:
        return {"rounds": [list(executor.map(sent, packets)) for packets in ask["rounds"]]}


def sent(packet: Mapping[str, Any]) -> Dict[str, Any]:
    begun = time.monotonic()
    try:
        outcome, said = HOW[packet["protocol"]](packet, address(packet))
    except OSError as error:
        outcome, said = "unsent", error.strerror or str(error)
    return {"outcome": outcome, "said": said, "seconds": round(time.monotonic() - begun, 3)}


def address(packet: Mapping[str, Any]) -> Any:
    """Of the family that is meant, as sockets want it."""
    found = socket.getaddrinfo(packet["to"], packet["port"], FAMILIES[packet["family"]], socket.SOCK_DGRAM)
    return found[0][4]


def judged(error: OSError) -> Outcome:
    """What an error says of the way of a packet."""
    if isinstance(error, socket.timeout) or error.errno == errno.ETIMEDOUT:
        return "silent", ""
    if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "refused", ""
    if error.errno in (errno.EHOSTUNREACH, errno.EACCES):
        return "rejected", ""
    raise error


def tcp(packet: Mapping[str, Any], where: Any) -> Outcome:
    with socket.socket(FAMILIES[packet["family"]], socket.SOCK_STREAM) as made:
        made.settimeout(packet["within"])
        try:
            made.connect(where)
        except OSError as error:
            return judged(error)
    return "answered", ""


def udp(packet: Mapping[str, Any], where: Any) -> Outcome:
    family = packet["family"]
    with socket.socket(FAMILIES[family], socket.SOCK_DGRAM) as made:
        made.setsockopt(*RECVERR[family], 1)
        made.connect(where)
        for patience in tries(packet):
            made.settimeout(patience)
            try:
                made.send(bytes.fromhex(packet["send"]))
                made.recv(65535)
            except OSError as error:
                outcome = told(made, family, where[0]) or judged(error)
                if outcome[0] != "silent":
                    return outcome
            else:
                return "answered", ""
    return "silent", ""


def told(made: socket.socket, family: int, to: str) -> Optional[Outcome]:
    """What ICMP says, and who said it."""
    with contextlib.suppress(OSError):
        _, extra, _, _ = made.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        for level, kind, data in extra:
            if (level, kind) == RECVERR[family]:
                _, origin, type_, code = struct.unpack_from("=IBBB", data)
                at = 20 if family == 4 else 24  # of the address, in what names who said it
                who = socket.inet_ntop(FAMILIES[family], data[at : at + (4 if family == 4 else 16)])
                if origin not in (2, 3):  # not of ICMP
                    continue
                here = (type_, code) == NOBODY_LISTENS[family] and who == to
                return ("refused" if here else "rejected"), "says " + who
    return None


def ping(packet: Mapping[str, Any], where: Any) -> Outcome:
    family = packet["family"]
    protocol, request, reply = PING[family]
    mark = os.urandom(16)
    with pinging(FAMILIES[family], protocol) as made:
        made.connect((where[0], 0, *where[2:]))
        for number, patience in enumerate(tries(packet)):
            until = time.monotonic() + patience
            try:
                made.send(echo(request, number, mark))
                while time.monotonic() < until:
                    made.settimeout(max(0.01, until - time.monotonic()))
                    got = made.recv(65535)
                    if family == 4 and made.type == socket.SOCK_RAW:
                        got = got[(got[0] & 15) * 4 :]
                    if got[:1] == bytes([reply]) and mark in got:
                        return "answered", ""
            except OSError as error:
                outcome = judged(error)
                if outcome[0] != "silent":
                    return outcome
    return "silent", ""


def pinging(family: int, protocol: int) -> socket.socket:
    """As the system lets us: for everybody in net.ipv4.ping_group_range, else for root."""
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except OSError:
        return socket.socket(family, socket.SOCK_RAW, protocol)


def echo(request: int, number: int, mark: bytes) -> bytes:
    """The kernel fills in the checksum of ICMPv6, and all but the number of a ping that is no raw one."""
    message = struct.pack("!BBHHH", request, 0, 0, os.getpid() & 0xFFFF, number) + mark
    total = sum(struct.unpack("!12H", message))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return message[:2] + struct.pack("!H", ~total & 0xFFFF) + message[4:]


def tries(packet: Mapping[str, Any]) -> List[float]:
    return [packet["within"] / TRIES] * TRIES


HOW = {"tcp": tcp, "udp": udp, "ping": ping}
