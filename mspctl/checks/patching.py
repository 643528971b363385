"""Hosts whose updates do not come: as they said in this run. What nobody could count is never counted as good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.desired import Declaration
from mspctl.finding import Finding, Severity
from mspctl.kinds.hosts import parts
from mspctl.kinds.patching import SECTION
from mspctl.model.sections.patching import Checks
from mspctl.resource import Value

CODES = {
    "patching.unknown": "nobody knows which updates are pending",
    "patching.late": "security updates are pending for longer than they should",
    "patching.failed": "the last installation of updates failed",
    "patching.reboot": "a host waits for a reboot that nobody makes",
}


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    said = facts.inventory.checks.get(SECTION)
    settings = said if isinstance(said, Checks) else Checks()
    for declaration in facts.declared:
        scope = declaration.scope
        if scope.facet == "hosts" and parts(scope)[2] == SECTION:
            plan = facts.live.get(scope)
            if plan is not None and plan.facts and not plan.error:
                yield from _judge(facts, declaration, plan.facts, settings)


def _judge(facts: Facts, declared: Declaration, live: Mapping[str, Value], settings: Checks) -> Iterator[Finding]:
    host = parts(declared.scope)[1]
    asked, since = _moment(live.get("asked")), _moment(live.get("since"))
    if live.get("failed"):
        remedy = f"on {host}: journalctl -u mspctl-patching"
        yield _finding(
            declared, "patching.failed", Severity.SEVERE, f"updates of {host} could not be installed", remedy
        )
    if asked is None or _older(facts, asked, settings.index) or live.get("pending") == -1:
        when = f"the archive was asked last on {asked:%Y-%m-%d}" if asked else "the archive was never asked"
        if asked and not _older(facts, asked, settings.index):
            when = "its lists of packages are empty, or APT cannot read them"
        remedy = f"on {host}: systemctl start mspctl-patching-facts, and see whether apt-get update works"
        what = f"what is pending on {host} is not known: {when}"
        yield _finding(declared, "patching.unknown", Severity.UNKNOWN, what, remedy, asked)
    elif since and _older(facts, since, settings.late):
        what = f"{live.get('security')} security updates are pending on {host} since {since:%Y-%m-%d}"
        remedy = "is the window too short, or the host switched off in it? See journalctl -u mspctl-patching there"
        yield _finding(declared, "patching.late", Severity.WARNING, what, remedy, since)
    never = any(resource.fields.get("reboot") == "never" for resource in declared.resources)
    if live.get("reboot") and never:
        what, remedy = f"{host} has to be rebooted for its updates", "agree when, or let it: reboot: if needed"
        yield _finding(declared, "patching.reboot", Severity.WARNING, what, remedy)


def _moment(seconds: Value | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) and 0 < seconds < 2**33 else None


def _older(facts: Facts, then: datetime, seconds: int) -> bool:
    return facts.now - then > timedelta(seconds=seconds)


def _finding(
    declared: Declaration, code: str, severity: Severity, what: str, remedy: str, since: datetime | None = None
) -> Finding:
    scope = declared.scope
    source = next((r.source for r in declared.resources if r.source), declared.source)
    return Finding(
        code,
        severity,
        scope.customer,
        f"{scope.facet}/{scope.name}",
        what,
        remedy,
        source,
        since.date() if since else None,
    )
