"""
What PowerDNS's API says and takes ↔ resources. Pure.

The API holds values as text, and refuses every spelling but its own, whole zones at a time; so what it will not take is
refused before, with a reason, and what it only wants in another spelling is spelled so.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

from mspctl.errors import TargetError
from mspctl.kinds import dns
from mspctl.kinds import zone as whole
from mspctl.resource import Id, Resource
from mspctl.transports import http
from mspctl.transports.http import as_line

WRITABLE = frozenset({"native", "master", "primary"})  # kinds of zones whose records are made here
# The types that 4.7 knows by name; any other goes there and back as TYPE123, in the generic form.
TYPES = frozenset(
    """
    A A6 AAAA AFSDB ALIAS APL CAA CERT CNAME CSYNC DHCID DLV DNAME DS EUI48 EUI64 HINFO HTTPS IPSECKEY KEY KX L32 L64
    LOC LP LUA MB MG MINFO MR MX NAPTR NID NS OPENPGPKEY PTR RKEY RP SIG SMIMEA SPF SRV SSHFP SVCB TLSA TXT URI ZONEMD
""".split()
)

Native = dict[str, Any]  # an RRset as the API has it


class Zone:
    """A zone, or a part of it, as the API answers. Raises TargetError when that makes no sense, or is not ours."""

    def __init__(self, name: str, answer: Any, *, serials: bool = False) -> None:
        self.name = name
        self.native: dict[Id, Native] = {}
        with making_sense(name):
            if zone_name(answer["name"]) != name:
                raise ValueError(f"it is {as_line(answer['name'].encode())} that was answered")
            self.signed = answer["dnssec"] is True
            if answer["kind"].lower() not in WRITABLE:
                kind = as_line(answer["kind"].encode())
                raise TargetError(f"{name} is a {kind} zone here: its records come from elsewhere")
            for rrset in answer["rrsets"]:
                self._take(rrset)
            if serials:
                self.token = token_of_serial(answer)
            else:
                rows = [row(rrset | record) for rrset in answer["rrsets"] for record in rrset["records"]]
                self.token = token(answer, rows)

    def _take(self, rrset: Native) -> None:
        rtype = rrset["type"]
        if rtype == "RRSIG":
            raise presigned(self.name)
        if rtype in dns.SERVER_MADE:
            return
        id_ = Id(dns.KIND, f"{dns.fold_owner(rrset['name'], self.name)} {dns.fold_type(rtype)}")
        if id_ in self.native or type(rrset["ttl"]) is not int:
            raise TypeError
        self.native[id_] = rrset

    def resources(self) -> Iterator[Resource]:
        for id_ in self.native:
            resource = self.resource(id_)
            if resource is not None:
                yield resource

    def resource(self, id_: Id) -> Resource | None:
        """An RRset as it is served; None for one of which nothing is."""
        rrset = self.native.get(id_)
        if rrset is None:
            return None
        rtype = dns.owner_type(id_)[1]
        try:
            values = [folded(rtype, record["content"]) for record in rrset["records"] if not record["disabled"]]
        except http.NONSENSE as error:
            raise http.nonsense("PowerDNS", f"{id_.name} in {self.name}", error) from None
        return Resource(id_, {"ttl": rrset["ttl"], "values": frozenset(values)}) if values else None

    def asked(self, id_: Id, after: Resource | None) -> Native:
        """What to ask for, so that an RRset becomes `after`, and its disabled records stay disabled."""
        owner, rtype = dns.owner_type(id_)
        values = dns.values_of(after) if after else []
        records = [{"content": spelled(rtype, value)} for value in values] + self._disabled(id_, values)
        rrset: Native = {"name": dns.absolute(owner, self.name), "type": spelled_type(rtype), "changetype": "DELETE"}
        if not records:
            return rrset
        ttl = dns.ttl_of(after) if after else self.native[id_]["ttl"]
        return {**rrset, "changetype": "REPLACE", "ttl": ttl, "records": records}

    def _disabled(self, id_: Id, values: Sequence[str]) -> list[Native]:
        """Records of an RRset that are kept and not served, besides those with one of `values`."""
        if id_ not in self.native:
            return []
        rtype = dns.owner_type(id_)[1]
        with making_sense(f"{id_.name} in {self.name}"):
            kept = [record["content"] for record in self.native[id_]["records"] if record["disabled"]]
            return [{"content": c, "disabled": True} for c in kept if folded(rtype, c) not in values]


def unmade(name: str) -> Zone:
    """A zone that is not there yet."""
    return Zone(name, {"name": name, "dnssec": False, "kind": "native", "rrsets": []})


making_sense = partial(http.making_sense, "PowerDNS")


def presigned(name: str) -> TargetError:
    return TargetError(f"{name} is signed elsewhere (PRESIGNED): what is written here would be served unsigned")


def zone_name(name: str) -> str:
    """As scopes are called; of a zone that can be none, its name as it is."""
    with suppress(ValueError):
        return dns.fold_zone(name)
    return name


def row(record: Mapping[str, Any]) -> str:
    """One record, served or disabled, in one line; "" for the SOA, which says nothing that is declared."""
    if record["type"] == "SOA":
        return ""
    return f"{record['name']} {record['type']} {record['ttl']} {record['disabled']} {record['content']}"


def token(zone: Mapping[str, Any], rows: Iterable[str]) -> str:
    """
    A fingerprint of a zone. Not its serial: that stays when somebody writes with pdnsutil or SQL, and where
    soa_edit_api says so.
    """
    lines = "\n".join(sorted(filter(None, rows)))
    digest = hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:16]} {_manner(zone)}"


def token_of_serial(zone: Mapping[str, Any]) -> str:
    """A cheaper one, for a server where each change moves the serial: all of them come through its API."""
    return f"serial {int(zone['serial'])} {_manner(zone)}"


def _manner(zone: Mapping[str, Any]) -> str:
    return f"{zone['kind']}{' signed' if zone['dnssec'] is True else ''}"


def zone_id(zone: str) -> str:
    """How the API's paths name a zone."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda c: "".join(f"={byte:02X}" for byte in c[0].encode()), f"{zone}.")


# -- values ---------------------------------------------------------------------------------------------------

_STRING = r'"(?:[^"\\]|\\.)*"'
_STRINGS = re.compile(rf"{_STRING}(?: {_STRING})*", re.DOTALL)
_PLAIN_STRING = re.compile(r'"[ !#-\[\]-~]*"')
_SIXTY = re.compile(r"(\d+) (\d+) 60(?:\.0*)? (?=[NSEW])")
_PARAMETER = re.compile(rf" ([a-z0-9-]+)(?:=({_STRING}))?(?= |$)")
_BARE = frozenset({"alpn", "ipv4hint", "ipv6hint", "mandatory", "port"})  # parameters whose values have no quotes
_UNNAMED = {"dohpath": "key7", "ohttp": "key8"}  # parameters that 4.7 has no names for
_NAMES = re.compile(r"\b(dohpath|ohttp)\b")


def folded(rtype: str, content: str) -> str:
    """A value of the API in normal form. Raises ValueError."""
    if rtype in ("TXT", "SPF") and not content.startswith("\\#"):
        if _PLAIN_STRING.fullmatch(content):
            return content
        if not _STRINGS.fullmatch(content):
            raise ValueError("its text is not in quotes")
        return dns.joined(content)
    if rtype == "LOC":
        content = _SIXTY.sub(_carried, content)
    return dns.fold_value(rtype, content, str)


def _carried(match: re.Match[str]) -> str:
    """Where PowerDNS says 25 minutes and 60 seconds, because it rounds."""
    degrees, minutes = divmod(int(match[1]) * 60 + int(match[2]) + 1, 60)
    return f"{degrees} {minutes} 0 "


def spelled(rtype: str, value: str) -> str:
    """A value in normal form as PowerDNS takes it."""
    if rtype not in TYPES:
        return dns.to_rdata(rtype, value).to_generic().to_text()
    if rtype == "CERT":  # in numbers alone
        words, rdata = value.split(), cast(Any, dns.to_rdata(rtype, value))
        return f"{int(rdata.certificate_type)} {words[1]} {int(rdata.algorithm)} {''.join(words[3:])}"
    if rtype == "AAAA" and "." in value:
        return ipaddress.IPv6Address(value).exploded
    if rtype in ("SVCB", "HTTPS"):
        return _PARAMETER.sub(_parameter, value)
    return dns.master_text(rtype, value)


def _parameter(match: re.Match[str]) -> str:
    """A parameter of a service binding, without quotes where PowerDNS has none."""
    name, value = match[1], match[2] or ""
    if name == "mandatory":
        value = _NAMES.sub(lambda named: _UNNAMED[named[0]], value)
    if name in _UNNAMED:
        return f" {_UNNAMED[name]}=" + (value or '""')
    value = value[1:-1] if name in _BARE else value
    return f" {name}{'=' if value else ''}{value}"


def spelled_type(rtype: str) -> str:
    if rtype in TYPES or rtype.startswith("TYPE"):
        return rtype
    from dns.rdatatype import from_text

    return f"TYPE{int(from_text(rtype))}"


_OTHERWISE = re.compile(r"Record (\S+)/(\S+) '(.*)': Not in expected format \(parsed as '(.*)'\)", re.DOTALL)


def respelled(said: str, asked: Sequence[tuple[Id, Native]]) -> bool:
    """Whether a refusal is about the spelling of a value alone; if so, the value in `asked` has the wanted one now."""
    match = _OTHERWISE.search(said)
    if match is None:
        return False
    name, rtype, ours, theirs = match.groups()
    for id_, rrset in asked:
        for record in rrset.get("records", ()) if (rrset["name"], rrset["type"]) == (name, rtype) else ():
            if record["content"] == ours and _same(dns.owner_type(id_)[1], ours, theirs):
                record["content"] = theirs
                return True
    return False


def _same(rtype: str, one: str, other: str) -> bool:
    with suppress(ValueError):
        return folded(rtype, one) == folded(rtype, other)
    return False


# -- what it does not take ------------------------------------------------------------------------------------

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_/.-"
_OWNER = re.compile(rf"@|\*|(?:\*\.)?[{_LETTERS}]+")
_ESCAPED = re.compile(rf"{_STRING}|\\(.)")
_AMBIGUOUS = frozenset('";()')  # in a name they are shown without the escape, and then they mean something else
_ONE_NAME = frozenset({"ALIAS", "CNAME", "DNAME", "PTR"})
_HOST = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+")


def refusals(resource: Resource) -> Iterator[str]:
    """Why PowerDNS takes no such RRset."""
    owner, rtype = dns.owner_type(resource.id)
    values = dns.values_of(resource)
    if not _OWNER.fullmatch(owner):
        odd = " ".join(sorted({*owner} - {*_LETTERS}))
        yield f"PowerDNS takes no name with {odd} in it (letters, digits, - _ / and a * in front)"
    yield from whole.alone(resource)
    if owner == dns.APEX and rtype == "DS":
        yield "a DS cannot stand at the zone's own name"
    escaped = {match[1] for value in values for match in _ESCAPED.finditer(value)} if rtype not in _ONE_NAME else set()
    for character in sorted(escaped & _AMBIGUOUS):
        yield f"PowerDNS takes no {rtype} that names a host with {character} in it"
    for host in [value.split()[-1] for value in values] if rtype in ("MX", "NS", "SRV") else ():
        if not (_HOST.fullmatch(host) or (host == "." and rtype != "NS")):
            yield f"PowerDNS takes no {rtype} that names {host}, which is no host (letters, digits and hyphens)"
