"""Backups that are not what was agreed: as each host wrote them down, and was read in this run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.fields import spoken_duration, spoken_size
from mspctl.finding import Finding, Severity
from mspctl.kinds.backup import SECTION
from mspctl.kinds.hosts import FACET, parts
from mspctl.model.sections.backup import Checks, Job, Section, jobs_of
from mspctl.model.sections.hosts import entries
from mspctl.plan import ScopePlan
from mspctl.proof import LATE
from mspctl.resource import Scope, Value
from mspctl.strict_yaml import find

SMALL = 64 * 2**20  # octets; what grows by less than that is no news

CODES = {
    "backup.rpo": "the newest copy is older than agreed, or there is none",
    "backup.failed": "the last run of a backup failed",
    "backup.size": "a copy is much smaller or larger than the one before",
    "backup.check": "a repository is damaged, or was not checked for too long",
}


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    said = facts.inventory.checks.get(SECTION)
    settings = said if isinstance(said, Checks) else Checks()
    section = facts.customer.sections[SECTION]
    assert isinstance(section, Section), "load puts each section's own model here"
    for declaration in facts.declared:
        scope = declaration.scope
        plan = facts.live.get(scope)
        if scope.facet == FACET and parts(scope)[2] == SECTION and plan is not None and not plan.error:
            host = parts(scope)[1]
            for name, job in jobs_of(section, host, entries(facts.customer)[host]):
                yield from _Run(facts, scope, host, name, job, plan).judge(settings)


@dataclass(frozen=True, slots=True)
class _Run:
    """One job on one host, and how its last run went."""

    facts: Facts
    scope: Scope
    host: str
    name: str
    job: Job
    plan: ScopePlan

    def judge(self, settings: Checks) -> Iterator[Finding]:
        live, what = self._live(), f"backup {self.name} of {self.host}"
        latest, ended = _moment(live.get("latest")), _moment(live.get("ended"))
        look = f"on {self.host}: journalctl -u mspctl-backup-{self.name}"
        if ended and not live.get("ok"):
            text = f"{what} failed on {ended:%Y-%m-%d %H:%M} UTC: {live.get('error')}"
            yield self._finding("backup.failed", Severity.SEVERE, text, look, ended)
        rpo = timedelta(seconds=self.job.rpo)
        if latest is None:
            text = f"{what} has no copy yet"
            remedy = f"on {self.host}: systemctl start mspctl-backup-{self.name}, or wait for {self.job.schedule}"
            yield self._finding("backup.rpo", Severity.WARNING, text, remedy)
        elif self.facts.now - latest > rpo:
            age = f"older than {spoken_duration(self.job.rpo)}"
            text = f"the newest copy of {what} is {age}: {latest:%Y-%m-%d %H:%M} UTC"
            remedy = f"does the timer run, and is the repository there? {look}"
            yield self._finding("backup.rpo", Severity.SEVERE, text, remedy, latest)
        size, before = _number(live.get("bytes")), _number(live.get("before"))
        if live.get("ok") and size * 100 < before * (100 - settings.size):
            text = f"{what} holds {_spoken(size)}, the copy before held {_spoken(before)}"
            yield self._finding("backup.size", Severity.WARNING, text, "was something deleted, or left out?", ended)
        elif live.get("ok") and size * 100 > before * (100 + settings.growth) and before and size - before > SMALL:
            text = f"{what} holds {_spoken(size)}, the copy before held {_spoken(before)}"
            remedy = "was something encrypted or filled up, or should it be left out?"
            yield self._finding("backup.size", Severity.WARNING, text, remedy, ended)
        if self.job.check and ended:
            yield from self._checked(live, what, self.job.check.every, look)

    def _checked(self, live: Mapping[str, Value], what: str, every: int, look: str) -> Iterator[Finding]:
        last = _moment(live.get("checked"))
        if live.get("broken"):
            text = f"the repository of {what} did not pass its check: {live.get('broken')}"
            remedy = f"save what can be read, then mend it (restic rebuild-index, or a new one); {look}"
            yield self._finding("backup.check", Severity.SEVERE, text, remedy, last)
        elif last and (self.facts.now - last).total_seconds() > LATE * every + self.job.rpo:
            text = f"the repository of {what} was checked last on {last:%Y-%m-%d}, not every {spoken_duration(every)}"
            remedy = f"it is checked after a run that ends well: {look}"
            yield self._finding("backup.check", Severity.WARNING, text, remedy, last)

    def _live(self) -> Mapping[str, Value]:
        start = f"{self.name} "
        return {key.removeprefix(start): v for key, v in self.plan.facts.items() if key.startswith(start)}

    def _finding(self, code: str, severity: Severity, what: str, remedy: str, since: datetime | None = None) -> Finding:
        mark = find(self.facts.customer.data[SECTION], ("jobs", self.name))
        source = f"{mark.file}:{mark.line}" if mark else ""
        path = f"{self.scope.facet}/{self.scope.name}/{self.name}"
        return Finding(code, severity, self.scope.customer, path, what, remedy, source, since.date() if since else None)


def _moment(seconds: Value | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and 0 < seconds < 2**33 else None


def _number(value: Value | None) -> int:
    return value if isinstance(value, int) else 0


def _spoken(octets: int) -> str:
    """Rounded to two digits or more, which is what people compare."""
    for unit in (2**40, 2**30, 2**20, 2**10):
        if octets >= 10 * unit:
            return spoken_size(octets // unit * unit)
    return spoken_size(octets) if octets else "nothing"
