"""
Hosts that nobody looks after in some way, and dates that matter: warranties, loans, waivers; and what was collected of
them (`assets.py`).

No host is asked. Whether a host has a section is up to that section: its module says which hosts it covers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from mspctl.checks import Facts, Seen
from mspctl.checks.hosts import assets
from mspctl.finding import Finding, Severity
from mspctl.kinds.assets import AssetsOf
from mspctl.kinds.hosts import FACET, scope_name
from mspctl.model import sections
from mspctl.model.sections.hosts import WANTED, Checks, Entry, entries, place
from mspctl.resource import Scope

CODES = {
    "hosts.uncovered": "a host has no backup or antivirus, or is not patched, and nobody says why",
    "hosts.waiver": "what a host does without is waived for a few more days only",
    "hosts.warranty": "a host's warranty ends soon, or has ended",
    "hosts.loan": "a host on loan has to go back",
    **assets.CODES,
}
DOES = {"antivirus": "has no antivirus", "backup": "has no backup", "patching": "is not patched"}


def questions(facts: Facts) -> Iterator[AssetsOf]:
    yield AssetsOf(facts.customer.name)


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    said = facts.inventory.checks.get("hosts")
    settings = said if isinstance(said, Checks) else Checks()
    covered = {name: sections.module(name).covered(facts.customer) for name in WANTED if name in sections.names()}
    for name, entry in entries(facts.customer).items():
        host = _Host(facts, name, entry, settings)
        for section, hosts in covered.items():
            if name not in hosts and facts.wants(host.scope(section), "hosts", section):
                yield from host.uncovered(section)
        if facts.wants(host.scope(""), "hosts"):
            yield from host.warranty()
            yield from host.loan()
    yield from assets.findings(facts, settings, seen.get(AssetsOf(facts.customer.name)))


@dataclass(frozen=True, slots=True)
class _Host:
    facts: Facts
    name: str
    entry: Entry
    settings: Checks

    def scope(self, section: str) -> Scope:
        name = scope_name(self.facts.customer.name, self.name, section).rstrip("/")
        return Scope(self.entry.target or "", FACET, name, self.facts.customer.name)

    def uncovered(self, section: str) -> Iterator[Finding]:
        waived = next((w for name, w in self.entry.waived.items() if name == section), None)
        left = (waived.until - self.facts.today).days if waived else 0
        text, remedy = f"{self.name} {DOES[section]}", f"give it one in {section}.yaml or a baseline"
        if waived is None:
            remedy += f", or write waived: {{{section}: {{why: …, until: …}}}}"
            yield self._finding("hosts.uncovered", Severity.WARNING, text, remedy, section)
        elif left < 0:
            text += f", which was waived until {waived.until} ({waived.why})"
            yield self._finding(
                "hosts.uncovered", Severity.WARNING, text, remedy, section, "waived", section, since=waived.until
            )
        elif timedelta(days=left).total_seconds() <= self.settings.waiver:
            text += f", which is waived until {waived.until} ({waived.why})"
            yield self._finding(
                "hosts.waiver", Severity.INFO, text, remedy, section, "waived", section, until=waived.until
            )

    def warranty(self) -> Iterator[Finding]:
        ends = self.entry.warranty
        if ends and (when := self._soon(ends, self.settings.warranty)):
            text = f"the warranty of {self.name} {when} ({ends})"
            remedy = "extend it and write the new date, or plan a successor"
            since, until = (ends, None) if ends < self.facts.today else (None, ends)
            yield self._finding(
                "hosts.warranty", Severity.WARNING, text, remedy, "", "warranty", since=since, until=until
            )

    def loan(self) -> Iterator[Finding]:
        ends = self.entry.owner.loaned_until if self.entry.owner else None
        if ends and (when := self._soon(ends, self.settings.loan)):
            text = f"the loan of {self.name} {when} ({ends})"
            remedy = "give it back and take it out, or write until when it was agreed anew"
            since, until = (ends, None) if ends < self.facts.today else (None, ends)
            yield self._finding("hosts.loan", Severity.WARNING, text, remedy, "", "owner", since=since, until=until)

    def _soon(self, ends: date, seconds: int) -> str:
        left = (ends - self.facts.today).days
        if left < 0:
            return "has ended"
        if timedelta(days=left).total_seconds() > seconds:
            return ""
        return {0: "ends today", 1: "ends tomorrow"}.get(left, f"ends in {left} days")

    def _finding(
        self,
        code: str,
        severity: Severity,
        what: str,
        remedy: str,
        section: str,
        *key: str,
        since: date | None = None,
        until: date | None = None,
    ) -> Finding:
        mark = place(self.facts.customer, self.name, *key)
        source = f"{mark.file}:{mark.line}" if mark else ""
        path = f"{FACET}/{self.scope(section).name}"
        return Finding(code, severity, self.facts.customer.name, path, what, remedy, source, since, until)
