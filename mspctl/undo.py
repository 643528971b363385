"""
Back to what was there before one run, as edits of YAML: they are reviewed and applied like any other change.

The ledger says what each change of a run found; Git is made to declare that again. Only what the run changed is
touched: what has come since stays, unless it is the same field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mspctl import desired
from mspctl.desired import Declaration, Rewritten
from mspctl.errors import InputError
from mspctl.ledger import Entry
from mspctl.load import Estate
from mspctl.resource import Change, Id, Resource


def choose(entries: Sequence[Entry], customer: str, named: str) -> Entry:
    """The run that is meant: the newest that changed something for the customer, or the one named."""
    mine = [e for e in entries if any(s.customer == customer and run.changes for s, run in e.scopes.items())]
    found = [e for e in mine if named in (e.run, e.reason) or _is_commit(e, named)] if named else mine[:1]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError.at("", f"{named} names {len(found)} runs: {', '.join(e.id[:12] for e in found)}")
    what = f"named {named}" if named else "that changed something"
    raise InputError.at("", f"the ledger has no run {what} for {customer} (mspctl show {customer} --history)")


def _is_commit(entry: Entry, named: str) -> bool:
    return len(named) >= 7 and (entry.id.startswith(named) or entry.commit.startswith(named))


def rewrite(estate: Estate, customer: str, entry: Entry, declared: Sequence[Declaration]) -> list[Rewritten]:
    """The files as they must be so that Git declares what the run found."""
    files: list[Rewritten] = []
    now = {(d.scope.facet, d.scope.name): {r.id: r for r in d.resources} for d in declared}
    for scope, run in entry.scopes.items():
        if scope.customer != customer or not run.changes:
            continue
        if (scope.facet, scope.name) not in now:
            raise InputError.at("", f"{scope} is no longer declared (put it back into the YAML first)")
        wanted = _wanted(run.changes, now[scope.facet, scope.name])
        if wanted:
            files.append(desired.back(scope.facet).rewrite(estate, customer, scope.name, wanted))
    return desired.once_each(files)


def _wanted(changes: Sequence[Change], now: Mapping[Id, Resource]) -> dict[Id, Resource | None]:
    """What Git shall say of each resource; those of which it says so already are left out."""
    wanted: dict[Id, Resource | None] = {}
    for change in changes:
        was, declared = change.before, now.get(change.id)
        if was is not None and declared is not None:
            # Only the fields that the run changed: somebody may have changed others since.
            fields = {n: was.fields.get(n, v) if n in change.changed else v for n, v in declared.fields.items()}
            was = Resource(was.id, fields)
        if was is not None and was.id != change.id:  # renamed by the run: back to its old name
            wanted[change.id], wanted[was.id] = None, replace(was, was=change.id)
        elif (was.fields if was else None) != (declared.fields if declared else None):
            wanted[change.id] = was
    return wanted
