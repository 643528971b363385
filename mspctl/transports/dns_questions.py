"""
The messages of one run: what is asked of name servers, over UDP and, where that is not enough, over TCP.

Whatever answers is somebody else's, and may be wrong on purpose: an answer is one that makes sense, or none.
"""

from __future__ import annotations

import errno
import ipaddress
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.resolver

from mspctl.transports.dns_reading import Cut, Unanswered

TRIES = 2  # of one question, over UDP
SILENT = 3  # questions without an answer, after which an address that never gave one is not asked any more
PAYLOAD = 1232  # octets of an answer that fit into one packet everywhere; longer ones come over TCP

_NO_ROUTE = {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM}


class Address(NamedTuple):
    ip: str
    port: int = 53

    def __str__(self) -> str:
        if self.port == 53:
            return self.ip
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


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


class NoRoute(Unanswered):
    """It is us who cannot ask."""


Key = tuple[Address, dns.name.Name, str, bool]


class Network:
    """All messages of a run, each asked for once, by whichever zone wants it first."""

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        self.resolvers = asking.resolvers or (() if asking.roots else _of_this_machine())
        self.cuts: dict[dns.name.Name, Cut] = {}
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._kept: dict[Key, Future[dns.message.Message]] = {}
        self._silence: dict[str, int] = {}  # questions that an address left without an answer; none once it gave one
        self._spoke: set[str] = set()
        if asking.roots:
            self.cuts[dns.name.root] = Cut((dns.name.root,), {dns.name.root: asking.roots})

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
        """The message that answers; raises Unanswered."""
        if self._silence.get(address.ip, 0) >= SILENT:
            raise Unanswered(f"{address} gave no answer to {SILENT} questions")
        query = dns.message.make_query(name, rtype, want_dnssec=True, payload=PAYLOAD)
        # Checking is disabled, so that we see what is wrong with signatures instead of a refusal.
        query.flags = dns.flags.RD | dns.flags.CD if recurse else 0
        why = ""
        for _ in range(TRIES):
            answer, reason = self._try(address, query, over_tcp=False)
            if answer is not None:
                return answer
            why = why or reason
        # A server that is alive may be limiting how often it answers over UDP.
        answer = self._try(address, query, over_tcp=True)[0] if address.ip in self._spoke else None
        if answer is None:
            self._unheard(address)
            raise Unanswered(why)
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
            return None, f"{address} gave no answer within {timeout:g} s"
        except OSError as error:
            if error.errno in _NO_ROUTE:
                raise NoRoute(f"there is no way from here to {address}") from None
            return None, f"{address} cannot be reached ({error.strerror or 'connection lost'})"
        except (dns.exception.DNSException, ValueError, EOFError, IndexError, KeyError) as error:
            self._heard(address)
            return None, f"{address} answers with what is no message of the DNS ({type(error).__name__})"
        self._heard(address)
        if answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP) and query.edns >= 0:
            query.use_edns(False)  # it is older than EDNS
            return None, f"{address} answers {dns.rcode.to_text(answer.rcode())}"
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
