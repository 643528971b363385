"""Until when a zone's name is registered, as `renewal` in dns.yaml says: nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from mspctl.checks.dns.zone import Zone
from mspctl.finding import Finding, Severity

CODE = "dns.registration"


def findings(zone: Zone) -> Iterator[Finding]:
    renewal, today = zone.renewal, zone.facts.today
    if renewal is None:
        return
    left, source = (renewal.ends - today).days, zone.place("renewal")
    if left < 0 and renewal.auto:
        what = f"the registration at {renewal.at} was to renew itself on {renewal.ends}; Git has no later date"
        yield zone.finding(
            CODE, Severity.INFO, what, "see that it did, and write the new date", source=source, since=renewal.ends
        )
    elif left < 0:
        what = f"the registration at {renewal.at} ended on {renewal.ends}"
        remedy = f"renew it at {renewal.at} today, and write the new date; somebody else may register it"
        yield zone.finding(CODE, Severity.SEVERE, what, remedy, source=source, since=renewal.ends)
    elif not renewal.auto and timedelta(days=left).total_seconds() <= zone.settings.registration:
        what = f"the registration at {renewal.at} ends {_in_days(left)} ({renewal.ends}), and does not renew itself"
        remedy = f"renew it at {renewal.at} and write the new date, or agree with the customer that it ends"
        yield zone.finding(CODE, Severity.WARNING, what, remedy, source=source, until=renewal.ends)


def _in_days(days: int) -> str:
    return {0: "today", 1: "tomorrow"}.get(days, f"in {days} days")
