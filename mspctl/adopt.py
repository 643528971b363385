"""
Git takes over what is live: the YAML is edited so that it declares what the target holds.

Each section knows its own files (`desired/<section>/back.py`). Everything is worked out and checked before the first
file is written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from mspctl import desired, edit
from mspctl.desired import Rewritten
from mspctl.diff import Difference
from mspctl.errors import InputError
from mspctl.load import Estate
from mspctl.plan import ScopePlan, Wanted
from mspctl.resource import UNKNOWN, Cause, Id, Resource

OUTSIDE = frozenset({Cause.DRIFT, Cause.CONFLICT, Cause.TAKE_OVER, Cause.CAME_BACK})


def rewrite(estate: Estate, plans: Iterable[ScopePlan], causes: Collection[Cause], wanted: Wanted) -> list[Rewritten]:
    """The files as they must be so that what differs for one of `causes` is declared as it is live."""
    chosen: dict[tuple[str, str, str], dict[Id, Resource | None]] = {}
    for plan in plans:
        scope = plan.scope
        for difference in plan.left:
            if difference.cause in causes and wanted(scope, difference.id):
                adopted = _whole(difference) if difference.id in plan.kept else _adopted(difference, causes)
                _agree(chosen.setdefault((scope.customer, scope.facet, scope.name), {}), difference.id, adopted)
    files = [
        desired.back(facet).rewrite(estate, customer, name, found) for (customer, facet, name), found in chosen.items()
    ]
    return desired.once_each(file for file in files if file.adopted)


def _agree(chosen: dict[Id, Resource | None], id_: Id, adopted: Resource | None) -> None:
    """One scope's name on several targets is one file, and a file cannot say two things."""
    if id_ in chosen and _fields(chosen[id_]) != _fields(adopted):
        raise InputError.at("", f"{id_.name} is different on two targets (adopt with --target one of them)")
    chosen[id_] = adopted


def _fields(resource: Resource | None) -> Mapping[str, object] | None:
    return resource.fields if resource else None


def _whole(difference: Difference) -> Resource | None:
    """Of what has no line in Git, all that can be read."""
    live = difference.live
    known = {name: value for name, value in live.fields.items() if value is not UNKNOWN} if live else {}
    return live and replace(live, fields=known)


def _adopted(difference: Difference, causes: Collection[Cause]) -> Resource | None:
    """What Git shall say: the live value of each field that was changed outside, its own of the others."""
    declared, live = difference.declared, difference.live
    if declared is None or live is None:
        return live
    taken = {name for name, cause in difference.fields.items() if cause in causes}
    fields = {name: live.fields[name] if name in taken else value for name, value in declared.fields.items()}
    return Resource(declared.id, fields)


def write(root: Path, rewritten: Iterable[Rewritten]) -> None:
    """Put the files in place, each whole."""
    for one in rewritten:
        edit.write(root / one.file, one.after, replaces=one.before, file=one.file)
