"""Entries of allow and block that are past their date: still on the server, or only in Git."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks.mail.domain import Domain
from mspctl.finding import Finding, Severity
from mspctl.kinds import filter as filters
from mspctl.model.sections.mail.senders import Blocked
from mspctl.resource import Id


def findings(domain: Domain) -> Iterator[Finding]:
    still_there = _live(domain)
    for kind, name, number, entry in _over(domain):
        source = domain.place(name, number)
        path = f"{filters.FACET}/{domain.name}/{entry.sender}"
        what = f"{name}: {entry.sender} was to end on {entry.until} ({entry.why})"
        since = entry.until.day if entry.until else None
        if Id(kind, entry.sender) in still_there:
            what += f", and is still on {domain.own.target}"
            remedy = "see why no schedule takes it away (mspctl apply --due), or give it another day, and say why"
            yield domain.finding("mail.list", Severity.WARNING, what, remedy, path=path, source=source, since=since)
        else:
            remedy = "take the line out, or give it another day, and say why"
            yield domain.finding("mail.list", Severity.INFO, what, remedy, path=path, source=source, since=since)


def _over(domain: Domain) -> Iterator[tuple[str, str, int, Blocked]]:
    """Kind, the key in mail.yaml, its place there, the entry."""
    zone = domain.facts.customer.info.timezone
    for kind, name, entries in ((filters.ALLOW, "allow", domain.own.allow), (filters.BLOCK, "block", domain.own.block)):
        for number, entry in enumerate(entries):
            if entry.until and domain.facts.now >= entry.until.ends(zone):
                yield kind, name, number, entry


def _live(domain: Domain) -> set[Id]:
    """What is on the server and not declared any more."""
    plan = domain.facts.live.get(domain.scope(filters.FACET))
    if plan is None:
        return set()
    gone = {step.change.id for step in plan.steps if step.change.after is None}
    return gone | {d.id for d in plan.left if d.declared is None and d.live is not None}
