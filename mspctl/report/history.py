"""What the ledger tells, as lines or as a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from mspctl.ledger import Entry
from mspctl.ledger_page import Landing
from mspctl.report.digest import visible
from mspctl.resource import Scope

SIGNS = {"create": "+", "update": "~", "rename": "→", "delete": "-"}
SHOWN = 3  # scopes of a run; the others are counted


def lines(entries: Iterable[Entry], customer: str = "") -> Iterator[str]:
    """One line per run, and one per scope that did not end well. `customer` is who asks, and need not be told."""
    for entry in entries:
        counts = [f"{_counted(it)} in {scope}{_then(scope, customer)}" for scope, it in sorted(entry.scopes.items())]
        shown = ", ".join(counts[:SHOWN]) + (f" and {_more(len(counts) - SHOWN)}" if len(counts) > SHOWN else "")
        why = (" · emergency" if entry.emergency else "") + (f" · {entry.reason}" if entry.reason else "")
        why += (f" · ticket {entry.tickets}" if entry.tickets else "") + (
            f" · asked by {entry.asked_by}" if entry.asked_by else ""
        )
        yield visible(f"{entry.when:%Y-%m-%d %H:%M} {entry.who.partition(' <')[0]}{why} · {shown}")
        for scope, landing in sorted(entry.scopes.items()):
            if landing.error:
                yield visible(f"    {scope}: {landing.error}")


def _counted(landing: Landing) -> str:
    return " ".join(f"{SIGNS[verb]}{count}" for verb, count in landing.counts.items() if count) or "0"


def _then(scope: Scope, customer: str) -> str:
    """Whose it was, when that was somebody else or the customer had another name."""
    return f" (then of {scope.customer})" if customer and scope.customer not in ("", customer) else ""


def _more(count: int) -> str:
    return f"{count:,} more scope" + ("" if count == 1 else "s")


def as_json(entries: Iterable[Entry]) -> str:
    return json.dumps({"format": "mspctl.history/1", "runs": [_run(e) for e in entries]}, indent=2, ensure_ascii=False)


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
    return {**where, "error": landing.error, "changes": changes}
