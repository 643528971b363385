"""
Updates that hosts may install now: whose window is open, and who has something to install. Pure.

Hosts install by themselves, from their own timers. Who was off at that moment and is there again while the window is
still open is told to begin; who has begun in this window, is not. What hosts did by themselves they tell later, and
drift runs keep it, a page per customer.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mspctl.amounts import count
from mspctl.desired import Declaration
from mspctl.document import a_list, line, list_of, members, object_of, text
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
    number = _number(facts, "security" if host.what == "security" else "pending")
    if number < 0 or not _number(facts, "asked"):
        return "nobody knows what is pending"
    pending = count(number, "security update" if host.what == "security" else "update") if number else ""
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
    What came of it, for the ledger: {"began", "installed": [[package, version before, version now], …], "rebooted",
    "failed"}; `installed` is None while the host has not said what this installation did. `began` is when, in seconds
    since 1970, on the host's own clock; 0: it did not.
    """
    installed = after.get("installed")
    told = isinstance(installed, tuple) and _number(after, "began") > _number(before, "began")
    told = told and _number(after, "logged") == _number(after, "began")
    return {
        "began": began if (began := _number(after, "began")) > _number(before, "began") else 0,
        "installed": [str(each).split(" ") for each in installed] if told and isinstance(installed, tuple) else None,
        "rebooted": before.get("boot") != after.get("boot"),
        "failed": bool(after.get("failed")),
    }


def _number(facts: Facts, name: str) -> int:
    value = facts.get(name, 0)
    return value if isinstance(value, int) else 0


# -- what they did by themselves --------------------------------------------------------------------------------

FORMAT = 1
KEPT = timedelta(days=400)
Page = Mapping[str, Any]
Package = tuple[str, str, str]  # its name, the version before, the version now; "-" for none


@dataclass(frozen=True, slots=True)
class Installed:
    """What one host installed at once, whoever let it begin."""

    customer: str
    host: str
    began: datetime  # on the host's own clock
    packages: tuple[Package, ...]


def installed(scope: Scope, facts: Facts) -> Iterator[Installed]:
    """As the host remembers it, the oldest first. What makes no sense is left out."""
    customer, host, _ = parts(scope)
    found: dict[int, list[Package]] = {}
    history = facts.get("history")
    for each in history if isinstance(history, tuple) else ():
        began, *package = str(each).split(" ")
        if began.isdecimal() and 0 < int(began) < 2**33 and len(package) == 3:
            found.setdefault(int(began), []).append((package[0], package[1], package[2]))
    for seconds, packages in sorted(found.items()):
        yield Installed(customer, host, datetime.fromtimestamp(seconds, UTC), tuple(packages))


def told(all_: Iterable[Installed], let: Iterable[Page]) -> tuple[list[Page], list[Installed]]:
    """
    What hosts did because they were let, as `Ledger.updates` tells it, completed by what they said later; and what they
    did by themselves, the newest first.
    """
    left = {(e.customer, e.host, int(e.began.timestamp())): e for e in all_}
    pages: list[Page] = []
    for page in let:
        hosts = dict(page["hosts"])
        for host, said in hosts.items():
            later = left.pop((page["customer"], host, said.get("began")), None)
            if later and said.get("installed", ()) is None:
                hosts[host] = {**said, "installed": [[*each] for each in later.packages]}
        pages.append({**page, "hosts": hosts})
    return pages, sorted(left.values(), key=lambda each: (each.began, each.customer, each.host), reverse=True)


def page(customer: str, mine: Collection[Installed], now: datetime, old: bytes | None) -> bytes | None:
    """A customer's page with further ones; without those that are too old. None: there is nothing to say."""
    known = {(each.began, each.host): each for each in (*(parsed(customer, old) if old else ()), *mine)}
    kept = [each for _, each in sorted(known.items()) if now - each.began <= KEPT]
    said = list_of(line([each.began.isoformat(), each.host, [[*one] for one in each.packages]]) for each in kept)
    if not kept:
        return None
    return (object_of({"format": str(FORMAT), "customer": line(customer), "installed": said}) + "\n").encode()


def parsed(customer: str, content: bytes) -> list[Installed]:
    """Like all that drift runs keep it is a cache: a page that is damaged, or of a newer program, says nothing."""
    try:
        said = members(json.loads(content.decode()), "installed", ("format", "customer"), ("installed",))
        if (said["format"], text(said, "customer")) != (FORMAT, customer):
            return []
        return [_installed(customer, *a_list(each)) for each in a_list(said.get("installed", []))]
    except (ValueError, TypeError, RecursionError):
        return []


def _installed(customer: str, began: object, host: object, packages: object) -> Installed:
    moment = datetime.fromisoformat(str(began))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    found = tuple((str(name), str(before), str(after)) for name, before, after in map(a_list, a_list(packages)))
    return Installed(customer, str(host), moment, found)
