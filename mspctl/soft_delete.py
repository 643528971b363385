"""
What a line in Git held that was simply taken out, of kinds that hold data: it is switched off first, kept for some
days, and only then no longer declared. Pure; the last day is in the ledger, from the apply that switched it off.

Declared again before that day, it is as it was: nothing of it was lost. The section says which kinds, for how long, and
what "off" is (`Declaration.keeps`); what becomes of it after its time is said by `guards.purge`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta

from mspctl.desired import Declaration
from mspctl.moments import Clock, Ending, Moment
from mspctl.record import Record, ScopeRecord
from mspctl.resource import Id, Resource


def kept(declaration: Declaration, record: ScopeRecord | None, clock: Clock) -> Declaration:
    """The declaration with what was taken out and has its time yet; the clock is the customer's."""
    if not (declaration.keeps and record) or declaration.gone:
        return declaration
    until: dict[Id, date] = {}
    resources, timed, ends = [*declaration.resources], dict(declaration.timed), dict(declaration.ends)
    for id_, known in _taken_out(declaration, record):
        keep = declaration.keeps[id_.kind]
        last = known.kept_until or clock.today + timedelta(days=keep.days)
        if clock.today > last:
            timed[id_] = f"was kept until {last}"
            continue
        until[id_] = last
        ends[id_] = Ending(Moment(last).ends(clock.zone), f"its line was taken out: kept until {last}")
        resources.append(Resource(id_, keep.off, declaration.source))
    return replace(declaration, resources=resources, timed=timed, ends=ends, kept=until)


def _taken_out(declaration: Declaration, record: ScopeRecord) -> Iterator[tuple[Id, Record]]:
    """What is recorded, and declared no more though no time is over and nothing was renamed."""
    known = {i for r in declaration.resources for i in (r.id, r.was)} | declaration.timed.keys()
    for id_, each in sorted(record.resources.items()):
        if id_.kind in declaration.keeps and id_ not in known and any(each.states):
            yield id_, each


def switched_off(declaration: Declaration, settles: Mapping[Id, Resource | None]) -> dict[Id, date]:
    """Of what is kept, that of which it is settled that it is off: its time runs."""
    found = {}
    for id_, last in declaration.kept.items():
        resource, off = settles.get(id_), declaration.keeps[id_.kind].off
        if resource is not None and all(resource.fields.get(name) == value for name, value in off.items()):
            found[id_] = last
    return found
