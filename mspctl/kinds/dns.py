"""
DNS records: one resource per RRset, `dns.rrset` "<owner> <TYPE>", with fields `ttl` (seconds) and `values`.
What is declared of a zone besides its records is one more, `dns.zone` "zone", with the field `dnssec`.

Two spellings of the same record give the same resource (promise 9): names are lower-case A-labels, names within
values are absolute, TXT is one string however it was split, addresses are in their shortest form. The common
types are read here, because a large estate is mostly those; every other type goes through dnspython.
Sources: RFC 1035 (names, master files), RFC 3597 (generic form), RFC 5891 and UTS 46 (IDNA).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from mspctl.kinds import shown
from mspctl.resource import Id, Resource, Scope, Value

if TYPE_CHECKING:
    import dns.name
    import dns.rdata

KIND = "dns.rrset"
ZONE = Id("dns.zone", "zone")
APEX = "@"
MAX_TTL = 2**31 - 1

# What a server makes by itself: never declared, never shown as live.
SERVER_MADE = frozenset("SOA RRSIG NSEC NSEC3 NSEC3PARAM DNSKEY CDS CDNSKEY TYPE65534".split())
# Not DNS types: some targets hold them, the others refuse them in `accept`.
PSEUDO = frozenset({"ALIAS", "LUA"})
# The types a person meets; any other is written by its name or as TYPE123, values in generic form.
COMMON = tuple("A AAAA ALIAS CAA CNAME DNAME DS HTTPS LOC MX NAPTR NS PTR SRV SSHFP SVCB TLSA TXT URI".split())
# Only one value may stand at a name.
SINGLE = frozenset({"CNAME", "DNAME", "ALIAS"})
FIELDS: Mapping[str, Mapping[str, type]] = {KIND: {"ttl": int, "values": frozenset}, ZONE.kind: {"dnssec": bool}}

Relative = Callable[[str], str]  # makes an absolute name of one that was typed without its trailing dot


def rrset(owner: str, rtype: str, ttl: int, values: Iterable[str], source: str = "", handle: str = "") -> Resource:
    """An RRset from parts already in normal form."""
    fields: dict[str, Value] = {"ttl": ttl, "values": frozenset(values)}
    return Resource(Id(KIND, f"{owner} {rtype}"), fields, source, handle)


def zone(dnssec: bool, source: str = "") -> Resource:
    """Whether a zone is signed. A reader shows it only where it is declared: it has no place among unmanaged things."""
    return Resource(ZONE, {"dnssec": dnssec}, source)


def owner_type(id_: Id) -> tuple[str, str]:
    """`("www", "A")` of `dns.rrset www A`."""
    owner, _, rtype = id_.name.rpartition(" ")
    return owner, rtype


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """As programs may spell it; names without a trailing dot are meant within the zone. Raises ValueError."""
    if id_.kind != KIND:
        if field == "" and value != ZONE.name:
            raise ValueError(f"write {ZONE.name}: there is one of them")
        return None
    owner, rtype = owner_type(id_)
    if field == "":
        if not owner:
            raise ValueError(f"{shown(id_.name)} is not a name and a type (write www A, or @ MX)")
        return f"{owner if owner == APEX else fold_owner(owner, scope)} {fold_type(rtype)}"
    if field == "ttl" and not (isinstance(value, int) and 0 <= value <= MAX_TTL):
        raise ValueError(f"{shown(value)} is not a TTL (0 to {MAX_TTL} seconds)")
    if field == "values" and isinstance(value, frozenset):
        return _folded_values(fold_type(rtype), value, scope)
    return None


def _folded_values(rtype: str, values: frozenset[str], zone: str) -> frozenset[str]:
    if not values:
        raise ValueError("has no value (leave the whole resource out)")
    if rtype in SINGLE and len(values) > 1:
        raise ValueError(f"{rtype} has one value, not {len(values)}")
    whole = {text for text in values if rtype == "TXT" and _STRINGS.fullmatch(text)}  # texts in normal form
    folded = (fold_value(rtype, text, lambda name: absolute(name, zone)) for text in values - whole)
    return frozenset({*map(joined, whole), *folded})


def values_of(resource: Resource) -> list[str]:
    values = resource.fields["values"]
    return sorted(values) if isinstance(values, frozenset) else []


def ttl_of(resource: Resource) -> int:
    ttl = resource.fields["ttl"]
    return ttl if isinstance(ttl, int) else 0


@dataclass(frozen=True, slots=True)
class Awaited:
    """A value that another scope hands out; nobody knows it before."""

    scope: Scope
    output: str


@dataclass(frozen=True, slots=True)
class Derived:
    """One value of a zone that follows from another section."""

    name: str  # in full, without the trailing dot
    rtype: str
    value: str | Awaited  # in normal form
    tag: str  # with which texts of this purpose begin; "" for other types
    source: str  # "customers/acme/mail.yaml:4"


def precious(resource: Resource) -> str:
    """Without them no mail arrives, or nobody finds the zone, or believes it."""
    if resource.id == ZONE:
        return "signature of the zone" if resource.fields["dnssec"] else ""
    owner, rtype = owner_type(resource.id)
    return (
        f"{rtype} of {'the zone' if owner == APEX else owner}"
        if rtype == "MX" or (rtype == "NS" and owner == APEX)
        else ""
    )


# -- names --------------------------------------------------------------------------------------------------

_PLAIN_NAME = re.compile(
    r"(?:[a-z0-9_*](?:[a-z0-9_/-]{0,61}[a-z0-9_])?\.)*[a-z0-9_*](?:[a-z0-9_/-]{0,61}[a-z0-9_])?\.?"
)


def fold(text: str) -> str:
    """A domain name in normal form, its trailing dot kept or absent as typed. Raises ValueError."""
    lower = text.lower()
    if len(lower) < 200 and _PLAIN_NAME.fullmatch(lower):
        return lower
    return _fold_slowly(text)


def _fold_slowly(text: str) -> str:
    import dns.exception
    import dns.name

    if text == "@":
        raise DotlessError("'@' stands for the zone in zone files only (write the name)")
    if not text or any(c.isspace() for c in text):
        raise ValueError(f"{shown(text)} is not a domain name")
    if text == ".":
        return text
    try:
        ascii_text = text if text.isascii() else ".".join(map(_a_label, text.split(".")))
        name = dns.name.from_text(ascii_text.lower(), origin=None)
        if len(name) and sum(len(label) + 1 for label in name.labels) > 255:
            raise ValueError(f"{shown(text)} is longer than 255 octets")
        return _ESCAPE.sub(_without_dot, name.canonicalize().to_text())
    except (dns.exception.DNSException, UnicodeError) as error:
        raise ValueError(f"{shown(text)} is not a domain name ({first_line(error)})") from None


_ESCAPE = re.compile(r"\\(\d{3}|.)", re.DOTALL)


def _without_dot(match: re.Match[str]) -> str:
    # A dot within a label is written by its number, so that every dot in a name stands between labels.
    return r"\046" if match[1] == "." else match[0]


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    import idna

    return idna.encode(label, uts46=True).decode()


def first_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def fold_zone(text: str) -> str:
    """A zone's name: normal form without the trailing dot."""
    name = fold(text).removesuffix(".")
    if not _PLAIN_NAME.fullmatch(name) or "*" in name:
        # It becomes the name of a file, and an argument of programs.
        raise ValueError(f"{shown(text)} is not the name of a zone (letters, digits and hyphens: acme.example)")
    return name


def fold_owner(text: str, zone: str) -> str:
    """An owner name relative to its zone, `@` for the apex. Typed relative, or absolute with a trailing dot."""
    name = fold(text)
    if not name.endswith("."):
        if len(_ESCAPE.sub("?", name) if "\\" in name else name) + len(zone) > 252:
            raise ValueError(f"{shown(text)} in {zone} is longer than 255 octets")
        return name
    if name == zone + ".":
        return APEX
    if not name.endswith("." + zone + "."):
        raise ValueError(f"{shown(text)} is outside the zone {zone}")
    return name[: -len(zone) - 2]


def absolute(owner: str, zone: str) -> str:
    """The full name of an owner, with trailing dot."""
    return f"{zone}." if owner == APEX else f"{owner}.{zone}."


def is_below(name: str, parent: str) -> bool:
    """Whether owner `name` is strictly below owner `parent` (both relative to one zone)."""
    return name.endswith("." + parent)


# -- values -------------------------------------------------------------------------------------------------


def fold_type(text: str) -> str:
    """A record type in normal form (`TYPE1` is `A`). Raises ValueError, with what to write instead."""
    rtype = text.upper()
    if rtype in _FAST or rtype in PSEUDO:
        return rtype
    import dns.rdatatype

    try:
        number = dns.rdatatype.from_text(rtype)
    except (dns.rdatatype.UnknownRdatatype, ValueError):
        raise UnknownTypeError(f"{shown(text)} is not a record type") from None
    name = dns.rdatatype.to_text(number)
    if name in SERVER_MADE:
        raise ValueError(f"{name} records are made by the server and cannot be declared")
    if number == 0 or dns.rdatatype.is_metatype(number):
        raise ValueError(f"{name} is not a type that a zone can hold")
    return name


def fold_value(rtype: str, text: str, relative: Relative) -> str:
    """One value as typed, in normal form. `relative` decides about names without trailing dot. Raises ValueError."""
    if text.startswith("\\#"):
        return _fold_by_dnspython(rtype, text, relative)
    fast = _FAST.get(rtype)
    return fast(text, relative) if fast else _fold_by_dnspython(rtype, text, relative)


_IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}", re.ASCII)


def _a(text: str, relative: Relative) -> str:
    if _IPV4.fullmatch(text):
        return text
    if ":" in text:
        raise ValueError(f"{shown(text)} is not an IPv4 address (an IPv6 address belongs to AAAA)")
    raise ValueError(f"{shown(text)} is not an IPv4 address (write 192.0.2.1)")


def _aaaa(text: str, relative: Relative) -> str:
    import dns.exception
    import dns.ipv6

    try:
        return dns.ipv6.inet_ntoa(dns.ipv6.inet_aton(text))
    except (dns.exception.DNSException, ValueError):
        raise ValueError(f"{shown(text)} is not an IPv6 address (write 2001:db8::1)") from None


def _target(text: str, relative: Relative) -> str:
    name = fold(text)
    return name if name.endswith(".") else fold(relative(name))


def _integers(texts: list[str], names: str) -> str:
    for text, name in zip(texts, names.split(), strict=True):
        if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) < 65536):
            raise ValueError(f"{shown(text)} is not a {name} (a number from 0 to 65535)")
    return " ".join(str(int(text)) for text in texts)


def _mx(text: str, relative: Relative) -> str:
    parts = text.split()
    if len(parts) != 2:
        raise ValueError(f"{shown(text)} is not an MX value (write 10 mail.example.com.)")
    return f"{_integers(parts[:1], 'preference')} {_target(parts[1], relative)}"


def _srv(text: str, relative: Relative) -> str:
    parts = text.split()
    if len(parts) != 4:
        raise ValueError(f"{shown(text)} is not an SRV value (write 10 5 5060 sip.example.com.)")
    return f"{_integers(parts[:3], 'priority weight port')} {_target(parts[3], relative)}"


_CAA = re.compile(r'(\d{1,3})\s+([A-Za-z0-9]{1,15})\s+(?:"([\x20\x21\x23-\x5b\x5d-\x7e]*)"|([^\s"\\;]+))', re.ASCII)


def _caa(text: str, relative: Relative) -> str:
    match = _CAA.fullmatch(text)
    if not match or int(match[1]) > 255:
        return _fold_by_dnspython("CAA", text, relative)
    return f'{int(match[1])} {match[2].lower()} "{match[3] or match[4] or ""}"'


def _txt(text: str, relative: Relative) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        raise ValueError(
            "quotes around a text would become part of it (leave them out; long texts are split as needed)"
        )
    return quoted(text.encode())


_LUA = re.compile(r'([A-Za-z0-9]+)((?:\s+"(?:[^"\\]|\\.)*")+)', re.DOTALL)


def _lua(text: str, relative: Relative) -> str:
    match = _LUA.fullmatch(text)
    with suppress(UnicodeError):
        if match:
            return f"{fold_type(match[1])} {joined(match[2])}"
    raise ValueError(f"{shown(text)} is not a LUA value (write A \"ifportup(443, {{'192.0.2.1'}})\")")


_FAST: dict[str, Callable[[str, Relative], str]] = {
    "A": _a,
    "AAAA": _aaaa,
    "CNAME": _target,
    "DNAME": _target,
    "NS": _target,
    "PTR": _target,
    "ALIAS": _target,
    "LUA": _lua,
    "MX": _mx,
    "SRV": _srv,
    "CAA": _caa,
    "TXT": _txt,
    "SPF": _txt,
}
_TEXTS = frozenset({"TXT", "SPF"})


def quoted(content: bytes) -> str:
    """The content of a TXT record in normal form: one quoted string with RFC 1035 escapes, never split."""
    if len(content) > 65_000:
        raise ValueError("is longer than a record can be (65,000 octets)")
    return '"' + _ESCAPED.sub(_escape, content.decode("latin-1")) + '"'


def joined(strings: str) -> str:
    """Quoted strings, as they stand one after another in a master file, as one in normal form. Raises UnicodeError."""
    octets = strings.encode().decode("latin-1")
    return quoted(b"".join(content(string) for string in _STRING.findall(octets)))


_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_STRINGS = re.compile(rf"{_STRING.pattern}(?:\s+{_STRING.pattern})*", re.DOTALL)
_ESCAPED = re.compile(r'["\\]|[^\x20-\x7e]')
_UNESCAPED = re.compile(r"\\(?:(\d{3})|(.))", re.DOTALL)


def _escape(match: re.Match[str]) -> str:
    c = match[0]
    return "\\" + c if c in '"\\' else f"\\{ord(c):03d}"


def content(value: str) -> bytes:
    """The octets of a TXT value in normal form."""
    return _UNESCAPED.sub(lambda m: chr(int(m[1])) if m[1] else m[2], value[1:-1]).encode("latin-1")


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\\.')  # and what is escaped
# What a value of a type looks like, for those who got it wrong.
_EXAMPLES = {
    "CAA": '0 issue "ca.example.net"',
    "DS": "60485 13 2 d4b7d520e7bb5f0f67674a0cceb1e3e0614b93c4f9e99b8383f6a1e4469da50a",
    "HTTPS": '1 . alpn="h2,h3"',
    "LOC": "45 24 0 N 11 52 0 E 12m",
    "NAPTR": '100 10 "S" "SIP+D2U" "" _sip._udp.example.com.',
    "SSHFP": "4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789",
    "SVCB": '1 svc.example.com. port="8443"',
    "TLSA": "3 1 1 0d6fce3320e3d3b0a1b9e7f0b2ab1f0ed7a2a4c4fd6a3cf1a1a1b8a0f8b3a0c1",
    "URI": '10 1 "https://www.example.com/"',
}
_LOC = 29
_RAISED = re.compile(r"caught exception <class '[\w.]+'>: ")


def _fold_by_dnspython(rtype: str, text: str, relative: Relative) -> str:
    import dns.exception
    import dns.name
    import dns.rdata

    if rtype in PSEUDO:
        raise ValueError(f"{rtype} has no generic form")
    if ";" in _QUOTED.sub("", text):
        raise ValueError(f"{shown(text)}: what follows “;” would be lost (put the text in double quotes)")
    try:
        codec = dns.name.IDNA_2008_Practical
        rdata = dns.rdata.from_text("IN", rtype, text, origin=None, relativize=False, idna_codec=codec)
        return from_rdata(made_absolute(rdata, relative))
    except (dns.exception.DNSException, ValueError, OverflowError, AssertionError, struct.error) as error:
        if isinstance(error, DotlessError):
            raise
        example = f"; write {_EXAMPLES[rtype]}" if rtype in _EXAMPLES else ""
        said = _RAISED.sub("", first_line(error))
        raise ValueError(f"{shown(text)} is not a value of type {rtype} ({said}{example})") from None


class UnknownTypeError(ValueError):
    """What was written is no record type at all."""


class DotlessError(ValueError):
    """A name within a value has no trailing dot, and the input leaves open what that means."""


def made_absolute(rdata: dns.rdata.Rdata, relative: Relative) -> dns.rdata.Rdata:
    """The record with every name in it folded and absolute."""
    import dns.name

    def folded(part: dns.name.Name) -> dns.name.Name:
        return dns.name.from_text(_target(part.to_text(), relative))

    replaced: dict[str, object] = {}
    cls: Any = type(rdata)
    for slot in _slots(cls):
        part = getattr(rdata, slot)
        if isinstance(part, dns.name.Name):
            replaced[slot] = folded(part)
        elif isinstance(part, tuple) and part and isinstance(part[0], dns.name.Name):
            replaced[slot] = tuple(map(folded, part))
    return rdata.replace(**replaced) if replaced else rdata


@cache
def _slots(cls: Any) -> tuple[str, ...]:
    return tuple(slot for base in cls.__mro__ for slot in getattr(base, "__slots__", ()))


def _through_wire(rdata: dns.rdata.Rdata) -> dns.rdata.Rdata:
    """The record as a server will give it back: some text says more than the wire can carry (LOC's centimetres)."""
    import dns.rdata

    wire = _rounded(rdata).to_wire()
    assert wire is not None, "to_wire returns the octets when it is given no file"
    return dns.rdata.from_wire(rdata.rdclass, rdata.rdtype, wire, 0, len(wire))


_CENTIMETRES = ("altitude", "size", "horizontal_precision", "vertical_precision")


def _rounded(rdata: dns.rdata.Rdata) -> dns.rdata.Rdata:
    """A LOC record in whole centimetres: dnspython makes 57.99 of 0.58 m, and would cut it to 57."""
    loc: Any = rdata
    if rdata.rdtype != _LOC:
        return rdata
    metres = [float(round(getattr(loc, name))) for name in _CENTIMETRES]
    rounded: dns.rdata.Rdata = type(loc)(loc.rdclass, loc.rdtype, loc.latitude, loc.longitude, *metres)
    return rounded


def _caseless(rtype: str, rdata: dns.rdata.Rdata) -> dns.rdata.Rdata:
    """The parts besides names that mean the same in either case (RFC 8659 section 4.1, RFC 3403 section 4.1)."""
    parts: Any = rdata
    if rtype == "CAA":
        return rdata.replace(tag=parts.tag.lower())
    return rdata.replace(flags=parts.flags.upper()) if rtype == "NAPTR" else rdata


@cache
def type_name(number: int) -> str:
    """`A` of 1. Asked once for each record, and slow in dnspython."""
    import dns.rdatatype

    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(number))


def from_rdata(rdata: dns.rdata.Rdata) -> str:
    """dnspython's record in our normal form; its names are absolute."""
    strings = getattr(rdata, "strings", None)
    rtype = type_name(rdata.rdtype)
    if strings is not None and rtype in _TEXTS:
        return quoted(b"".join(strings))
    if rtype in _FAST and rtype != "CAA":
        return _FAST[rtype](rdata.to_text(), str)
    return _through_wire(made_absolute(_caseless(rtype, rdata), str)).to_text()


def to_rdata(rtype: str, value: str) -> dns.rdata.Rdata:
    """A value in normal form as dnspython's record; texts are split at 255 octets."""
    import dns.rdata

    return _rounded(dns.rdata.from_text("IN", rtype, master_text(rtype, value)))


def master_text(rtype: str, value: str) -> str:
    """A value in normal form as it stands in a master file."""
    if len(value) <= 257 or not (rtype in _TEXTS or rtype == "LUA"):
        return value
    before, quote, text = value.partition('"')
    octets = content(quote + text)
    chunks = [octets[i : i + 255] for i in range(0, len(octets), 255)] or [b""]
    return before + " ".join(map(quoted, chunks))


def as_typed(rtype: str, value: str) -> str:
    """A value in normal form as a person writes it in YAML; the generic form where no plain text gives it back."""
    if rtype not in _TEXTS:
        return value
    octets = content(value)
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        text = ""
    plain = text.isprintable() and not text.startswith("\\#") and not (len(text) > 1 and text[0] == text[-1] == '"')
    if plain and (text or not octets):
        return text
    wire = to_rdata(rtype, value).to_wire()
    assert wire is not None, "to_wire returns the octets when it is given no file"
    return f"\\# {len(wire)} {wire.hex()}"
