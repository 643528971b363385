"""
Whether a firewall itself is kept: its system supported and up to date, not in need of a reboot, and what the next start
loads what is loaded. What nobody could measure is told as not checked, and never as current.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mspctl.checks import Facts, Seen
from mspctl.checks.firewall.of import Firewall, firewalls
from mspctl.driver import Gauge, Unmeasured
from mspctl.finding import Finding, Severity
from mspctl.kinds import firewall

CODES = {
    "firewall.unchecked": "some of it could not be checked",
    "firewall.support": "a firewall's system gets no security updates any more, or not for long",
    "firewall.updates": "a firewall has security updates pending, or a newer version of what filters",
    "firewall.reboot": "a firewall waits for a reboot",
    "firewall.unsaved": "a firewall's next start loads other rules than it has now",
}
MEASURED = {
    firewall.SUPPORT: "until when it is supported",
    firewall.INSTALLED: "which version it has",
    firewall.NEWEST: "which version is the newest",
    firewall.SECURITY: "which updates are pending",
    firewall.ASKED: "when its archive was asked",
    firewall.REBOOT: "whether it has to be rebooted",
    firewall.SAVED: "what its next start loads",
}


def questions(facts: Facts) -> Iterator[Gauge]:
    for one in firewalls(facts):
        yield from (one.gauge(what) for what in (*MEASURED, firewall.RELEASE))


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    for one in firewalls(facts):
        if one.is_read:
            yield from _support(one, seen)
            yield from _updates(one, seen)
            yield from _reboot(one, seen)
            yield from _saved(one, seen)
            yield from _unknown(one, seen)


def _support(one: Firewall, seen: Seen) -> Iterator[Finding]:
    ends, release = one.said(seen, firewall.SUPPORT), one.said(seen, firewall.RELEASE)
    if isinstance(ends, datetime) and ends - one.facts.now < timedelta(seconds=one.settings.support):
        over = ends <= one.facts.now
        what = f"{release} {'got its last' if over else 'gets no'} security updates {'on' if over else 'after'}"
        yield one.finding(
            "firewall.support",
            Severity.SEVERE if over else Severity.WARNING,
            f"{what} {ends:%Y-%m-%d}",
            "plan the next release, and a window for it",
            until=None if over else ends.date(),
        )


def _updates(one: Firewall, seen: Seen) -> Iterator[Finding]:
    pending, here, newest = (one.said(seen, what) for what in (firewall.SECURITY, firewall.INSTALLED, firewall.NEWEST))
    remedy = "patch it in its window: declare it in hosts.yaml and patching.yaml, or apt-get upgrade there"
    if isinstance(pending, int) and pending:
        plural = "s are" if pending > 1 else " is"
        yield one.finding("firewall.updates", Severity.WARNING, f"{pending} security update{plural} pending", remedy)
    elif isinstance(here, str) and isinstance(newest, str) and here != newest:
        what = f"nftables {newest} is the newest known, and {here} is installed"
        yield one.finding("firewall.updates", Severity.INFO, what, remedy)


def _reboot(one: Firewall, seen: Seen) -> Iterator[Finding]:
    if one.said(seen, firewall.REBOOT) == 1:
        what = "it waits for a reboot: what it runs is older than what is installed"
        yield one.finding("firewall.reboot", Severity.WARNING, what, "reboot it in a window")


def _saved(one: Firewall, seen: Seen) -> Iterator[Finding]:
    if one.said(seen, firewall.SAVED) == 0:
        what = "its next start loads other rules than it has now: somebody changed it by hand, or what is saved"
        remedy = "adopt or revert what differs (mspctl drift); the next apply writes it down again"
        yield one.finding("firewall.unsaved", Severity.WARNING, what, remedy)


def _unknown(one: Firewall, seen: Seen) -> Iterator[Finding]:
    """One line for all that is not known, by its reasons."""
    reasons: dict[str, list[str]] = {}
    for what, words in MEASURED.items():
        said = one.said(seen, what)
        if isinstance(said, Unmeasured):
            reasons.setdefault(said.why, []).append(words)
    asked = one.said(seen, firewall.ASKED)
    if isinstance(asked, datetime) and one.facts.now - asked > timedelta(seconds=one.settings.index):
        reasons.setdefault(f"its archive was asked last on {asked:%Y-%m-%d}", []).append("which updates there are")
    if reasons:
        said = "; ".join(f"{', '.join(words)} ({why})" for why, words in reasons.items())
        yield one.finding("firewall.unchecked", Severity.UNKNOWN, f"nobody knows {said}", "look at it on the device")
