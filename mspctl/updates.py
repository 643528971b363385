"""
Updates that hosts may install now: whose window is open, and who has something to install. Pure.

Hosts install by themselves, from their own timers. Who was off at that moment and is there again while the window is
still open is told to begin; who has begun in this window, is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mspctl.desired import Declaration
from mspctl.kinds.hosts import parts
from mspctl.kinds.patching import POLICY_ID, WINDOW_ID
from mspctl.moments import Window
from mspctl.resource import Scope, Value

Facts = Mapping[str, Value]  # as the driver `hosts` tells them of patching


@dataclass(frozen=True, slots=True)
class Open:
    """A host whose window is open."""

    scope: Scope
    since: datetime
    until: datetime
    what: str  # "security" or "all"
    reboots: bool  # whether the policy lets it

    @property
    def host(self) -> str:
        customer, name, _ = parts(self.scope)
        return f"{name} of {customer}"


def open_now(declared: Iterable[Declaration], now: datetime) -> list[Open]:
    """As Git says; no host is asked."""
    found = []
    for declaration in declared:
        fields = {resource.id: resource.fields for resource in declaration.resources}
        window, policy = fields.get(WINDOW_ID), fields.get(POLICY_ID)
        if window and policy and declaration.mode == "enforce" and not declaration.closed:
            bounds = Window.parse(str(window["hours"])).bounds(now, str(window["timezone"]))
            reboots = policy["reboot"] != "never"
            found += [Open(declaration.scope, *bounds, str(policy["what"]), reboots)] if bounds else []
    return found


def why(host: Open, facts: Facts) -> str:
    """What it would do now; nothing when there is nothing, or it has begun already."""
    if _number(facts, "began") >= host.since.timestamp():
        return ""
    count = _number(facts, "security" if host.what == "security" else "pending")
    if count < 0 or not _number(facts, "asked"):
        return "nobody knows what is pending"
    kind = "security update" if host.what == "security" else "update"
    pending = f"{count} {kind}{'' if count == 1 else 's'}" if count else ""
    reboot = "a reboot" if facts.get("reboot") and host.reboots else ""
    return " and ".join(filter(None, (pending, reboot)))


def ended(host: Open, before: Facts, after: Facts) -> str:
    """How it went, in words."""
    rebooted = before.get("boot") != after.get("boot")
    left = _number(after, "security" if host.what == "security" else "pending")
    left = left if _number(after, "at") > _number(after, "began") else -1  # it was counted before
    said = [
        "installing goes on" if after.get("running") else "",
        "the last installation failed" if after.get("failed") else "",
        "rebooted" if rebooted else "",
        "what is left is not counted yet" if left < 0 else f"{left} left" if left else "nothing left",
        "a reboot waits" if after.get("reboot") and not rebooted else "",
    ]
    return ", ".join(filter(None, said))


def done(before: Facts, after: Facts) -> dict[str, object]:
    """
    What came of it, for the ledger: {"installed": [[package, version before, version now], …], "rebooted", "failed"};
    `installed` is None while the host has not said what this installation did.
    """
    installed = after.get("installed")
    told = isinstance(installed, tuple) and _number(after, "began") > _number(before, "began")
    told = told and _number(after, "logged") == _number(after, "began")
    return {
        "installed": [str(each).split(" ") for each in installed] if told and isinstance(installed, tuple) else None,
        "rebooted": before.get("boot") != after.get("boot"),
        "failed": bool(after.get("failed")),
    }


def _number(facts: Facts, name: str) -> int:
    value = facts.get(name, 0)
    return value if isinstance(value, int) else 0
