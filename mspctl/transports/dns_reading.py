"""What one message of the DNS says to a question. Pure: nothing is asked here, and nothing is believed unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from mspctl.errors import Unreachable
from mspctl.kinds import dns as kind
from mspctl.kinds.answers import Answer, Status

ADDRESSES = 6  # of one name server
ALIASES = 10  # CNAMEs in a row
VALUES = 500  # of one answer


class Unanswered(Unreachable):
    """No answer, or none that makes sense; says why."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A zone that we passed through: its name servers, and the addresses that came with their names."""

    hosts: tuple[dns.name.Name, ...]
    glue: Mapping[dns.name.Name, tuple[str, ...]]


def is_authoritative(message: dns.message.Message) -> bool:
    return bool(message.flags & dns.flags.AA) and message.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


def upwards(name: dns.name.Name) -> Iterator[dns.name.Name]:
    """The name and those above it, the root last."""
    yield name
    while name != dns.name.root:
        name = name.parent()
        yield name


Found = tuple[dns.rrset.RRset, dns.rrset.RRset | None]  # records, and the signatures over them


def records(message: dns.message.Message, name: dns.name.Name, rtype: str) -> Found | None:
    """The answer's records of one name and type."""
    wanted = dns.rdatatype.from_text(rtype)
    found = signed = None
    for each in message.answer:
        if each.name == name and each.rdclass == dns.rdataclass.IN:
            if each.rdtype == wanted:
                found = each
            elif each.rdtype == dns.rdatatype.RRSIG and each.covers == wanted:
                signed = each
    return (found, signed) if found else None


def aliases(message: dns.message.Message, name: dns.name.Name, rtype: str) -> list[dns.name.Name]:
    """The names that the CNAMEs of one message lead to, from `name` on; of a circle as many as show it."""
    passed: list[dns.name.Name] = []
    while rtype != "CNAME" and len(passed) <= ALIASES and (alias := records(message, name, "CNAME")):
        name = targets(alias[0])[0]
        passed.append(name)
    return passed


def endless(passed: Sequence[dns.name.Name]) -> str:
    """Why a chain of CNAMEs leads nowhere; "" while it may lead somewhere."""
    for n, name in enumerate(passed):
        if name in passed[:n]:
            return f"its CNAMEs lead in a circle: {' → '.join(map(plain, passed[passed.index(name) : n + 1]))}"
    return f"more than {ALIASES} CNAMEs in a row" if len(passed) > ALIASES + 1 else ""


def referral(
    message: dns.message.Message, within: dns.name.Name, name: dns.name.Name
) -> tuple[dns.name.Name, Cut] | None:
    """A zone strictly below `within` on the way to `name`, and its name servers."""
    if message.rcode() != dns.rcode.NOERROR or message.answer:
        return None
    for ns in message.authority:
        lower = ns.name
        on_the_way = lower != within and lower.is_subdomain(within) and name.is_subdomain(lower)
        if ns.rdtype == dns.rdatatype.NS and on_the_way:
            return lower, name_servers(message, ns, within)
    return None


def name_servers(message: dns.message.Message, ns: dns.rrset.RRset, within: dns.name.Name) -> Cut:
    """Name servers and their addresses; only those that the server could know itself are believed."""
    hosts = tuple(sorted({*targets(ns)}))
    glue: dict[dns.name.Name, tuple[str, ...]] = {}
    for each in message.additional:
        is_address = each.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
        if is_address and each.name in hosts and each.name.is_subdomain(within):
            ips = [rdata.to_text() for rdata in islice(each, ADDRESSES)]
            glue[each.name] = (*glue.get(each.name, ()), *ips)
    return Cut(hosts, glue)


def targets(rrset: dns.rrset.RRset) -> list[dns.name.Name]:
    """The names that records of NS or CNAME point at."""
    found: list[dns.name.Name] = [record.target for record in islice(cast(Iterable[Any], rrset), VALUES)]
    return found


def delegation(
    message: dns.message.Message, zone: dns.name.Name, parent: dns.name.Name
) -> tuple[Status, Cut, bool] | None:
    """What one of the parent's servers says of the zone; None when it is none of the parent's servers."""
    if is_authoritative(message):
        if message.rcode() == dns.rcode.NXDOMAIN:
            return Status.NOTHING, Cut((), {}), False
        found = records(message, zone, "NS")
        if found is None:
            return Status.EMPTY, Cut((), {}), False
        return Status.FOUND, name_servers(message, found[0], zone), True
    lower = referral(message, parent, zone)
    return (Status.FOUND, lower[1], False) if lower and lower[0] == zone else None


def own(message: dns.message.Message, name: dns.name.Name, rtype: str) -> Answer:
    """What a server says with authority of one of its own names; raises Unanswered when it does not."""
    if not is_authoritative(message):
        raise Unanswered("answers without authority")
    found = records(message, name, rtype)
    return Answer(Status.FOUND, *values(found)) if found else Answer(Status.EMPTY)


def values(found: Found) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Records and signatures as text; raises Unanswered when they are too many, or one is none."""
    rrset, signed = found
    if len(rrset) + len(signed or ()) > VALUES:
        raise Unanswered(f"{plain(rrset.name)} has more than {VALUES} values")
    try:
        return texts(rrset), texts(signed) if signed else ()
    except ValueError as error:
        raise Unanswered(f"{plain(rrset.name)} has a value that is none: {kind.first_line(error)}") from None


_AS_IS = frozenset({dns.rdatatype.SOA, dns.rdatatype.DS, dns.rdatatype.DNSKEY, dns.rdatatype.RRSIG})


def names(found: Iterable[dns.name.Name]) -> tuple[str, ...]:
    return tuple(map(text, found))


def texts(rrset: dns.rrset.RRset) -> tuple[str, ...]:
    return tuple(sorted(r.to_text() if rrset.rdtype in _AS_IS else kind.from_rdata(r) for r in rrset))


def text(name: dns.name.Name) -> str:
    """A name in normal form; what cannot be folded stays as it was sent."""
    try:
        return kind.fold(name.to_text())
    except ValueError:
        return name.to_text().lower()


def plain(name: dns.name.Name) -> str:
    return text(name).removesuffix(".") or "the root"
