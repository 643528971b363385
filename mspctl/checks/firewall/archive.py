"""Whether a firewall's whole configuration is kept somewhere, and how old what is kept is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.checks.firewall.of import Firewall, firewalls
from mspctl.driver import Unmeasured
from mspctl.finding import Finding, Severity
from mspctl.kinds.firewall import ArchiveQuestion

CODES = {"firewall.archive": "a firewall's whole configuration is not archived, or not for some time"}


def questions(facts: Facts) -> Iterator[ArchiveQuestion]:
    if facts.inventory.archive:
        yield from (ArchiveQuestion(one.scope) for one in firewalls(facts))


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    for one in firewalls(facts):
        if facts.inventory.archive is None:
            yield one.finding("firewall.archive", Severity.INFO, "its configuration is archived nowhere", _NO_KEYS)
        elif found := _late(one, seen):
            yield found


_NO_KEYS = "name a key of age in inventory/archive.yaml, and let a schedule do it: mspctl archive"


def _late(one: Firewall, seen: Seen) -> Finding | None:
    question = ArchiveQuestion(one.scope)
    if question not in seen:
        return None
    last, again = seen[question], f"mspctl archive -c {one.scope.customer} firewall/{one.scope.name}"
    if isinstance(last, Unmeasured):
        what = f"nobody knows when its configuration was archived: {last.why}"
        return one.finding("firewall.archive", Severity.UNKNOWN, what, again)
    if not isinstance(last, datetime):
        return one.finding("firewall.archive", Severity.WARNING, "its configuration was never archived", again)
    if one.facts.now - last <= timedelta(seconds=one.settings.archive):
        return None
    what = f"its configuration was archived last on {last:%Y-%m-%d}"
    remedy = f"see why no schedule does it, and whether the device answers: {again}"
    return one.finding("firewall.archive", Severity.WARNING, what, remedy, since=last)
