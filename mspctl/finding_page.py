"""
What a drift run found of one customer, and since when it is so, as a file on the branch `observations`. Pure.

Only a run that also looked from outside, and at the whole customer, writes one: any other would take away what it did
not look for. Like observations it is a cache: one that is damaged, or of a newer program, is as good as none.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from mspctl.document import Object, a_list, line, list_of, members, object_of, text
from mspctl.finding import Finding, Severity
from mspctl.secrets import redact

FORMAT = 1
_TEXTS = ("code", "path", "what", "remedy", "source")

Key = tuple[str, str]  # code and path: how a finding is said may change from day to day


@dataclass(frozen=True, slots=True)
class Found:
    customer: str
    read_at: datetime
    findings: tuple[Finding, ...] = ()  # accepted ones too: what is accepted is said elsewhere
    first: Mapping[Key, datetime] = field(default_factory=dict)  # when each was first seen


def found(customer: str, findings: Iterable[Finding], now: datetime, before: Found | None) -> Found:
    """What a run found, by what was known before."""
    mine = tuple(f for f in findings if f.customer == customer)
    known = before.first if before else {}
    return Found(customer, now, mine, {key(f): known.get(key(f), now) for f in mine})


def key(finding: Finding) -> Key:
    return finding.code, finding.path


def rendered(page: Found) -> bytes:
    sections = {
        "format": str(FORMAT),
        "customer": line(page.customer),
        "read": line(page.read_at.isoformat(timespec="seconds")),
        "findings": list_of(redact(line(_to_json(f, page.first[key(f)]))) for f in sorted(page.findings, key=_order)),
    }
    return (object_of(sections) + "\n").encode()


def _order(finding: Finding) -> tuple[str, ...]:
    return finding.code, finding.path, finding.what


def _to_json(finding: Finding, first: datetime) -> Object:
    said: Object = {name: getattr(finding, name) for name in _TEXTS}
    said |= {"severity": finding.severity.value, "first": first.isoformat(timespec="seconds")}
    days = {"since": finding.since, "until": finding.until}
    return said | {name: day.isoformat() for name, day in days.items() if day}


def parsed(content: bytes) -> Found | None:
    """None for what is not exactly what `rendered` writes."""
    try:
        said = members(json.loads(content.decode()), "findings", ("format", "customer", "read"), ("findings",))
        if said["format"] != FORMAT:
            return None
        customer = text(said, "customer")
        pairs = [_from_json(each, customer) for each in a_list(said.get("findings", []))]
        first = {key(finding): seen for finding, seen in pairs}
        return Found(customer, _time(said, "read"), tuple(finding for finding, _ in pairs), first)
    except (ValueError, RecursionError):
        return None


def _from_json(data: object, customer: str) -> tuple[Finding, datetime]:
    said = members(data, "a finding", (*_TEXTS, "severity", "first"), ("since", "until"))
    code, path, what, remedy, source = (text(said, name) for name in _TEXTS)
    since, until = (date.fromisoformat(text(said, name)) if name in said else None for name in ("since", "until"))
    finding = Finding(code, Severity(text(said, "severity")), customer, path, what, remedy, source, since, until)
    return finding, _time(said, "first")


def _time(document: Mapping[str, object], name: str) -> datetime:
    moment = datetime.fromisoformat(text(document, name))
    if moment.tzinfo is None:
        raise ValueError(f'"{name}" has no time zone')
    return moment


def first_seen(pages: Collection[Found]) -> dict[tuple[str, str, str], datetime]:
    """By customer, code and path."""
    return {(page.customer, *key_): moment for page in pages for key_, moment in page.first.items()}
