"""
What time has made due in a scope, as far as Git and the ledger tell: no target is asked, so a schedule can ask often.

Something ended or began and the ledger does not know it yet; or a window is open, and Git is ahead of the ledger. What
follows the target itself (addresses of names) is looked at each time.
Where a mode only lets us look, nothing is ever due.
"""

from __future__ import annotations

from dataclasses import replace

from mspctl.desired import Declaration
from mspctl.record import Record, ScopeRecord
from mspctl.resource import UNKNOWN, Id, Resource


def concerns(declaration: Declaration) -> bool:
    """Whether something could be due now, whatever the ledger says."""
    matters = declaration.timed or declaration.hours.windows
    return bool(matters) and not declaration.closed and declaration.mode == "enforce"


def due(declaration: Declaration, record: ScopeRecord | None) -> frozenset[Id]:
    """Resources to look at; `declaration` holds them as the target accepted them."""
    if not concerns(declaration):
        return frozenset()
    ahead = _ahead(declaration, record)
    if not declaration.hours.windows:
        mine = ahead & declaration.timed.keys()
        ahead = frozenset(i for i in mine if i not in declaration.shifted or _is_shifted(i, declaration, record))
    return ahead | declaration.follows


def _is_shifted(id_: Id, declaration: Declaration, record: ScopeRecord | None) -> bool:
    """Whether it was left as it was before clocks were set, and that is all: who made or edited it was somebody."""
    known = record.resources.get(id_) if record else None
    now = next((r for r in declaration.resources if r.id == id_), None)
    if known is None or now is None:
        return False
    then = [replace(now, fields={**now.fields, **fields}) for fields in declaration.shifted[id_]]
    # A run that was killed may have come to its end, or not.
    return bool(then) and all(any(_was(each, state) for each in (now, *then)) for state in known.states)


def _ahead(declaration: Declaration, record: ScopeRecord | None) -> frozenset[Id]:
    """Resources that Git says otherwise than they were left."""
    recorded = record.resources if record else {}
    declared = {r.id: r for r in declaration.resources}
    changed = {i for i, resource in declared.items() if i not in recorded or not _is_so(resource, recorded[i])}
    return frozenset(changed | {i for i, known in recorded.items() if i not in declared and any(known.states)})


def _is_so(resource: Resource, record: Record) -> bool:
    return all(_was(resource, state) for state in record.states)


def _was(resource: Resource, state: Resource | None) -> bool:
    return state is not None and all(value in (UNKNOWN, state.fields.get(n)) for n, value in resource.fields.items())
