"""Rules that do nothing: over, never hit, or behind one that has decided already. Each is a door somebody forgot."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.checks.firewall.of import Firewall, firewalls
from mspctl.driver import Gauge
from mspctl.finding import Finding, Severity
from mspctl.kinds import firewall
from mspctl.kinds.firewall import reach
from mspctl.resource import Id

CODES = {
    "firewall.expired": "a rule or forward is over, and still in the file",
    "firewall.idle": "nothing has come to a rule or forward for a long time",
    "firewall.shadowed": "a rule on the device never counts",
}
COUNTED = (firewall.RULE, firewall.FORWARD)


def questions(facts: Facts) -> Iterator[Gauge]:
    for one in firewalls(facts):
        yield from (one.gauge(what) for what in (firewall.BOOTED, firewall.LOADED))
        yield from (one.gauge(firewall.PACKETS, id_) for id_ in _counted(one))


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    for one in firewalls(facts):
        yield from _expired(one)
        if one.is_read:
            yield from _idle(one, seen)
            yield from _shadowed(one)


def _counted(one: Firewall) -> list[Id]:
    return [r.id for r in one.declared.resources if r.id.kind in COUNTED and r.id.name != firewall.MANAGEMENT]


def _expired(one: Firewall) -> Iterator[Finding]:
    for id_ in one.declared.over(COUNTED):
        what = f"{id_.name} {one.declared.timed[id_]}"
        yield one.finding("firewall.expired", Severity.INFO, what, f"take the line out of {one.declared.source}", id_)


def _idle(one: Firewall, seen: Seen) -> Iterator[Finding]:
    """Counters begin with the load of the rules, so nothing is said of what is younger."""
    began = [one.said(seen, what) for what in (firewall.BOOTED, firewall.LOADED)]
    known = [each for each in began if isinstance(each, datetime)]
    if len(known) < len(began) or one.facts.now - max(known) <= timedelta(seconds=one.settings.idle):
        return
    for id_ in _counted(one):
        if one.said(seen, firewall.PACKETS, id_) == 0:
            what = f"nothing has come to it since {max(known):%Y-%m-%d}"
            remedy = "ask who needs it, and close it: mspctl firewall close"
            yield one.finding("firewall.idle", Severity.INFO, what, remedy, id_, max(known))


def _shadowed(one: Firewall) -> Iterator[Finding]:
    """What Git says was looked at when it was loaded; this is what a hand has made of it."""
    before = {(a.id, b.id) for a, b in reach.shadowed(one.declared.resources)}
    for rule, first in reach.shadowed(one.live):
        if (rule.id, first.id) not in before:
            same = rule.fields.get("action") == first.fields.get("action")
            what = f"it never counts: {first.id.name} has {'said the same' if same else 'decided otherwise'} before"
            remedy = "see who changed it (mspctl drift), then apply --revert or adopt"
            yield one.finding("firewall.shadowed", Severity.INFO if same else Severity.WARNING, what, remedy, rule.id)
