"""What the ledger tells, as lines or as a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any

from mspctl.amounts import count
from mspctl.ledger import Entry
from mspctl.ledger_page import Landing
from mspctl.report.digest import visible
from mspctl.resource import Scope
from mspctl.updates import Installed

SIGNS = {"create": "+", "update": "~", "rename": "→", "delete": "-"}
SHOWN = 3  # scopes of a run; the others are counted
PACKAGES = 6  # likewise, of an installation
Page = Mapping[str, Any]


def lines(
    entries: Iterable[Entry],
    customer: str = "",
    updates: Iterable[Page] = (),
    limit: int | None = None,
    themselves: Iterable[Installed] = (),
) -> Iterator[str]:
    """
    One line per run, and one per scope that did not end well, or host that installed updates (as `Ledger.updates` tells
    them); and one for each time when a host did by itself. The newest first, as all come. `customer` is who asks, and
    need not be told.
    """
    told = ((entry.when, [*_entry(entry, customer)]) for entry in entries)
    installed = ((datetime.fromisoformat(page["when"]), [*_updates(page, customer)]) for page in updates)
    own = ((each.began, [_by_itself(each, customer)]) for each in themselves)
    for _, block in islice(merge(told, installed, own, key=itemgetter(0), reverse=True), limit):
        yield from map(visible, block)


def _entry(entry: Entry, customer: str) -> Iterator[str]:
    counts = [f"{_counted(it)} in {scope}{_then(scope, customer)}" for scope, it in sorted(entry.scopes.items())]
    left = len(counts) - SHOWN
    shown = ", ".join(counts[:SHOWN]) + (f" and {count(left, 'more scope')}" if left > 0 else "")
    why = (" · emergency" if entry.emergency else "") + (f" · {entry.reason}" if entry.reason else "")
    why += f" · ticket {entry.tickets}" if entry.tickets else ""
    why += f" · asked by {entry.asked_by}" if entry.asked_by else ""
    yield f"{entry.when:%Y-%m-%d %H:%M} {entry.who.partition(' <')[0]}{why} · {shown}"
    for scope, landing in sorted(entry.scopes.items()):
        if landing.found:
            names = ", ".join(change.id.name for change in landing.found)
            yield f"    {scope}: found done, of a run that did not come to its end: {names}"
        if landing.error:
            yield f"    {scope}: {landing.error}"


def _updates(page: Page, customer: str) -> Iterator[str]:
    hosts = sorted(page["hosts"].items())
    whose = "" if page["customer"] == customer else f" of {page['customer']}"
    why = f" · {page['reason']}" if page.get("reason") else ""
    when = datetime.fromisoformat(page["when"])
    names = ", ".join(name for name, _ in hosts[:SHOWN]) + (f" and {len(hosts) - SHOWN} more" * (len(hosts) > SHOWN))
    yield f"{when:%Y-%m-%d %H:%M} {page['who'].partition(' <')[0]}{why} · updates on {names}{whose}"
    for name, said in hosts:
        yield f"    {name}: {_installed(said)}"


def _by_itself(each: Installed, customer: str) -> str:
    whose = "" if each.customer == customer else f" of {each.customer}"
    what = ", ".join(_packages(each.packages))
    return f"{each.began:%Y-%m-%d %H:%M} {each.host}{whose} · installed by the host itself: {what}"


def _installed(said: Page) -> str:
    if "rebooted" not in said:
        return said.get("error") or "it is not known how it ended"
    packages = said.get("installed")
    what = ["what was installed is not known"] if packages is None else _packages(packages) or ["nothing was installed"]
    return ", ".join(
        [*what, *["rebooted"] * bool(said["rebooted"]), *["the installation failed"] * bool(said.get("failed"))]
    )


def _packages(packages: Sequence[Sequence[str]]) -> list[str]:
    left = len(packages) - PACKAGES
    more = [f"{count(left, 'package')} more"] * (left > 0)
    return [*(_package(*each) for each in packages[:PACKAGES]), *more]


def _package(name: str, before: str, after: str) -> str:
    return f"{name} {before if before != '-' else 'new'} → {after if after != '-' else 'gone'}"


def _counted(landing: Landing) -> str:
    return " ".join(f"{SIGNS[verb]}{number}" for verb, number in landing.counts.items() if number) or "0"


def _then(scope: Scope, customer: str) -> str:
    """Whose it was, when that was somebody else or the customer had another name."""
    return f" (then of {scope.customer})" if customer and scope.customer not in ("", customer) else ""


def as_json(entries: Iterable[Entry], updates: Iterable[Page] = (), themselves: Iterable[Installed] = ()) -> str:
    said = {"format": "mspctl.history/1", "runs": [_run(e) for e in entries], "updates": [*updates]}
    said["installed by hosts themselves"] = installed(themselves)
    return json.dumps(said, indent=2, ensure_ascii=False)


def installed(themselves: Iterable[Installed]) -> list[dict[str, object]]:
    """[{"customer", "host", "began", "packages": [[name, version before, version now]]}]"""
    return [
        {"customer": e.customer, "host": e.host, "began": e.began.isoformat(), "packages": [[*p] for p in e.packages]}
        for e in themselves
    ]


def _run(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "when": entry.when.isoformat(),
        "run": entry.run,
        "who": entry.who,
        "commit": entry.commit,
        "reason": entry.reason,
        "plan": entry.plan,
        "emergency": entry.emergency,
        "tickets": entry.tickets,
        "asked_by": entry.asked_by,
        "scopes": [_scope(scope, landing) for scope, landing in sorted(entry.scopes.items())],
    }


def _scope(scope: Scope, landing: Landing) -> dict[str, object]:
    changes = [{"verb": c.verb, "kind": c.id.kind, "name": c.id.name, "cause": c.cause} for c in landing.changes]
    where = {"customer": scope.customer, "target": scope.target, "facet": scope.facet, "name": scope.name}
    return {**where, "error": landing.error, "changes": changes, "found_done": len(landing.found)}
