"""
Master files (RFC 1035 section 5) as text: read into records with their lines, and written.

dnspython reads them (`any_master`); but where it drops something in silence (a name outside the zone, a second
CNAME, a record beside a CNAME, a second TTL in one RRset) we keep it and say so. Lines as we write them ourselves
are most of what is ever read, and need no tokenizer: a file that holds only such lines is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mspctl.kinds import dns
from mspctl.resource import Resource


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a master file; `owner` is absolute, `line` counts from 1."""

    owner: str
    rtype: str
    ttl: int
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Soa:
    """Start of authority: names absolute, times in seconds."""

    mname: str
    rname: str
    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int
    ttl: int

    def text(self) -> str:
        times = f"{self.refresh} {self.retry} {self.expire} {self.minimum}"
        return f"@ {self.ttl} IN SOA {self.mname} {self.rname} {self.serial} {times}"


@dataclass(slots=True)
class Master:
    """What a master file says; `problems` are (line, text)."""

    records: list[Record] = field(default_factory=list)
    soa: Soa | None = None
    problems: list[tuple[int, str]] = field(default_factory=list)
    made: dict[str, list[int]] = field(default_factory=dict)  # types that servers make → their lines; not in records
    foreign: bool = False  # the SOA record is another zone's: everything else will be outside, too


def read(text: str, zone: str, ttl: int | None = None) -> Master:
    """
    All records of a master file of `zone`; `ttl` is theirs where the file says nothing of it.

    A line that cannot be read is a problem, and the next one is tried.
    """
    master = _read_plain(text, zone)
    if master is None:
        from mspctl.kinds import any_master

        master = any_master.read(text, zone, ttl)
    return master


def write(zone: str, soa: Soa, resources: Iterable[Resource], header: Sequence[str] = ()) -> str:
    """A master file in the one layout we write: apex first, then by owner; no relative names in values."""
    lines = [*(f"; {line}" for line in header), f"$ORIGIN {zone}.", f"$TTL {soa.minimum}", soa.text()]
    for resource in sorted(resources, key=_by_owner):
        owner, rtype = dns.owner_type(resource.id)
        prefix = f"{owner} {dns.ttl_of(resource)} IN {rtype} "
        lines.extend(prefix + dns.master_text(rtype, value) for value in dns.values_of(resource))
    return "\n".join(lines) + "\n"


def _by_owner(resource: Resource) -> tuple[list[str], bool, str]:
    owner, rtype = dns.owner_type(resource.id)
    return ([] if owner == dns.APEX else owner.split(".")[::-1], rtype != "NS", rtype)


def rrsets(records: Iterable[Record], zone: str, file: str) -> tuple[list[Resource], list[tuple[int, str]]]:
    """Records grouped into RRsets, and what does not fit together, as (line, text). The first TTL counts."""
    groups: dict[tuple[str, str], list[Record]] = {}
    problems = []
    outside = []
    for record in records:
        try:
            owner = dns.fold_owner(record.owner, zone)
        except ValueError as error:
            outside.append((record.line, str(error)))
            continue
        group = groups.setdefault((owner, record.rtype), [])
        if group and group[0].ttl != record.ttl:
            first = f"{group[0].ttl} on line {group[0].line}"
            text = f"{owner} {record.rtype} has TTL {record.ttl}, and {first} (one RRset has one TTL)"
            problems.append((record.line, text))
        group.append(record)
    resources = [
        dns.rrset(owner, rtype, group[0].ttl, (r.value for r in group), f"{file}:{group[0].line}")
        for (owner, rtype), group in groups.items()
    ]
    if len(outside) > 1 and not groups:
        line, said = outside[0]
        outside = [(line, f"{said}, like all {len(outside)} records here (is $ORIGIN another zone's?)")]
    return resources, [*problems, *outside]


def doubled(records: Iterable[Record]) -> list[tuple[int, str]]:
    """Records that stand twice, as (line, text)."""
    first: dict[tuple[str, str, str], Record] = {}
    found = []
    for record in records:
        same = first.setdefault((record.owner, record.rtype, record.value), record)
        if same is not record:
            found.append((record.line, f"this record stands on line {same.line} already"))
    return found


# -- lines as we write them -----------------------------------------------------------------------------------

_PLAIN = re.compile(
    r'(@|[^\s"$();@\\]+) (\d{1,10}) IN ([A-Z]+) '
    r'((?:"(?:[ !#-\[\]-~]|\\(?:\d{3}|[!-/:-~]))*"(?: (?=")|$))+|[A-Za-z0-9_*/.: -]+|\d+ \w+ "[ !#-\[\]-~]*")'
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SOA_VALUE = re.compile(r"(\S+\.) (\S+\.) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10}) (\d{1,10})", re.ASCII)


def _read_plain(text: str, zone: str) -> Master | None:
    """The file, if every line has the plain shape; None sends it to dnspython."""
    if not text.isascii() or "\r" in text:
        return None
    master = Master()
    suffix = f".{zone}."
    ignored = {f"$ORIGIN {zone}."}  # every line names its owner's place and TTL

    def relative(name: str) -> str:
        return name + suffix

    for number, line in enumerate(text.split("\n"), 1):
        if not line or line[0] == ";" or line in ignored:
            continue
        match = _PLAIN.fullmatch(line)
        if match is None:
            if not _is_ttl(line):
                return None
            ignored.add(line)
            continue
        owner, typed_ttl, rtype, value = match.groups()
        ttl = int(typed_ttl)
        folded = _plain_value(rtype, value, relative) if rtype != "SOA" else ""
        name = _plain_owner(owner, zone)
        if folded is None or name is None or ttl > dns.MAX_TTL:
            return None
        if rtype != "SOA":
            master.records.append(Record(name, rtype, ttl, folded, number))
        elif owner != dns.APEX or master.soa is not None or (soa := _plain_soa(value, ttl)) is None:
            return None
        else:
            master.soa = soa
    return master


def _is_ttl(line: str) -> bool:
    ttl = line.removeprefix("$TTL ")
    return ttl != line and ttl.isdigit() and len(ttl) < 11 and int(ttl) <= dns.MAX_TTL


def _plain_owner(owner: str, zone: str) -> str | None:
    try:
        name = f"{zone}." if owner == dns.APEX else dns.fold(owner)
    except ValueError:
        return None
    full = name if name.endswith(".") else f"{name}.{zone}."
    return full if len(full) < 255 else None


def _plain_value(rtype: str, value: str, relative: dns.Relative) -> str | None:
    """A value in normal form; None where only dnspython knows."""
    try:
        if value[-1] == '"' and rtype != "CAA":
            return _joined(value) if value[0] == '"' and rtype in ("TXT", "SPF") else None
        return dns.fold_value(rtype, value, relative) if rtype in _WORDS else None
    except ValueError:
        return None


def _plain_soa(value: str, ttl: int) -> Soa | None:
    match = _SOA_VALUE.fullmatch(value)
    if match is None:
        return None
    serial, refresh, retry, expire, minimum = times = [int(text) for text in match.groups()[2:]]
    try:
        names = dns.fold(match[1]), dns.fold(match[2])
        return Soa(*names, serial, refresh, retry, expire, minimum, ttl) if max(times) < 2**32 else None
    except ValueError:
        return None


# Types whose values have no escapes and no comments when written plainly, and no quotes but those of CAA.
_WORDS = frozenset("A AAAA CAA CNAME DNAME NS PTR MX SRV".split())


def _joined(value: str) -> str:
    """One string of one or many, in normal form without decoding where it already is."""
    parts = _QUOTED.findall(value)
    if len(parts) == 1 and "\\" not in value and len(value) <= 257:
        return value
    chunks = [dns.content(f'"{part}"') for part in parts]
    if max(map(len, chunks)) > 255:
        raise ValueError("a chunk is longer than 255 octets")
    return dns.quoted(b"".join(chunks))
