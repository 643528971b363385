"""Customers × sections: how each section of each customer is, in a few words. Of a report of drift; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mspctl.report.view import Tone, View

# What a cell says, the gravest first: how it is counted, and in which tone it stands.
STATES = {
    "severe": Tone.SEVERE,
    "warning": Tone.WARN,
    "changed outside": Tone.OUTSIDE,
    "came back": Tone.OUTSIDE,
    "not read": Tone.BAD,
    "not checked": Tone.WARN,
    "not yet applied": Tone.CHANGE,
    "unmanaged": Tone.QUIET,
}
_SEVERITIES = {"severe": "severe", "warning": "warning", "unknown": "not checked"}


@dataclass(frozen=True, slots=True)
class Row:
    customer: str
    name: str  # the whole one
    cells: Mapping[
        str, Mapping[str, int]
    ]  # section → state → how often; a section that is missing is not the customer's


def sections(rows: Iterable[Row]) -> list[str]:
    return sorted({section for row in rows for section in row.cells})


def rows(shown: View) -> list[Row]:
    """A row for each customer that was asked for, those first with whom most is wrong."""
    document: Any = shown.document
    cells: dict[str, dict[str, Counter[str]]] = {each["customer"]: {} for each in document.get("customers", ())}
    for scope in document["scopes"]:
        _count(cells, scope["customer"], scope["section"]).update(_of_scope(scope))
    for finding in document["findings"]["open"]:
        if state := _SEVERITIES.get(finding["severity"]):
            _count(cells, finding["customer"], finding["code"].partition(".")[0])[state] += 1
    names = {each["customer"]: each["name"] for each in document.get("customers", ())}
    found = [Row(name, names.get(name, name), _in_order(mine)) for name, mine in cells.items()]
    return sorted(found, key=_gravity)


def _count(cells: dict[str, dict[str, Counter[str]]], customer: str, section: str) -> Counter[str]:
    return cells.setdefault(customer, {}).setdefault(section, Counter())


def _of_scope(scope: Mapping[str, Any]) -> Counter[str]:
    states = {"unmanaged": "unmanaged", "came back": "came back"}
    found = Counter(states.get(left["cause"], "changed outside") for left in scope["left"])
    found["not yet applied"] += len(scope["changes"])
    found["not read"] += bool(scope["error"])
    return found


def _in_order(mine: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {section: {s: counts[s] for s in STATES if counts[s]} for section, counts in sorted(mine.items())}


def _gravity(row: Row) -> tuple[Any, ...]:
    total: Counter[str] = Counter()
    for counts in row.cells.values():
        total.update(counts)
    return (*(-total[state] for state in STATES if state != "unmanaged"), row.customer)


def proofs(shown: View) -> dict[str, list[dict[str, Any]]]:
    """By customer: what was proved, and how old that is in days."""
    document: Any = shown.document
    now = datetime.fromisoformat(document["read_at"])
    found: dict[str, list[dict[str, Any]]] = {}
    for each in document.get("proofs", ()):
        made = each.get("made")
        age = max(0, (now - datetime.fromisoformat(made)).days) if made else None
        found.setdefault(each["customer"], []).append({**each, "age": age})
    return found
