"""
Asks the DNS about zones: the zone above for the delegation, every name server for itself, and names as others see them.

Whatever answers is somebody else's, and may be wrong on purpose. So each step leads down the tree or is counted, each
question has a timeout and each zone an end, and what was not learnt is UNKNOWN with a reason. No question is asked
twice in a run. Sources: RFC 1034 (the walk), RFC 2308 (what is not there), RFC 4035 (DS and signatures).
"""

from __future__ import annotations

import errno
import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset

from mspctl.driver import translated
from mspctl.errors import TargetError, Unreachable
from mspctl.kinds import dns as kind
from mspctl.kinds import spf
from mspctl.kinds.answers import Answer, Delegation, Server, Serves, Status, ZoneQuestion, ZoneSeen, is_elsewhere

TRIES = 2  # of one question, over UDP
SILENT = 3  # questions without an answer, after which an address that never gave one is not asked any more
TRIED = 6  # addresses of a zone that we only pass through
HOSTS = 20  # name servers of a zone that we look at
ADDRESSES = 6  # of one of them
ALIASES = 10  # CNAMEs in a row
DEPTH = 4  # name servers whose names have to be looked up first, in a row
QUESTIONS = 2000  # about one zone
VALUES = 500  # of one answer
QUERIES = 64  # at once, over all zones
PAYLOAD = 1232  # octets of an answer that fit into one packet everywhere; longer ones come over TCP

_NO_ROUTE = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM}

Progress = Callable[[int], None]


class Address(NamedTuple):
    ip: str
    port: int = 53


@dataclass(frozen=True, slots=True)
class Asking:
    """Where to ask, and how long; times in seconds."""

    resolvers: tuple[Address, ...] = ()  # those of this machine when there are none here, and no roots
    roots: tuple[str, ...] = ()  # walk down from these instead
    port: int = 53  # of all that are no resolvers
    inside: bool = False  # name servers may have addresses that the Internet does not know
    timeout: float = 3
    zone_timeout: float = 60
    settle: float = 5  # until servers with different serials are asked again
    at_once: int = 16  # zones


class _UnansweredError(Unreachable):
    """No answer, or none that makes sense; says why."""


class _NoRouteError(_UnansweredError):
    """It is us who cannot ask."""


class _EndedError(TargetError):
    """A zone has used up what it may."""


def look(
    zones: Sequence[ZoneQuestion], asking: Asking, progress: Progress = lambda done: None
) -> dict[ZoneQuestion, ZoneSeen]:
    """What can be learnt about each zone. Never raises for what the DNS says or does not say."""
    network = _Network(asking)
    inner, outer = ThreadPoolExecutor(QUERIES), ThreadPoolExecutor(asking.at_once)
    try:
        jobs = {outer.submit(_look, zone, network, inner): zone for zone in zones}
        seen = {}
        for job in as_completed(jobs):
            seen[jobs[job]] = job.result()
            progress(1)
        return seen
    finally:
        network.stop.set()
        outer.shutdown(cancel_futures=True)
        inner.shutdown(cancel_futures=True)


def _look(zone: ZoneQuestion, network: _Network, executor: Executor) -> ZoneSeen:
    view = _View(zone, network, executor)
    why = ""
    try:
        with translated():
            view.look()
    except TargetError as error:
        why = str(error)
    return ZoneSeen(view.delegation, view.servers, dict(view.answers), why or view.why)


# -- questions and messages -----------------------------------------------------------------------------------

_Key = tuple[Address, dns.name.Name, str, bool]


@dataclass(frozen=True, slots=True)
class _Cut:
    """A zone that we passed through: its name servers, and the addresses that came with their names."""

    hosts: tuple[dns.name.Name, ...]
    glue: Mapping[dns.name.Name, tuple[str, ...]]


class _Network:
    """All messages of a run, each asked for once, by whichever zone wants it first."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.resolvers = asking.resolvers or (() if asking.roots else _of_this_machine())
        self.cuts: dict[dns.name.Name, _Cut] = {}
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._kept: dict[_Key, Future[dns.message.Message]] = {}
        self._silence: dict[str, int] = {}  # questions that an address left without an answer; none once it gave one
        self._spoke: set[str] = set()
        if asking.roots:
            self.cuts[dns.name.root] = _Cut((dns.name.root,), {dns.name.root: asking.roots})

    def may_ask(self, ip: str) -> bool:
        """Whether a stranger's record may make us send a packet there."""
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return False
        return not address.is_multicast and (self.asking.inside or address.is_global)

    def share(self, address: Address, name: dns.name.Name, rtype: str, recurse: bool) -> dns.message.Message:
        """As `ask`, for what more than one zone may want to know: asked once, and kept."""
        key = (address, name, rtype, recurse)
        with self._lock:
            kept = self._kept.get(key)
            answer = self._kept[key] = kept or Future()
        if kept is None:
            try:
                answer.set_result(self.ask(address, name, rtype, recurse))
            except BaseException as error:
                answer.set_exception(error)
                raise
        return answer.result()

    def ask(self, address: Address, name: dns.name.Name, rtype: str, recurse: bool) -> dns.message.Message:
        """The message that answers; raises _UnansweredError."""
        if self._silence.get(address.ip, 0) >= SILENT:
            raise _UnansweredError(f"{_said(address)} gave no answer to {SILENT} questions")
        query = dns.message.make_query(name, rtype, want_dnssec=True, payload=PAYLOAD)
        # Checking is disabled, so that we see what is wrong with signatures instead of a refusal.
        query.flags = dns.flags.RD | dns.flags.CD if recurse else 0
        why = ""
        for _ in range(TRIES):
            answer, said = self._try(address, query, over_tcp=False)
            if answer is not None:
                return answer
            why = why or said
        # A server that is alive may be limiting how often it answers over UDP.
        answer = self._try(address, query, over_tcp=True)[0] if address.ip in self._spoke else None
        if answer is None:
            self._unheard(address)
            raise _UnansweredError(why)
        return answer

    def _try(
        self, address: Address, query: dns.message.Message, *, over_tcp: bool
    ) -> tuple[dns.message.Message | None, str]:
        """The answer, or why there is none."""
        (ip, port), timeout = address, self.asking.timeout
        try:
            if over_tcp:
                answer = dns.query.tcp(query, ip, timeout, port)
            else:
                answer = dns.query.udp_with_fallback(query, ip, timeout, port, ignore_unexpected=True)[0]
        except dns.exception.Timeout:
            return None, f"{_said(address)} gave no answer within {timeout:g} s"
        except OSError as error:
            if error.errno in _NO_ROUTE:
                raise _NoRouteError(f"there is no way from here to {_said(address)}") from None
            return None, f"{_said(address)} cannot be reached ({error.strerror or 'connection lost'})"
        except (dns.exception.DNSException, ValueError, EOFError, IndexError, KeyError) as error:
            self._heard(address)
            return None, f"{_said(address)} answers with what is no message of the DNS ({type(error).__name__})"
        self._heard(address)
        if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and query.edns >= 0:
            query.use_edns(False)  # it is older than EDNS
            return None, f"{_said(address)} answers {dns.rcode.to_text(answer.rcode())}"
        return answer, ""

    def _heard(self, address: Address) -> None:
        with self._lock:
            self._spoke.add(address.ip)
            self._silence.pop(address.ip, None)

    def _unheard(self, address: Address) -> None:
        with self._lock:
            if address.ip not in self._spoke:
                self._silence[address.ip] = self._silence.get(address.ip, 0) + 1


def _of_this_machine() -> tuple[Address, ...]:
    try:
        found = dns.resolver.Resolver().nameservers
    except (dns.exception.DNSException, OSError):
        return ()
    return tuple(Address(str(ip)) for ip in found)


def _said(address: Address) -> str:
    if address.port == 53:
        return address.ip
    return f"[{address.ip}]:{address.port}" if ":" in address.ip else f"{address.ip}:{address.port}"


# -- one zone -------------------------------------------------------------------------------------------------


@dataclass
class _View:
    """One zone, as far as we know it by now."""

    zone: ZoneQuestion
    network: _Network
    executor: Executor
    delegation: Delegation = field(default_factory=lambda: Delegation(Status.UNKNOWN, why="it was not asked"))
    servers: tuple[Server, ...] = ()
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    why: str = ""
    asked: int = 0

    def __post_init__(self) -> None:
        self.name = dns.name.from_text(self.zone.name)
        self.ends = time.monotonic() + self.network.asking.zone_timeout

    def look(self) -> None:
        try:
            self.delegation, glue = self._delegated()
        except _UnansweredError as error:
            self.delegation = Delegation(Status.UNKNOWN, why=str(error))
            return
        if self.delegation.status is not Status.FOUND or is_elsewhere(self.zone, self.delegation):
            return
        self._look_at_servers(self.delegation.hosts | self.zone.hosts, glue)
        if any(server.serves is Serves.YES for server in self.servers):
            self.lookup(self.zone.name, "NS")
            self._look_at_keys()
            self._look_at_mail()

    def ask(self, address: Address, name: dns.name.Name, rtype: str, *, recurse: bool = False) -> dns.message.Message:
        self.asked += 1
        if self.network.stop.is_set():
            raise _EndedError("the run was ended")
        if self.asked > QUESTIONS:
            raise _EndedError(f"it takes more than {QUESTIONS:,} questions")
        if time.monotonic() > self.ends:
            raise _EndedError(f"it was not finished within {self.network.asking.zone_timeout:g} s")
        # Nobody else wants to know what a server says of the zone's own name.
        ask = self.network.ask if name == self.name and not recurse else self.network.share
        return ask(address, name, rtype, recurse)

    # -- names as others see them

    def lookup(self, name: str, rtype: str) -> Answer:
        """What the DNS says of a name, through its CNAMEs."""
        key = (name, rtype)
        if key not in self.answers:
            self.answers[key] = self._lookup(dns.name.from_text(name), rtype, 0)
        return self.answers[key]

    def _lookup(self, name: dns.name.Name, rtype: str, depth: int) -> Answer:
        passed = [name]
        try:
            while not (why := _endless(passed)):
                message = self._resolved(passed[-1], rtype, depth)
                led_to = _aliases(message, passed[-1], rtype)
                passed += led_to
                if found := _rrset(message, passed[-1], rtype):
                    return Answer(Status.FOUND, *_values(found), aliases=_names(passed[1:]))
                if not led_to:
                    status = Status.NOTHING if message.rcode() == dns.rcode.NXDOMAIN else Status.EMPTY
                    return Answer(status, aliases=_names(passed[1:]))
            return Answer(Status.NOTHING, aliases=_names(passed[1:]), why=why)
        except _UnansweredError as error:
            return Answer(Status.UNKNOWN, aliases=_names(passed[1:]), why=str(error))

    def _resolved(self, name: dns.name.Name, rtype: str, depth: int) -> dns.message.Message:
        """The message that answers with authority, or from a resolver."""
        if dns.name.root in self.network.cuts:
            return self._walked(name, rtype, depth)
        why = "there is no resolver to ask (write one into inventory/checks.yaml)"
        for address in self.network.resolvers:
            try:
                message = self.ask(address, name, rtype, recurse=True)
            except _UnansweredError as error:
                why = str(error)
                continue
            if message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                why = f"{_said(address)} answers {dns.rcode.to_text(message.rcode())}"
            elif not message.flags & (dns.flags.RA | dns.flags.AA):
                why = f"{_said(address)} does not resolve names for us"
            else:
                return message
        raise _UnansweredError(why)

    def _walked(self, name: dns.name.Name, rtype: str, depth: int) -> dns.message.Message:
        """Down from the deepest zone we know; every referral leads further down, so it ends."""
        cut = next(n for n in _upwards(name) if n in self.network.cuts)
        while True:
            message, lower = self._step(cut, name, rtype, depth)
            if lower is None:
                return message
            cut = lower

    def _step(
        self, cut: dns.name.Name, name: dns.name.Name, rtype: str, depth: int
    ) -> tuple[dns.message.Message, dns.name.Name | None]:
        """What the servers of zone `cut` say: an answer, or the zone below that they refer to."""
        why = "none has an address"
        for ip in islice(self._addresses(cut, depth), TRIED):
            try:
                message = self.ask(Address(ip, self.network.asking.port), name, rtype)
            except _UnansweredError as error:
                why = str(error)
                continue
            if _is_authoritative(message):
                return message, None
            lower = _referral(message, cut, name)
            if lower is not None:
                self.network.cuts[lower[0]] = lower[1]
                return message, lower[0]
            why = f"{ip} does not serve it"
        raise _UnansweredError(f"no name server of {_plain(cut)} answers: {why}")

    def _addresses(self, zone: dns.name.Name, depth: int) -> Iterator[str]:
        """Of the name servers of a zone that we pass through: first those that came with their names."""
        if zone in self.network.cuts:
            cut = self.network.cuts[zone]
            yield from (ip for host in cut.hosts for ip in cut.glue.get(host, ()) if self._may_ask(zone, ip))
            hosts: Iterable[dns.name.Name] = [host for host in cut.hosts if host not in cut.glue]
        else:
            answer = self._lookup(zone, "NS", depth)
            if answer.status is Status.UNKNOWN:
                raise _UnansweredError(answer.why)
            hosts = [dns.name.from_text(host) for host in answer.values]
        if depth >= DEPTH:
            raise _UnansweredError(f"more than {DEPTH} name servers in a row have to be looked up first")
        for host in hosts:
            for rtype in ("A", "AAAA"):
                yield from (ip for ip in self._lookup(host, rtype, depth + 1).values if self._may_ask(zone, ip))

    def _may_ask(self, zone: dns.name.Name, ip: str) -> bool:
        return zone == dns.name.root or self.network.may_ask(ip)

    # -- the zone above

    def _delegated(self) -> tuple[Delegation, Mapping[str, tuple[str, ...]]]:
        """What the zone above says, and the addresses that it gives for name servers."""
        parent = self._zone_above()
        why = "none has an address"
        for ip in islice(self._addresses(parent, 0), TRIED):
            address = Address(ip, self.network.asking.port)
            try:
                found = _delegation(self.ask(address, self.name, "NS"), self.name, parent)
                if found is None:
                    why = f"{ip} does not serve it"
                    continue
            except _UnansweredError as error:
                why = str(error)
                continue
            status, cut, itself = found
            glue = {_text(host): ips for host, ips in cut.glue.items()}
            ds = self._said_by(address, "DS")
            return Delegation(status, _text(parent), frozenset(_names(cut.hosts)), ds, itself), glue
        raise _UnansweredError(f"no name server of {_plain(parent)} answers: {why}")

    def _zone_above(self) -> dns.name.Name:
        for upper in _upwards(self.name.parent()):
            message = self._resolved(upper, "SOA", 0)
            for rrset in (*message.answer, *message.authority):
                if rrset.rdtype == dns.rdatatype.SOA and upper.is_subdomain(rrset.name):
                    return rrset.name
        return dns.name.root

    # -- its name servers

    def _look_at_servers(self, hosts: frozenset[str], glue: Mapping[str, tuple[str, ...]]) -> None:
        looked_at = sorted(hosts)[:HOSTS]
        if len(hosts) > HOSTS:
            self.why = f"it has {len(hosts)} name servers, and {HOSTS} of them were asked"
        found = [*self.executor.map(lambda host: self._found(host, glue.get(host, ())), looked_at)]
        addresses = [(host, ip) for host, ips, _ in found for ip in ips]
        self.servers = tuple(
            [
                *(server for _, _, server in found if server is not None),
                *self.executor.map(lambda pair: self._server(*pair), addresses),
            ]
        )
        if len({server.serial for server in self.servers if server.serves is Serves.YES}) > 1:
            # A change may be on its way from one to the other.
            self.network.stop.wait(self.network.asking.settle)
            again = [(s.host, s.address) for s in self.servers if s.serves is Serves.YES]
            asked = {pair: self._server(*pair) for pair in again}
            self.servers = tuple(asked.get((s.host, s.address), s) for s in self.servers)

    def _found(self, host: str, glue: tuple[str, ...]) -> tuple[str, tuple[str, ...], Server | None]:
        """The addresses at which a name server can be asked; without any, what is to be said of it."""
        answers = [self.lookup(host, rtype) for rtype in ("A", "AAAA")]
        known = [ip for answer in answers for ip in answer.values] or [*glue]
        usable = tuple(ip for ip in known if self.network.may_ask(ip))[:ADDRESSES]
        if usable:
            return host, usable, None
        if known:
            why = f"only addresses that the Internet does not know ({', '.join(known[:ADDRESSES])})"
            return host, (), Server(host, "", Serves.NOWHERE, why)
        if any(answer.status is Status.UNKNOWN for answer in answers):
            return host, (), Server(host, "", Serves.UNKNOWN, next(a.why for a in answers if a.why))
        return host, (), Server(host, "", Serves.NOWHERE, "no address")

    def _server(self, host: str, ip: str) -> Server:
        try:
            message = self.ask(Address(ip, self.network.asking.port), self.name, "SOA")
        except _NoRouteError as error:
            return Server(host, ip, Serves.UNKNOWN, str(error))
        except _UnansweredError as error:
            return Server(host, ip, Serves.SILENT, str(error))
        if message.rcode() != dns.rcode.NOERROR:
            return Server(host, ip, Serves.LAME, f"answers {dns.rcode.to_text(message.rcode())}")
        try:
            soa = _own(message, self.name, "SOA")
        except _UnansweredError as error:
            return Server(host, ip, Serves.LAME, str(error))
        if soa.status is not Status.FOUND:
            return Server(host, ip, Serves.LAME, "has no SOA record of it")
        return Server(host, ip, Serves.YES, soa=soa)

    # -- what it holds

    def _said_by(self, address: Address, rtype: str) -> Answer:
        """What one server says of the zone's own name."""
        try:
            return _own(self.ask(address, self.name, rtype), self.name, rtype)
        except _UnansweredError as error:
            return Answer(Status.UNKNOWN, why=str(error))

    def _look_at_keys(self) -> None:
        port = self.network.asking.port
        ips = (server.address for server in self.servers if server.serves is Serves.YES)
        answers = (self._said_by(Address(ip, port), "DNSKEY") for ip in ips)
        found = next((answer for answer in answers if answer.status is not Status.UNKNOWN), None)
        self.answers[self.zone.name, "DNSKEY"] = found or Answer(Status.UNKNOWN, why="no name server gives its keys")

    def _look_at_mail(self) -> None:
        for name in sorted(self.zone.mail):
            for value in self.lookup(name, "MX").values:
                host = value.split()[1]
                for rtype in ("A", "AAAA") if host != "." else ():
                    self.lookup(host, rtype)
        for name in sorted(self.zone.spf):
            spf.cost(name, self.lookup)


# -- what a message says --------------------------------------------------------------------------------------


def _is_authoritative(message: dns.message.Message) -> bool:
    return bool(message.flags & dns.flags.AA) and message.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


def _upwards(name: dns.name.Name) -> Iterator[dns.name.Name]:
    """The name and those above it, the root last."""
    yield name
    while name != dns.name.root:
        name = name.parent()
        yield name


_Found = tuple[dns.rrset.RRset, dns.rrset.RRset | None]  # records, and the signatures over them


def _rrset(message: dns.message.Message, name: dns.name.Name, rtype: str) -> _Found | None:
    wanted = dns.rdatatype.from_text(rtype)
    found = signed = None
    for rrset in message.answer:
        if rrset.name == name and rrset.rdclass == dns.rdataclass.IN:
            if rrset.rdtype == wanted:
                found = rrset
            elif rrset.rdtype == dns.rdatatype.RRSIG and rrset.covers == wanted:
                signed = rrset
    return (found, signed) if found else None


def _aliases(message: dns.message.Message, name: dns.name.Name, rtype: str) -> list[dns.name.Name]:
    """The names that the CNAMEs of one message lead to, from `name` on; of a circle as many as show it."""
    passed: list[dns.name.Name] = []
    while rtype != "CNAME" and len(passed) <= ALIASES and (alias := _rrset(message, name, "CNAME")):
        name = _targets(alias[0])[0]
        passed.append(name)
    return passed


def _endless(passed: Sequence[dns.name.Name]) -> str:
    """Why a chain of CNAMEs leads nowhere; "" while it may lead somewhere."""
    for n, name in enumerate(passed):
        if name in passed[:n]:
            return f"its CNAMEs lead in a circle: {' → '.join(map(_plain, passed[passed.index(name) : n + 1]))}"
    return f"more than {ALIASES} CNAMEs in a row" if len(passed) > ALIASES + 1 else ""


def _referral(
    message: dns.message.Message, cut: dns.name.Name, name: dns.name.Name
) -> tuple[dns.name.Name, _Cut] | None:
    """A zone strictly below `cut` on the way to `name`, and its name servers."""
    if message.rcode() != dns.rcode.NOERROR or message.answer:
        return None
    for rrset in message.authority:
        lower = rrset.name
        if rrset.rdtype == dns.rdatatype.NS and lower != cut and lower.is_subdomain(cut) and name.is_subdomain(lower):
            return lower, _cut(message, rrset, cut)
    return None


def _cut(message: dns.message.Message, ns: dns.rrset.RRset, within: dns.name.Name) -> _Cut:
    """Name servers and their addresses; only those that the server could know itself are believed."""
    hosts = tuple(sorted({*_targets(ns)}))
    glue: dict[dns.name.Name, tuple[str, ...]] = {}
    for rrset in message.additional:
        is_address = rrset.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
        if is_address and rrset.name in hosts and rrset.name.is_subdomain(within):
            ips = [rdata.to_text() for rdata in islice(rrset, ADDRESSES)]
            glue[rrset.name] = (*glue.get(rrset.name, ()), *ips)
    return _Cut(hosts, glue)


def _targets(rrset: dns.rrset.RRset) -> list[dns.name.Name]:
    """The names that records of NS or CNAME point at."""
    found: list[dns.name.Name] = [record.target for record in islice(cast(Iterable[Any], rrset), VALUES)]
    return found


def _delegation(
    message: dns.message.Message, zone: dns.name.Name, parent: dns.name.Name
) -> tuple[Status, _Cut, bool] | None:
    """What one of the parent's servers says of the zone; None when it is none of the parent's servers."""
    if _is_authoritative(message):
        if message.rcode() == dns.rcode.NXDOMAIN:
            return Status.NOTHING, _Cut((), {}), False
        found = _rrset(message, zone, "NS")
        if found is None:
            return Status.EMPTY, _Cut((), {}), False
        return Status.FOUND, _cut(message, found[0], zone), True
    referral = _referral(message, parent, zone)
    return (Status.FOUND, referral[1], False) if referral and referral[0] == zone else None


def _own(message: dns.message.Message, name: dns.name.Name, rtype: str) -> Answer:
    """What a server says with authority of one of its own names; raises _UnansweredError when it does not."""
    if not _is_authoritative(message):
        raise _UnansweredError("answers without authority")
    found = _rrset(message, name, rtype)
    return Answer(Status.FOUND, *_values(found)) if found else Answer(Status.EMPTY)


def _values(found: _Found) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rrset, signed = found
    if len(rrset) + len(signed or ()) > VALUES:
        raise _UnansweredError(f"{_plain(rrset.name)} has more than {VALUES} values")
    try:
        return _texts(rrset), _texts(signed) if signed else ()
    except ValueError as error:
        raise _UnansweredError(f"{_plain(rrset.name)} has a value that is none: {kind.first_line(error)}") from None


_AS_IS = frozenset({dns.rdatatype.SOA, dns.rdatatype.DS, dns.rdatatype.DNSKEY, dns.rdatatype.RRSIG})


def _names(names: Iterable[dns.name.Name]) -> tuple[str, ...]:
    return tuple(map(_text, names))


def _texts(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    return tuple(sorted(r.to_text() if rrset.rdtype in _AS_IS else kind.from_rdata(r) for r in rrset))


def _text(name: dns.name.Name) -> str:
    """A name in normal form; what cannot be folded stays as it was sent."""
    try:
        return kind.fold(name.to_text())
    except ValueError:
        return name.to_text().lower()


def _plain(name: dns.name.Name) -> str:
    return _text(name).removesuffix(".") or "the root"
