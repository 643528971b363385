"""
Master files (RFC 1035 section 5) as text: read into records with their lines, and written.

dnspython reads them; but where it drops something in silence (a name outside the zone, a second CNAME, a record
beside a CNAME, a second TTL in one RRset) we keep it and say so. Lines as we write them ourselves are most of
what is ever read, and need no tokenizer: a file that holds only such lines is read here, any other by dnspython.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mspctl.kinds import dns
from mspctl.kinds.dns import SERVER_MADE  # by its own name: within functions `dns` is dnspython
from mspctl.resource import Resource

MAX_RECORDS = 1_000_000  # what $GENERATE may expand to, and more than a file we would accept holds


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


def read(text: str, zone: str) -> Master:
    """All records of a master file of `zone`. A syntax error is the last problem; what stood before it is kept."""
    master = _read_plain(text, zone)
    return master if master is not None else _read_by_dnspython(text, zone)


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
    for record in records:
        try:
            owner = dns.fold_owner(record.owner, zone)
        except ValueError as error:
            problems.append((record.line, str(error)))
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
    return resources, problems


# -- lines as we write them -----------------------------------------------------------------------------------

_PLAIN = re.compile(
    r"(@|(?:[A-Za-z0-9_*][A-Za-z0-9_*/-]{0,61}\.)*[A-Za-z0-9_*][A-Za-z0-9_*/-]{0,61}\.?) (\d{1,10}) IN ([A-Z0-9]+) "
    r'((?:"(?:[^"\\\n]|\\(?:\d{3}|[^\d\n]))*"(?: (?=")|$))+|[^;()"\\$@\s][^;()"\\\n]*)',
    re.ASCII,
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SOA_VALUE = re.compile(r"(\S+\.) (\S+\.) (\d+) (\d+) (\d+) (\d+) (\d+)", re.ASCII)


def _read_plain(text: str, zone: str) -> Master | None:
    """The file, if every line has the plain shape; None sends it to dnspython."""
    master = Master()
    suffix = f".{zone}."
    origin = f"$ORIGIN {zone}."

    def relative(name: str) -> str:
        return name + suffix

    for number, line in enumerate(text.split("\n"), 1):
        if not line or line[0] == ";" or line == origin or (line.startswith("$TTL ") and line[5:].isdigit()):
            continue
        match = _PLAIN.fullmatch(line)
        if match is None:
            return None
        owner, ttl, rtype, value = match.groups()
        if rtype == "SOA":
            soa = _SOA_VALUE.fullmatch(value)
            if owner != dns.APEX or soa is None or master.soa is not None:
                return None
            master.soa = _soa(soa.groups(), int(ttl))
            continue
        folded = _plain_value(rtype, value, relative)
        if folded is None:
            return None
        owner = owner.lower()
        name = f"{zone}." if owner == dns.APEX else owner if owner[-1] == "." else owner + suffix
        master.records.append(Record(name, rtype, int(ttl), folded, number))
    return master


def _plain_value(rtype: str, value: str, relative: dns.Relative) -> str | None:
    """A value in normal form; None where only dnspython knows."""
    try:
        if value[0] == '"':
            return _joined(value) if rtype in ("TXT", "SPF") else None
        return dns.fold_value(rtype, value, relative) if rtype in _WORDS else None
    except ValueError:
        return None


def _soa(words: tuple[str, ...], ttl: int) -> Soa:
    serial, refresh, retry, expire, minimum = map(int, words[2:])
    return Soa(words[0], words[1], serial, refresh, retry, expire, minimum, ttl)


# Types whose values have no quotes, no escapes and no comments when written plainly.
_WORDS = frozenset("A AAAA CNAME DNAME NS PTR MX SRV".split())


def _joined(value: str) -> str:
    """One string of one or many, in normal form without decoding where it already is."""
    parts = _QUOTED.findall(value)
    if len(parts) == 1 and "\\" not in value and value.isascii() and value.isprintable():
        return value
    return dns.quoted(b"".join(dns.content(f'"{part}"') for part in parts))


# -- any master file ------------------------------------------------------------------------------------------


class _Collector:
    """Stands where dnspython's Reader expects a transaction, and keeps every record it finds."""

    def __init__(self, zone: str, master: Master) -> None:
        self.manager = self
        self.master = master
        self.zone = zone
        self.line = 0

    def origin_information(self) -> tuple[object, bool, object]:
        import dns.name

        # The root as zone origin: so that dnspython never skips a name as "outside", and we can name it.
        return dns.name.root, False, dns.name.root

    def check_put_rdataset(self, check: object) -> None:
        """dnspython would register its CNAME check here; ours come later and name both lines."""

    def _set_origin(self, origin: object) -> None:
        pass

    def add_unicode(self, codec: str) -> None:
        pass

    def add(self, name: Any, ttl: int, rdata: Any) -> None:
        import dns.rdatatype

        rtype = dns.rdatatype.to_text(rdata.rdtype)
        if len(self.master.records) >= MAX_RECORDS:
            raise ValueError(f"more than {MAX_RECORDS} records")
        if rtype == "SOA":
            self.soa(name.to_text(), ttl, rdata)
        elif rtype not in SERVER_MADE:
            owner = name.canonicalize().to_text()
            self.master.records.append(Record(owner, rtype, ttl, _value(rdata), self.line))

    def soa(self, owner: str, ttl: int, rdata: Any) -> None:
        if owner.lower() != f"{self.zone}.":
            text = f"the SOA record is of {owner.rstrip('.')}, not of {self.zone} (is this another zone's file?)"
            self.master.problems.append((self.line, text))
            return
        if self.master.soa is not None:
            self.master.problems.append((self.line, "a second SOA record (a zone has one)"))
            return
        names = rdata.mname.canonicalize().to_text(), rdata.rname.canonicalize().to_text()
        times = rdata.refresh, rdata.retry, rdata.expire, rdata.minimum
        self.master.soa = Soa(*names, rdata.serial, *times, ttl)


def _value(rdata: Any) -> str:
    return dns.from_rdata(dns.made_absolute(rdata, str))


def _read_by_dnspython(text: str, zone: str) -> Master:
    import dns.exception
    import dns.name
    import dns.rdataclass
    import dns.tokenizer
    import dns.zonefile

    master = Master()
    collector = _Collector(zone, master)

    class Reader(dns.zonefile.Reader):
        def _rr_line(self) -> None:
            collector.line = self.tok.where()[1]
            super()._rr_line()

        def _generate_line(self) -> None:
            collector.line = self.tok.where()[1]
            super()._generate_line()  # type: ignore[no-untyped-call]

    tokenizer = dns.tokenizer.Tokenizer(text, "zone", idna_codec=dns.name.IDNA_2008_Practical)
    reader = Reader(tokenizer, dns.rdataclass.IN, collector)  # type: ignore[arg-type]
    reader.current_origin = reader.last_name = dns.name.from_text(zone)
    try:
        reader.read()
    except (dns.exception.DNSException, ValueError, UnicodeError, OverflowError, RecursionError) as error:
        line = max(tokenizer.where()[1], 1)
        master.problems.append((min(line, text.count("\n") + 1), _said(error)))
    return master


def _said(error: Exception) -> str:
    text = re.sub(r"^zone:\d+: |caught exception <class '[\w.]+'>: ", "", dns.first_line(error))
    return f"is not a zone file: {text or 'syntax error'}"
