"""
Answers of name servers, from the octets (RFC 1035 section 4), with their signature checked (RFC 8945).

dnspython reads each record's data and checks the signature. The rest is read here: dnspython makes a set of each
record and a message of the sets, which takes longer than everything else when a large zone is transferred.
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dns.flags
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig

_HEADER, _QUESTION, _RECORD = struct.Struct("!HHHHHH"), struct.Struct("!HH"), struct.Struct("!HHIH")
_PLAIN = re.compile(rb"[A-Za-z0-9_*/-]+")
_POINTER = 0xC0
MAX_NAME = 4 * 255  # characters: each octet may be written as \\DDD


_validate: Callable[..., Any] = dns.tsig.validate


class Malformed(ValueError):
    """This is no DNS message."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `owner` is in lower case, with its dot at the end."""

    owner: str
    rtype: int
    ttl: int
    rdata: dns.rdata.Rdata


@dataclass(frozen=True, slots=True)
class Answer:
    """One message of an answer. `context` goes into the reading of the next one."""

    number: int
    flags: int
    question: str  # the name that was asked for, or ""
    records: list[Record]
    signed: bool
    context: Any

    @property
    def rcode(self) -> dns.rcode.Rcode:
        return dns.rcode.from_flags(self.flags, 0)

    def is_to(self, number: int, opcode: dns.opcode.Opcode, name: str) -> bool:
        """Whether this answers what was asked."""
        asked = self.number == number and dns.opcode.from_flags(self.flags) == opcode and self.flags & dns.flags.QR
        return bool(asked) and self.question in ("", name)


def read(wire: bytes, key: dns.tsig.Key, mac: bytes, context: Any = None) -> Answer:
    """
    One message of the answer to a query that was signed with `key` and `mac`; `context` is that of the one before.

    A signature that is there is right; whether there must be one is for others to say. Raises Malformed, or
    DNSException.
    """
    try:
        return _read(wire, key, mac, context)
    except (struct.error, IndexError):
        raise Malformed("the message is shorter than it says") from None


def _read(wire: bytes, key: dns.tsig.Key, mac: bytes, context: Any) -> Answer:
    number, flags, questions, answers, authorities, others = _HEADER.unpack_from(wire)
    at, question, known = _HEADER.size, "", dict[int, str]()
    for _ in range(questions):
        question, at = _name(wire, at, known)
        at += _QUESTION.size
    records = []
    for _ in range(answers):
        owner, at = _name(wire, at, known)
        rtype, rclass, ttl, length = _RECORD.unpack_from(wire, at)
        at += _RECORD.size
        if rclass != dns.rdataclass.IN:
            raise Malformed("a record is of another class than IN")
        records.append(Record(owner, rtype, ttl, dns.rdata.from_wire(rclass, rtype, wire, at, length)))
        at += length
    signed = False
    for _ in range(authorities + others):
        start = at
        owner, at = _name(wire, at, known)
        rtype, rclass, ttl, length = _RECORD.unpack_from(wire, at)
        at += _RECORD.size + length
        signed = (rtype, rclass) == (dns.rdatatype.TSIG, dns.rdataclass.ANY)
        if signed:
            tsig = dns.rdata.from_wire(rclass, rtype, wire, at - length, length)
            name, now = dns.name.from_text(owner), int(time.time())
            context = _validate(wire, key, name, tsig, now, mac, start, context, True)
            break
    if at != len(wire):
        raise Malformed("the message is longer than it says")
    if context is not None and not signed:
        context.update(wire)  # it is covered by the signature of a message after it
    return Answer(number, flags, question, records, signed, context)


def _name(wire: bytes, at: int, known: dict[int, str]) -> tuple[str, int]:
    """The name at an offset, and the offset after it; `known` are names that stand alone at theirs."""
    start, text, after, lowest = at, "", 0, at
    while length := wire[at]:
        if length >= _POINTER:
            after = after or at + 2
            at = (length - _POINTER) << 8 | wire[at + 1]
            if at >= lowest:
                raise Malformed("a name points at what comes after it")
            lowest = at
            if at in known:
                text += known[at]
                break
            continue
        label = wire[at + 1 : at + 1 + length]
        if length > 63 or len(label) < length:
            raise Malformed("a label is longer than it can be")
        plain = label.decode() if _PLAIN.fullmatch(label) else dns.name.Name([label]).to_text()
        text += plain.lower() + "."
        at += length + 1
    if len(text) > MAX_NAME:
        raise Malformed("a name is longer than it can be")
    known[start] = text
    return text or ".", after or at + 1
