"""Backups that are not what was agreed: as each host wrote them down, and was read in this run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.fields import spoken_size
from mspctl.finding import Finding, Severity
from mspctl.kinds import spoken_duration
from mspctl.kinds.backup import SECTION
from mspctl.kinds.hosts import FACET, parts
from mspctl.model.sections.backup import Checks, Job, Report, Section, Thinning, jobs_of
from mspctl.model.sections.hosts import entries
from mspctl.plan import ScopePlan
from mspctl.proof import LATE
from mspctl.resource import Scope, Value
from mspctl.strict_yaml import find

WEEK = timedelta(days=9)  # a schedule comes round each week at least
SMALL = 64 * 2**20  # octets; what grows by less than that is no news

CODES = {
    "backup.rpo": "the newest copy is older than agreed, or there is none",
    "backup.failed": "the last run of a backup failed",
    "backup.size": "a copy is much smaller or larger than the one before",
    "backup.check": "a repository is damaged, or was not checked for too long",
    "backup.thinning": "old copies are not taken out of an append-only repository",
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
            for name, report in section.reports.items():
                if report.host == host:
                    yield from _Run.of_report(facts, scope, plan, name, report).judge(settings)
            for name, thinning in section.thinning.items():
                if thinning.host == host:
                    yield from _thinned(facts, scope, name, thinning, plan)
            for name, job in jobs_of(section, host, entries(facts.customer)[host]):
                run = _Run.of_job(facts, scope, plan, name, job)
                yield from run.judge(settings)
                yield from run.checked(job.check.every) if job.check else ()


def _thinned(facts: Facts, scope: Scope, name: str, thinning: Thinning, plan: ScopePlan) -> Iterator[Finding]:
    good, error = _moment(plan.facts.get(f"thinning/{name} good")), plan.facts.get(f"thinning/{name} error")
    mark = find(facts.customer.data[SECTION], ("thinning", name))
    source, path = f"{mark.file}:{mark.line}" if mark else "", f"{scope.facet}/{scope.name}/{name}"
    remedy = f"on {thinning.host}: journalctl -u mspctl-thinning-{name}"
    since = good.date() if good else None
    if error:
        text = f"backups in {thinning.folder} were not thinned out: {error}"
        yield Finding("backup.thinning", Severity.WARNING, scope.customer, path, text, remedy, source, since)
    elif good and facts.now - good > WEEK:
        text = f"backups in {thinning.folder} were thinned out last on {good:%Y-%m-%d}"
        yield Finding("backup.thinning", Severity.WARNING, scope.customer, path, text, remedy, source, since)


@dataclass(frozen=True, slots=True)
class _Run:
    """What makes copies of a host, ours or another program, and how that went last."""

    facts: Facts
    scope: Scope
    plan: ScopePlan
    place: tuple[str, str]  # in backup.yaml: ("jobs", "notte")
    what: str
    rpo: int
    look: str  # where there is more of it
    begin: str  # what to do where there is none yet

    @classmethod
    def of_job(cls, facts: Facts, scope: Scope, plan: ScopePlan, name: str, job: Job) -> _Run:
        host = parts(scope)[1]
        begin = f"on {host}: systemctl start mspctl-backup-{name}, or wait for {job.schedule}"
        look = f"on {host}: journalctl -u mspctl-backup-{name}"
        return cls(facts, scope, plan, ("jobs", name), f"backup {name} of {host}", job.rpo, look, begin)

    @classmethod
    def of_report(cls, facts: Facts, scope: Scope, plan: ScopePlan, name: str, report: Report) -> _Run:
        whose = f" of {', '.join(report.covers)}" if report.covers else ""
        begin = f"does it report into {report.files} on {report.host}, as {report.format}?"
        look = f"look into its own log, and at {report.files} on {report.host}"
        return cls(facts, scope, plan, ("reports", name), f"backup {name}{whose}", report.rpo, look, begin)

    def judge(self, settings: Checks) -> Iterator[Finding]:
        live, what = self.live, self.what
        latest, ended = _moment(live.get("latest")), _moment(live.get("ended"))
        if ended and not live.get("ok"):
            text = f"{what} failed on {ended:%Y-%m-%d %H:%M} UTC: {live.get('error')}"
            yield self.finding("backup.failed", Severity.SEVERE, text, self.look, ended)
        if latest is None:
            yield self.finding("backup.rpo", Severity.WARNING, f"{what} has no copy yet", self.begin)
        elif self.facts.now - latest > timedelta(seconds=self.rpo):
            age = f"older than {spoken_duration(self.rpo)}"
            text = f"the newest copy of {what} is {age}: {latest:%Y-%m-%d %H:%M} UTC"
            remedy = f"does it run, and is where it copies to there? {self.look}"
            yield self.finding("backup.rpo", Severity.SEVERE, text, remedy, latest)
        if live.get("ok"):
            yield from self._size(_number(live.get("bytes")), _number(live.get("before")), settings, ended)

    def _size(self, size: int, before: int, settings: Checks, ended: datetime | None) -> Iterator[Finding]:
        text = f"{self.what} holds {_spoken(size)}, the copy before held {_spoken(before)}"
        if size * 100 < before * (100 - settings.size):
            yield self.finding("backup.size", Severity.WARNING, text, "was something deleted, or left out?", ended)
        elif before and size - before > SMALL and size * 100 > before * (100 + settings.growth):
            remedy = "was something encrypted or filled up, or should it be left out?"
            yield self.finding("backup.size", Severity.WARNING, text, remedy, ended)

    def checked(self, every: int) -> Iterator[Finding]:
        last = _moment(self.live.get("checked"))
        if self.live.get("broken"):
            text = f"the repository of {self.what} did not pass its check: {self.live.get('broken')}"
            remedy = f"save what can be read, then mend it (restic rebuild-index, borg check --repair); {self.look}"
            yield self.finding("backup.check", Severity.SEVERE, text, remedy, last)
        elif last and (self.facts.now - last).total_seconds() > LATE * every + self.rpo:
            when = f"{last:%Y-%m-%d}, not every {spoken_duration(every)}"
            text, remedy = f"the repository of {self.what} was checked last on {when}", "it is checked after a good run"
            yield self.finding("backup.check", Severity.WARNING, text, f"{remedy}: {self.look}", last)

    @property
    def live(self) -> Mapping[str, Value]:
        start = f"{self.place[1]} " if self.place[0] == "jobs" else f"report/{self.place[1]} "
        return {key.removeprefix(start): v for key, v in self.plan.facts.items() if key.startswith(start)}

    def finding(self, code: str, severity: Severity, what: str, remedy: str, since: datetime | None = None) -> Finding:
        mark = find(self.facts.customer.data[SECTION], self.place)
        source = f"{mark.file}:{mark.line}" if mark else ""
        path = f"{self.scope.facet}/{self.scope.name}/{self.place[1]}"
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
