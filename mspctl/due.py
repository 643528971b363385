"""
What time has made due in a scope, as far as Git and the ledger tell: no target is asked, so a schedule can ask often.

Something ended or began and the ledger does not know it yet; or a window is open, and Git is ahead of the ledger. What
follows the target itself (addresses of names) is looked at each time.
Where a mode only lets us look, nothing is ever due.
"""

from __future__ import annotations

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
    return (ahead if declaration.hours.windows else ahead & declaration.timed.keys()) | declaration.follows


def _ahead(declaration: Declaration, record: ScopeRecord | None) -> frozenset[Id]:
    """Resources that Git says otherwise than they were left."""
    recorded = record.resources if record else {}
    declared = {r.id: r for r in declaration.resources}
    changed = {i for i, resource in declared.items() if i not in recorded or not _is_so(resource, recorded[i])}
    return frozenset(changed | {i for i, known in recorded.items() if i not in declared and any(known.states)})


def _is_so(resource: Resource, record: Record) -> bool:
    return all(
        state is not None and all(value in (UNKNOWN, state.fields.get(n)) for n, value in resource.fields.items())
        for state in record.states
    )
