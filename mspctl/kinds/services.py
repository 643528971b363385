"""
Services in one normal form: what well-known names stand for, ports and ranges of ports, kinds of ICMP, protocols.

`tcp/443`, `udp/5000-5100`, `icmp/echo-request`, `icmpv6/any`, `esp`, or `any`. A set is what it covers, as in
`addresses.py`: ports that touch are joined.

Sources: IANA's registries of service names and port numbers, of ICMP types and of protocol numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from mspctl.kinds import shown, spans

ANY = frozenset({"any"})
WITH_PORTS = ("tcp", "udp", "sctp")
MANY = 32768  # more ports than this are nothing in particular
ALONE = ("esp", "gre", "igmp", "ospf", "vrrp")  # protocols without anything to choose; ah is none with IPv6
ICMP = frozenset(
    "echo-reply destination-unreachable redirect echo-request router-advertisement router-solicitation time-exceeded"
    " parameter-problem timestamp-request timestamp-reply".split()
)
ICMPV6 = frozenset(
    "destination-unreachable packet-too-big time-exceeded parameter-problem echo-request echo-reply mld-listener-query"
    " mld-listener-report nd-router-solicit nd-router-advert nd-neighbor-solicit nd-neighbor-advert nd-redirect".split()
)

WELL_KNOWN: dict[str, tuple[str, ...]] = {
    "dhcp": ("udp/67",),
    "dhcpv6": ("udp/547",),
    "dns": ("tcp/53", "udp/53"),
    "dns-over-tls": ("tcp/853",),
    "ftp": ("tcp/21",),
    "http": ("tcp/80",),
    "https": ("tcp/443",),
    "imap": ("tcp/143",),
    "imaps": ("tcp/993",),
    "ipp": ("tcp/631",),
    "ipsec": ("udp/500", "udp/4500", "esp"),
    "kerberos": ("tcp/88", "udp/88"),
    "ldap": ("tcp/389", "udp/389"),
    "ldaps": ("tcp/636",),
    "mdns": ("udp/5353",),
    "mssql": ("tcp/1433",),
    "mysql": ("tcp/3306",),
    "ntp": ("udp/123",),
    "openvpn": ("udp/1194",),
    "ping": ("icmp/echo-request", "icmpv6/echo-request"),
    "pop3": ("tcp/110",),
    "pop3s": ("tcp/995",),
    "postgresql": ("tcp/5432",),
    "print": ("tcp/9100",),
    "quic": ("udp/443",),
    "rdp": ("tcp/3389", "udp/3389"),
    "rsync": ("tcp/873",),
    "sip": ("tcp/5060", "udp/5060"),
    "sips": ("tcp/5061",),
    "smb": ("tcp/445",),
    "smtp": ("tcp/25",),
    "snmp": ("udp/161",),
    "ssh": ("tcp/22",),
    "stun": ("tcp/3478", "udp/3478"),
    "submission": ("tcp/587",),
    "submissions": ("tcp/465",),
    "syslog": ("udp/514",),
    "telnet": ("tcp/23",),
    "tftp": ("udp/69",),
    "vnc": ("tcp/5900",),
    "winrm": ("tcp/5985-5986",),
    "wireguard": ("udp/51820",),
}

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


def fold(text: str) -> tuple[str, ...]:
    """What one service stands for, in normal form. Raises ValueError."""
    if text in WELL_KNOWN:
        return WELL_KNOWN[text]
    if text in ("any", *ALONE):
        return (text,)
    if text == "icmp":
        return ("icmp/any", "icmpv6/any")
    protocol, _, rest = text.partition("/")
    if protocol in WITH_PORTS and (found := _PORTS.fullmatch(rest)):
        low, high = int(found[1]), int(found[2] or found[1])
        if 0 < low <= high < 65536:
            return (_ports(protocol, low, high),)
    if (protocol == "icmp" and rest in ICMP | {"any"}) or (protocol == "icmpv6" and rest in ICMPV6 | {"any"}):
        return (text,)
    raise ValueError(f"{shown(text)} is no service (write https, tcp/8443, udp/5000-5100, icmp/echo-request or esp)")


def _ports(protocol: str, low: int, high: int) -> str:
    return f"{protocol}/{low}" if low == high else f"{protocol}/{low}-{high}"


@lru_cache(maxsize=65_536)
def ports(text: str) -> tuple[str, int, int] | None:
    """Protocol, first and last port of a service in normal form; None where it has no ports."""
    protocol, _, rest = text.partition("/")
    found = _PORTS.fullmatch(rest) if protocol in WITH_PORTS else None
    return (protocol, int(found[1]), int(found[2] or found[1])) if found else None


def joined(texts: Iterable[str]) -> frozenset[str]:
    """The set that services in normal form cover together."""
    given = frozenset(texts)
    if len(given) == 1:
        return given
    if "any" in given:
        return ANY
    rest = {text for text in given if not ports(text)}
    rest -= {text for text in rest if f"{text.partition('/')[0]}/any" in rest - {text}}
    return frozenset(rest | {_ports(*each) for each in spans.merged(filter(None, map(ports, given)))})


def covers(texts: frozenset[str], others: frozenset[str]) -> bool:
    """Whether all of `others` is in a set."""
    if texts == ANY:
        return True
    return others != ANY and all(_in(text, texts) for text in others)


def _in(text: str, texts: frozenset[str]) -> bool:
    wanted = ports(text)
    if not wanted:
        return text in texts or f"{text.partition('/')[0]}/any" in texts
    return any(p[0] == wanted[0] and p[1] <= wanted[1] <= wanted[2] <= p[2] for p in filter(None, map(ports, texts)))


def families(texts: frozenset[str]) -> frozenset[int]:
    """In which families of addresses a set is something."""
    one = {"icmp": (4,), "icmpv6": (6,)}
    return frozenset(v for text in texts for v in one.get(text.partition("/")[0], (4, 6)))


def is_everything(texts: frozenset[str]) -> bool:
    """Whether a set says nothing of what is meant: any, or most ports of one protocol."""
    return texts == ANY or any(
        sum(p[2] - p[1] + 1 for p in filter(None, map(ports, texts)) if p[0] == protocol) > MANY
        for protocol in WITH_PORTS
    )


def meet(texts: frozenset[str], others: frozenset[str]) -> bool:
    """Whether something can be of both."""
    if ANY in (texts, others):
        return True
    return any(_meet(a, b) for a in texts for b in others)


def _meet(one: str, other: str) -> bool:
    a, b = ports(one), ports(other)
    if a and b:
        return a[0] == b[0] and a[1] <= b[2] and b[1] <= a[2]
    same = one.partition("/")[0] == other.partition("/")[0]
    return one == other or (same and "any" in (one.partition("/")[2], other.partition("/")[2]))


def spoken(texts: frozenset[str]) -> str:
    """As people read it: well-known names where they fit whole."""
    left, names = {*texts}, []
    for name, stands_for in sorted(WELL_KNOWN.items(), key=lambda item: -len(item[1])):
        if left >= {*stands_for}:
            names.append(name)
            left -= {*stands_for}
    return ", ".join([*sorted(names), *sorted(left)])
