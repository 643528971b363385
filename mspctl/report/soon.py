"""What ends by itself within some days, before it does. Nobody has to do anything, so it is quiet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mspctl.amounts import count
from mspctl.desired import Declaration
from mspctl.moments import Ending
from mspctl.report.view import SOON, Block, Line, Tone
from mspctl.resource import Id, Scope

WITHIN = timedelta(days=7)
TOGETHER = 3  # names of one line; the rest is counted


@dataclass(frozen=True, slots=True)
class Soon:
    scope: Scope
    ids: tuple[Id, ...]  # what one line of a file ends at once: a mailbox and its aliases
    ending: Ending
    source: str

    @property
    def name(self) -> str:
        more = len(self.ids) - TOGETHER
        names = ", ".join(each.name for each in self.ids[:TOGETHER]) + (f" and {more} more" if more > 0 else "")
        return f"{self.scope.facet}/{self.scope.name}/{names}"


def soon(declared: Iterable[Declaration], now: datetime) -> list[Soon]:
    """By customer, the next first; what is declared on several targets is told once."""
    found: dict[tuple[str, str, str, str, Ending], tuple[Scope, dict[Id, None]]] = {}
    for each in declared:
        scope, sources = each.scope, {r.id: r.source for r in each.resources} if each.ends else {}
        for id_, ending in each.ends.items():
            if now < ending.at <= now + WITHIN:
                key = scope.customer, scope.facet, scope.name, sources.get(id_) or each.source, ending
                found.setdefault(key, (scope, {}))[1][id_] = None
    all_ = [Soon(scope, tuple(sorted(ids)), key[-1], key[-2]) for key, (scope, ids) in found.items()]
    return sorted(all_, key=lambda it: (it.scope.customer, it.ending.at, it.name))


def blocks(found: Sequence[Soon], now: datetime) -> Iterator[Block]:
    """One for each customer, folded where something can be."""
    for customer in dict.fromkeys(it.scope.customer for it in found):
        mine = [it for it in found if it.scope.customer == customer]
        lines = [Line(Tone.QUIET, SOON, it.name, _said(it, now), it.source, known=True) for it in mine]
        yield Block(customer, SOON, "", lines, section=SOON)


def _said(it: Soon, now: datetime) -> str:
    return f"{it.ending.says} ({_left(it.ending.at - now)})"


def _left(time: timedelta) -> str:
    if time >= timedelta(days=1):
        return f"in {count(time.days, 'day')}"
    hours = time // timedelta(hours=1)
    return f"in {count(hours, 'hour')}" if hours else "within the hour"


def documents(found: Collection[Soon]) -> list[dict[str, object]]:
    return [
        {
            "customer": it.scope.customer,
            "facet": it.scope.facet,
            "scope": it.scope.name,
            "resources": [{"kind": each.kind, "name": each.name} for each in it.ids],
            "at": it.ending.at.isoformat(),
            "says": it.ending.says,
            "source": it.source,
        }
        for it in found
    ]
