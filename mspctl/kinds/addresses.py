"""
Sets of IP addresses in one normal form, whatever they were written as: hosts, networks and ranges of both families.

A set is what it covers: what overlaps or touches is joined, so two spellings of the same set are equal. `any` is said
and never meant by an empty set, because a set that came out empty by mistake must let nobody in. A name of the DNS
(`updates.vendor.example.`, with its dot) stays a name; what it stands for is the device's to find out, if it can.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from mspctl.kinds import dns, shown, spans

ANY = frozenset({"any"})
MANY = {4: 2**24, 6: 2**96}  # more than this many addresses of a family are nobody in particular
# Who has these comes from nowhere in the Internet (RFC 1918, 3927, 4193, 4291, 6598).
_LOCAL = frozenset(
    {"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"}
)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Span(NamedTuple):
    """Addresses from `low` to `high`, both included, of one family."""

    version: int
    low: int
    high: int


@lru_cache(maxsize=65_536)
def fold(text: str) -> str:
    """One host, network, range or name in normal form. Raises ValueError."""
    if text == "any":
        return text
    first, dash, last = text.partition("-")
    try:
        if dash and not _is_name(text):
            return _spoken(_range(first.strip(), last.strip()))
        return _spoken(_network(text))
    except ValueError as error:
        if _is_name(text):
            return dns.fold(text.rstrip(".") + ".")
        raise ValueError(f"{shown(text)} is no address ({_hint(text, error)})") from None


def _network(text: str) -> Span:
    if "%" in text:
        raise ValueError("leave out what is behind %: which zone is meant, from and to say")
    network = ipaddress.ip_network(text)
    return Span(network.version, int(network.network_address), int(network.broadcast_address))


def _range(first: str, last: str) -> Span:
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)
    if "%" in first + last:
        raise ValueError("leave out what is behind %: a range has no interface")
    if low.version != high.version or int(low) > int(high):
        raise ValueError("a range goes from the lower to the higher address of one family")
    return Span(low.version, int(low), int(high))


def _is_name(text: str) -> bool:
    """Whether it can only be meant as a name: its last label is no number. What has a wildcard stands for nobody."""
    if "*" in text:
        return False
    last = text.rstrip(".").rpartition(".")[2]
    return "." in text.rstrip(".") and ":" not in text and "/" not in text and not last.isdigit() and last.isalnum()


def _hint(text: str, error: ValueError) -> str:
    if "host bits" in str(error):
        return f"write {ipaddress.ip_network(text, strict=False)}"
    if "range" in str(error) or "%" in text:
        return str(error)
    return "write 10.20.1.60, 10.20.0.0/22, 10.20.1.10-10.20.1.20 or 2001:db8::/48"


@lru_cache(maxsize=65_536)
def span(text: str) -> Span | None:
    """The addresses of a text in normal form; None for `any` and for names."""
    if text == "any" or text.endswith("."):
        return None
    first, dash, last = text.partition("-")
    return _range(first, last) if dash else _network(text)


def joined(texts: Iterable[str]) -> frozenset[str]:
    """The set that texts in normal form cover together."""
    given = frozenset(texts)
    if len(given) == 1:
        return given
    if "any" in given:
        return ANY
    names = {text for text in given if text.endswith(".")}
    return frozenset(names | {_spoken(Span(*each)) for each in spans.merged(filter(None, map(span, given)))})


def _spoken(each: Span) -> str:
    """The shortest way to write it: a host, a network, else a range."""
    make = ipaddress.IPv4Address if each.version == 4 else ipaddress.IPv6Address
    if each.low == each.high:
        return str(make(each.low))
    size, bits = each.high - each.low + 1, 32 if each.version == 4 else 128
    if size & (size - 1) == 0 and each.low % size == 0:
        return f"{make(each.low)}/{bits - size.bit_length() + 1}"
    return f"{make(each.low)}-{make(each.high)}"


def in_order(texts: Iterable[str]) -> list[str]:
    """As people read them: names first, then by number."""
    return sorted(texts, key=lambda text: (span(text) or Span(0, 0, 0), text))


def of_family(texts: frozenset[str], version: int) -> frozenset[str]:
    """Those of one family; `any` is of both."""
    if texts == ANY:
        return ANY
    return frozenset(text for text in texts if (found := span(text)) and found.version == version)


def families(texts: frozenset[str]) -> frozenset[int]:
    """Of which families a set holds something; `any` and names may be of both."""
    found = {span(text) for text in texts}
    return frozenset({4, 6} if None in found else {each.version for each in found if each})


def holds(texts: frozenset[str], address: Address) -> bool:
    """Whether an address is in a set. Names hold nothing that we could know."""
    return texts == ANY or any(
        s.version == address.version and s.low <= int(address) <= s.high for s in filter(None, map(span, texts))
    )


def covers(texts: frozenset[str], others: frozenset[str]) -> bool:
    """Whether all of `others` is in a set."""
    if texts == ANY:
        return True
    if others == ANY:
        return covers(texts, frozenset({"0.0.0.0/0", "::/0"}))
    mine = [*filter(None, map(span, texts))]
    return all(
        text in texts
        or (
            (one := span(text))
            and any(s.version == one.version and s.low <= one.low <= one.high <= s.high for s in mine)
        )
        for text in others
    )


def meet(texts: frozenset[str], others: frozenset[str]) -> bool:
    """Whether an address can be in both. Of names nobody knows, so they may."""
    if ANY in (texts, others) or any(text.endswith(".") for text in texts | others):
        return True
    pairs = ((a, b) for a in map(span, texts) for b in map(span, others) if a and b)
    return any(a.version == b.version and a.low <= b.high and b.low <= a.high for a, b in pairs)


@lru_cache(maxsize=4096)
def is_everybody(texts: frozenset[str]) -> bool:
    """Whether a set holds so much of the Internet that it says nothing of who is meant; names are somebody."""
    return texts == ANY or any(
        sum(s.high - s.low + 1 for s in filter(None, map(span, without(of_family(texts, version), _LOCAL, version))))
        > most
        for version, most in MANY.items()
    )


def is_everything(texts: frozenset[str]) -> bool:
    """Whether a set says nothing of what is meant: everybody, or all of the private addresses of one kind."""
    return is_everybody(texts) or any(covers(texts, frozenset({each})) for each in _LOCAL)


def overlap(texts: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """What is in both. Of names nobody knows."""
    if ANY in (texts, others):
        return others if texts == ANY else texts
    pairs = ((a, b) for a in map(span, texts) for b in map(span, others) if a and b)
    both = (Span(a.version, max(a.low, b.low), min(a.high, b.high)) for a, b in pairs if a.version == b.version)
    return joined(_spoken(each) for each in both if each.low <= each.high)


def without(texts: frozenset[str], gone: frozenset[str], version: int) -> frozenset[str]:
    """The addresses of one family that are left."""
    whole = Span(version, 0, 2 ** (32 if version == 4 else 128) - 1)
    mine, theirs = (
        [whole] if said == ANY else [s for s in map(span, said) if s and s.version == version] for said in (texts, gone)
    )
    for each in theirs:
        parts = [(s.low, min(s.high, each.low - 1)) for s in mine] + [(max(s.low, each.high + 1), s.high) for s in mine]
        mine = [Span(version, low, high) for low, high in parts if low <= high]
    return joined(map(_spoken, mine)) if mine else frozenset()
