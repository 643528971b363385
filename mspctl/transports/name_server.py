"""
Name servers over TCP: zone transfers, serials and dynamic updates, each signed with TSIG.

A transfer is whole, or it is an error: one that ends early, ends otherwise than it began, or is not signed from its
first message to its last is never taken for a small zone.

    NoConnection  nobody listens there
    Unreachable   no answer, or no end of it; of an update nobody knows whether it was done
    Refused       the server will not, and has done nothing; the message says who has to allow it, and where
    Stale         a prerequisite does not hold, and nothing was done
    TargetError   an answer that makes no sense

Sources: RFC 5936 (AXFR), RFC 2136 (updates), RFC 8945 (TSIG), RFC 7766 (many queries over one connection).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.tsig
import dns.update

from mspctl.errors import Stale, TargetError, Unreachable
from mspctl.transports import dns_wire
from mspctl.transports.dns_wire import Answer, Malformed, Record

MAX_RECORDS = 1_000_000  # of one zone
LONGEST = 600.0  # seconds that one transfer may take
ATTEMPTS = 3  # at a transfer that breaks off: Knot gives up a client that was too busy to read for half a second
TRANSFERS = 5  # under way at once from one server: of more than ten (transfers-out) BIND refuses some with SERVFAIL
AT_ONCE = 16  # queries under way on one connection; BIND reads no further than 23

_turns: dict[tuple[str, int], threading.Semaphore] = {}  # of transfers, by server

_STALE = frozenset({dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN})


class Refused(TargetError):
    """The server answered, and did nothing of what it was asked."""


class NoConnection(Unreachable):
    """Nobody listens there, or nobody can be asked who does: as true of the next zone."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a name server listens, and the key that it knows us by."""

    address: str
    port: int
    key: dns.tsig.Key = field(repr=False)  # it would print its secret
    timeout: float  # seconds of silence

    def __str__(self) -> str:
        return f"{self.address} port {self.port}"

    @property
    def key_name(self) -> str:
        return self.key.name.to_text(omit_final_dot=True)


@dataclass(frozen=True, slots=True)
class RRset:
    """Records of one name and type, as the server holds them."""

    owner: str  # in lower case, with its dot at the end
    rtype: int
    ttl: int
    rdatas: list[dns.rdata.Rdata]


@dataclass(frozen=True, slots=True)
class Transfer:
    """A whole zone at one serial, without its SOA record."""

    serial: int
    rrsets: Sequence[RRset]


class Connection:
    """One TCP connection, opened when it is needed; for one thread at a time."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._socket: socket.socket | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def transfer(self, zone: str) -> Transfer:
        """Every record of a zone. Raises Refused when the server does not give it away."""
        turn = _turns.setdefault((self.server.address, self.server.port), threading.Semaphore(TRANSFERS))
        with turn, self._told(f"transfer {zone}"):
            for _ in range(ATTEMPTS - 1):
                with suppress(EOFError, ConnectionResetError):
                    return self._transferred(zone)
                self.close()
            return self._transferred(zone)

    def _transferred(self, zone: str) -> Transfer:
        query = self._query(zone, dns.rdatatype.AXFR)
        return _whole(zone, (self._checked(answer, zone) for answer in self._answers(query)))

    def _checked(self, answer: Answer, zone: str) -> Answer:
        if answer.rcode != dns.rcode.NOERROR:
            raise _refused(answer.rcode, _NO_TRANSFER, zone, self.server)
        return answer

    def serials(self, zones: Sequence[str]) -> dict[str, int]:
        """The serial of each zone that the server answers for; all are asked over this connection."""
        found: dict[str, int] = {}
        waiting: dict[int, tuple[str, dns.message.Message]] = {}
        left = list(enumerate(zones))[::-1]
        with self._told("say the serials of its zones"):
            while left or waiting:
                while left and len(waiting) < AT_ONCE:
                    number, zone = left.pop()
                    query = self._query(zone, dns.rdatatype.SOA, number % 65536)
                    self._send(query)
                    waiting[query.id] = zone, query
                wire = self._receive(self._soon())
                number = int.from_bytes(wire[:2], "big")
                if number not in waiting:
                    raise TargetError(f"{self.server} answers what it was not asked")
                zone, query = waiting.pop(number)
                with suppress(Malformed, dns.exception.DNSException):  # of this zone we know nothing
                    found |= _serial(zone, self._parsed(wire, query))
        return found

    def update(self, zone: str, message: dns.update.UpdateMessage) -> None:
        """Send one update, which was signed; returns when the server says that it was done."""
        with self._told(f"change {zone}"):
            answer = next(self._answers(message))
            rcode = answer.rcode
            if rcode in _STALE:
                raise Stale(f"{zone} was changed on the server since it was read")
            if rcode != dns.rcode.NOERROR:
                raise _refused(rcode, _NO_UPDATE, zone, self.server)
            if not answer.signed:
                raise TargetError(f"{self.server} did not sign its answer")

    # -- messages

    def _query(self, zone: str, rtype: dns.rdatatype.RdataType, number: int | None = None) -> dns.message.Message:
        query = dns.message.make_query(f"{zone}.", rtype, flags=0, id=number)
        query.use_tsig(self.server.key)
        return query

    def _answers(self, query: dns.message.Message) -> Iterator[Answer]:
        """The messages of an answer, as they come; who asks knows which is the last."""
        end = time.monotonic() + LONGEST
        wire, context = self._ask(query), None
        while True:
            answer = self._parsed(wire, query, context)
            context = answer.context
            yield answer
            wire = self._receive(min(self._soon(), end))

    def _parsed(self, wire: bytes, query: dns.message.Message, context: Any = None) -> Answer:
        answer = dns_wire.read(wire, self.server.key, query.mac or b"", context)
        if not answer.is_to(query.id, query.opcode(), query.question[0].name.to_text()):
            raise TargetError(f"{self.server} answers what it was not asked")
        return answer

    # -- octets

    def _ask(self, query: dns.message.Message) -> bytes:
        """The first message of the answer. A connection that the server has closed meanwhile is opened again."""
        if self._socket is not None:
            with suppress(EOFError, ConnectionError):
                self._send(query)
                return self._receive(self._soon())
            self.close()
        self._send(query)
        return self._receive(self._soon())

    def _soon(self) -> float:
        return time.monotonic() + self.server.timeout

    def _send(self, query: dns.message.Message) -> None:
        wire = query.to_wire(prepend_length=True)
        if self._socket is None:
            self._socket = self._connected()
        self._socket.settimeout(self.server.timeout)
        self._socket.sendall(wire)

    def _connected(self) -> socket.socket:
        try:
            return socket.create_connection((self.server.address, self.server.port), self.server.timeout)
        except OSError as error:
            raise NoConnection(f"{self.server} cannot be reached ({error.strerror or error})") from None

    def _receive(self, until: float) -> bytes:
        return self._exactly(int.from_bytes(self._exactly(2, until), "big"), until)

    def _exactly(self, count: int, until: float) -> bytes:
        assert self._socket is not None, "somebody has asked something"
        octets = bytearray()
        while len(octets) < count:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            part = self._socket.recv(count - len(octets))
            if not part:
                raise EOFError
            octets += part
        return bytes(octets)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What goes wrong, in one line; the connection is not used any further then."""
        try:
            yield
        except (Refused, Stale):
            raise  # a whole answer
        except TargetError:
            self.close()
            raise
        except (OSError, EOFError, Malformed, dns.exception.DNSException) as failure:
            self.close()
            raise _error(failure, what, self.server) from None


def _whole(zone: str, answers: Iterable[Answer]) -> Transfer:
    """A zone from the messages of its transfer: all that stands between one SOA record and the same again."""
    records: list[Record] = []
    ends: list[Record] = []
    signed = False
    for number, answer in enumerate(answers):
        signed = answer.signed
        records += answer.records
        ends += [record for record in answer.records if record.rtype == dns.rdatatype.SOA]
        if number == 0 and not (signed and ends and records[0] is ends[0]):
            what = "does not begin with its SOA record" if signed else "is not signed"
            raise TargetError(f"the transfer of {zone} {what}")
        if len(ends) > 1 or len(records) > MAX_RECORDS:
            break
    if len(records) > MAX_RECORDS:
        raise TargetError(f"{zone} holds more than {MAX_RECORDS:,} records")
    if foreign := [end.owner for end in ends if end.owner != f"{zone}."]:
        raise TargetError(f"the server was asked for {zone}, and answers for {foreign[0].rstrip('.')}")
    if records[-1] is not ends[1] or not signed:
        raise TargetError(f"the transfer of {zone} goes on after its end, or its end is not signed")
    if ends[0].rdata != ends[1].rdata:
        raise TargetError(f"{zone} was changed while it was transferred, and is not whole (run again)")
    return Transfer(_serial_of(ends[0]), _grouped(records[1:-1]))


def _grouped(records: Iterable[Record]) -> list[RRset]:
    groups: dict[tuple[str, int], RRset] = {}
    for record in records:
        key = record.owner, record.rtype
        if key not in groups:
            groups[key] = RRset(record.owner, record.rtype, record.ttl, [])
        groups[key].rdatas.append(record.rdata)
    return [*groups.values()]


def _serial(zone: str, answer: Answer) -> dict[str, int]:
    if answer.rcode != dns.rcode.NOERROR or not answer.signed or not answer.flags & dns.flags.AA:
        return {}
    found = [r for r in answer.records if r.rtype == dns.rdatatype.SOA and r.owner == f"{zone}."]
    return {zone: _serial_of(found[0])} if found else {}


def _serial_of(soa: Record) -> int:
    rdata: Any = soa.rdata
    serial: int = rdata.serial
    return serial


# -- what to do about it --------------------------------------------------------------------------------------

_TSIG: dict[type[Exception], str] = {
    dns.tsig.PeerBadKey: (
        "the server does not know the TSIG key {key} ({algorithm}), or does not let it {what}"
        " (Knot says the same of both: there must be an acl with that action)"
    ),
    dns.tsig.PeerBadSignature: "the server has another secret for the TSIG key {key} than we have",
    dns.tsig.PeerBadTime: "the clocks here and on the server are further apart than TSIG allows, 5 minutes (set both)",
}
_SKEWED = "the server's answer was signed more than 5 minutes from now: set the clocks here and there"


def _error(failure: Exception, what: str, server: Server) -> TargetError:
    if isinstance(failure, TimeoutError):
        return Unreachable(f"{server} gave no answer within {server.timeout:g} seconds")
    if isinstance(failure, EOFError | ConnectionResetError):
        return Unreachable(f"{server} closed the connection before its answer was whole (it was asked to {what})")
    if isinstance(failure, OSError):
        return Unreachable(f"{server} gave no answer ({failure.strerror or failure})")
    if said := _TSIG.get(type(failure)):
        algorithm = server.key.algorithm.to_text(omit_final_dot=True)
        return Refused(said.format(key=server.key_name, algorithm=algorithm, what=what))
    if isinstance(failure, dns.tsig.BadTime):
        return TargetError(_SKEWED)
    if isinstance(failure, dns.tsig.BadSignature | dns.tsig.BadKey | dns.tsig.BadAlgorithm):
        return TargetError(f"the answer of {server} is not signed with the TSIG key {server.key_name}")
    text = (str(failure) or type(failure).__name__).splitlines()[0].rstrip(".")
    return TargetError(f"the answer of {server} makes no sense ({text})")


_ABSENT = (
    "the server has no zone {zone}, and over DNS none can be made. On BIND: write {zone}.zone with SOA and NS, then"
    ' rndc addzone {zone} \'{{ type primary; file "{zone}.zone"; allow-transfer {{ key "{key}"; }};'
    ' allow-update {{ key "{key}"; }}; }};\' (with allow-new-zones yes), or a zone statement in named.conf.'
    " On Knot: knotc conf-begin, conf-set 'zone[{zone}]', conf-commit"
)
_NO_TRANSFER = {
    dns.rcode.NOTAUTH: _ABSENT,
    dns.rcode.REFUSED: (
        "the server does not let the TSIG key {key} transfer {zone}"
        ' (BIND: allow-transfer {{ key "{key}"; }}; Knot: an acl with action transfer)'
    ),
    dns.rcode.SERVFAIL: (
        "the server has {zone}, and cannot answer for it (SERVFAIL; its log says why; BIND also when it gives away"
        " as many zones as transfers-out lets it)"
    ),
}
_NO_UPDATE = {
    dns.rcode.REFUSED: (
        "the server refuses this change of {zone} by the TSIG key {key}; its log says why"
        " (BIND: allow-update or update-policy, a frozen zone, an MX or NS in the zone without address, check-names"
        " (with check_names: true the plan names what that minds); Knot: what it takes to be no zone)"
    ),
    dns.rcode.NOTAUTH: "the server is not the primary one of {zone}, or does not have it",
    dns.rcode.NOTIMP: "the server takes no dynamic updates",
    dns.rcode.SERVFAIL: (
        "the server could not change {zone} (SERVFAIL); its log says why (often a journal that it cannot write,"
        " or on BIND more than 100 records in an RRset)"
    ),
}


def _refused(rcode: dns.rcode.Rcode, known: Mapping[dns.rcode.Rcode, str], zone: str, server: Server) -> Refused:
    text = known.get(rcode, f"the server answers {dns.rcode.to_text(rcode)} for {{zone}}")
    return Refused(text.format(zone=zone, key=server.key_name))
