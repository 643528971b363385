"""
Asks the DNS about zones: the zone above for the delegation, every name server for itself, and names as others see them.

Whatever answers is somebody else's, and may be wrong on purpose. So each step leads down the tree or is counted, each
question has a timeout and each zone an end, and what was not learnt is UNKNOWN with a reason. No question is asked
twice in a run. Sources: RFC 1034 (the walk), RFC 2308 (what is not there), RFC 4035 (DS and signatures).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

import dns.flags
import dns.message
import dns.name
import dns.rcode

from mspctl.driver import translated
from mspctl.errors import TargetError
from mspctl.kinds import spf
from mspctl.kinds.answers import (
    Answer,
    Delegation,
    NameQuestion,
    Server,
    Serves,
    Status,
    ZoneQuestion,
    ZoneSeen,
    is_elsewhere,
)
from mspctl.transports import dns_reading as reading
from mspctl.transports.dns_questions import Address, Asking, Network, NoRoute
from mspctl.transports.dns_reading import ADDRESSES, Unanswered, plain, text

TRIED = 6  # addresses of a zone that we only pass through
HOSTS = 20  # name servers of a zone that we look at
DEPTH = 4  # name servers whose names have to be looked up first, in a row
QUESTIONS = 2000  # about one zone
QUERIES = 64  # at once, over all zones

Progress = Callable[[int], None]
Q = TypeVar("Q")
A = TypeVar("A")


class _Ended(TargetError):
    """A zone has used up what it may."""


def look(
    zones: Sequence[ZoneQuestion], asking: Asking, progress: Progress = lambda done: None
) -> dict[ZoneQuestion, ZoneSeen]:
    """What can be learnt about each zone. Never raises for what the DNS says or does not say."""
    network = Network(asking)
    inner = ThreadPoolExecutor(QUERIES)
    try:
        return _each(zones, lambda zone: _look(zone, network, inner), network, progress)
    finally:
        inner.shutdown(cancel_futures=True)


def look_up(
    names: Sequence[NameQuestion], asking: Asking, progress: Progress = lambda done: None
) -> dict[NameQuestion, Answer]:
    """What the DNS says of names; likewise."""
    network, idle = Network(asking), ThreadPoolExecutor(1)  # which a name alone needs not
    return _each(names, lambda name: _look_up(name, network, idle), network, progress)


def _each(questions: Sequence[Q], ask: Callable[[Q], A], network: Network, progress: Progress) -> dict[Q, A]:
    """Answers, side by side."""
    executor = ThreadPoolExecutor(network.asking.at_once)
    try:
        jobs = {executor.submit(ask, question): question for question in questions}
        found = {}
        for job in as_completed(jobs):
            found[jobs[job]] = job.result()
            progress(1)
        return found
    finally:
        network.stop.set()
        executor.shutdown(cancel_futures=True)


def _look_up(question: NameQuestion, network: Network, executor: Executor) -> Answer:
    try:
        with translated():
            return _View(ZoneQuestion(question.name), network, executor).lookup(question.name, question.rtype)
    except TargetError as error:
        return Answer(Status.UNKNOWN, why=str(error))


def _look(zone: ZoneQuestion, network: Network, executor: Executor) -> ZoneSeen:
    view = _View(zone, network, executor)
    why = ""
    try:
        with translated():
            view.look()
    except TargetError as error:
        why = str(error)
    return ZoneSeen(view.delegation, view.servers, dict(view.answers), why or view.why)


@dataclass
class _View:
    """One zone, as far as we know it by now."""

    zone: ZoneQuestion
    network: Network
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
        except Unanswered as error:
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
            raise _Ended("the run was ended")
        if self.asked > QUESTIONS:
            raise _Ended(f"it takes more than {QUESTIONS:,} questions")
        if time.monotonic() > self.ends:
            raise _Ended(f"it was not finished within {self.network.asking.zone_timeout:g} s")
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
            while not (why := reading.endless(passed)):
                message = self._resolved(passed[-1], rtype, depth)
                led_to = reading.aliases(message, passed[-1], rtype)
                passed += led_to
                if found := reading.records(message, passed[-1], rtype):
                    return Answer(Status.FOUND, *reading.values(found), aliases=reading.names(passed[1:]))
                if not led_to:
                    status = Status.NOTHING if message.rcode() == dns.rcode.NXDOMAIN else Status.EMPTY
                    return Answer(status, aliases=reading.names(passed[1:]))
            return Answer(Status.NOTHING, aliases=reading.names(passed[1:]), why=why)
        except Unanswered as error:
            return Answer(Status.UNKNOWN, aliases=reading.names(passed[1:]), why=str(error))

    def _resolved(self, name: dns.name.Name, rtype: str, depth: int) -> dns.message.Message:
        """The message that answers with authority, or from a resolver."""
        if dns.name.root in self.network.cuts:
            return self._walked(name, rtype, depth)
        why = "there is no resolver to ask (write one into inventory/checks.yaml)"
        for address in self.network.resolvers:
            try:
                message = self.ask(address, name, rtype, recurse=True)
            except Unanswered as error:
                why = str(error)
                continue
            if message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                why = f"{address} answers {dns.rcode.to_text(message.rcode())}"
            elif not message.flags & (dns.flags.RA | dns.flags.AA):
                why = f"{address} does not resolve names for us"
            else:
                return message
        raise Unanswered(why)

    def _walked(self, name: dns.name.Name, rtype: str, depth: int) -> dns.message.Message:
        """Down from the deepest zone we know; every referral leads further down, so it ends."""
        cut = next(n for n in reading.upwards(name) if n in self.network.cuts)
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
            except Unanswered as error:
                why = str(error)
                continue
            if reading.is_authoritative(message):
                return message, None
            lower = reading.referral(message, cut, name)
            if lower is not None:
                self.network.cuts[lower[0]] = lower[1]
                return message, lower[0]
            why = f"{ip} does not serve it"
        raise Unanswered(f"no name server of {plain(cut)} answers: {why}")

    def _addresses(self, zone: dns.name.Name, depth: int) -> Iterator[str]:
        """Of the name servers of a zone that we pass through: first those that came with their names."""
        if zone in self.network.cuts:
            cut = self.network.cuts[zone]
            yield from (ip for host in cut.hosts for ip in cut.glue.get(host, ()) if self._may_ask(zone, ip))
            hosts: Iterable[dns.name.Name] = [host for host in cut.hosts if host not in cut.glue]
        else:
            answer = self._lookup(zone, "NS", depth)
            if answer.status is Status.UNKNOWN:
                raise Unanswered(answer.why)
            hosts = [dns.name.from_text(host) for host in answer.values]
        if depth >= DEPTH:
            raise Unanswered(f"more than {DEPTH} name servers in a row have to be looked up first")
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
                found = reading.delegation(self.ask(address, self.name, "NS"), self.name, parent)
                if found is None:
                    why = f"{ip} does not serve it"
                    continue
            except Unanswered as error:
                why = str(error)
                continue
            status, cut, itself = found
            glue = {text(host): ips for host, ips in cut.glue.items()}
            ds = self._said_by(address, "DS")
            return Delegation(status, text(parent), frozenset(reading.names(cut.hosts)), ds, itself), glue
        raise Unanswered(f"no name server of {plain(parent)} answers: {why}")

    def _zone_above(self) -> dns.name.Name:
        for upper in reading.upwards(self.name.parent()):
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
        except NoRoute as error:
            return Server(host, ip, Serves.UNKNOWN, str(error))
        except Unanswered as error:
            return Server(host, ip, Serves.SILENT, str(error))
        if message.rcode() != dns.rcode.NOERROR:
            return Server(host, ip, Serves.LAME, f"answers {dns.rcode.to_text(message.rcode())}")
        try:
            soa = reading.own(message, self.name, "SOA")
        except Unanswered as error:
            return Server(host, ip, Serves.LAME, str(error))
        if soa.status is not Status.FOUND:
            return Server(host, ip, Serves.LAME, "has no SOA record of it")
        return Server(host, ip, Serves.YES, soa=soa)

    # -- what it holds

    def _said_by(self, address: Address, rtype: str) -> Answer:
        """What one server says of the zone's own name."""
        try:
            return reading.own(self.ask(address, self.name, rtype), self.name, rtype)
        except Unanswered as error:
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
