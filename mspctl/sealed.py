"""
A plan in a file: what was reviewed, and at apply only that.

Everything is read and planned again. A reviewed change that is already true is skipped; one that still is what it
was is carried out; any other is left alone and named, and so is whatever came up since. What else moved in a scope does
not matter, so two reviewed plans that touch different things both land.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from mspctl import document
from mspctl.errors import InputError
from mspctl.plan import Plan, ScopePlan, Standing, Step
from mspctl.record import NOBODY, Asked
from mspctl.resource import Change, Id, Resource, Scope, Value

FORMAT = "mspctl.sealed/1"


@dataclass(frozen=True, slots=True)
class Sealed:
    """The changes that were due when the plan was made, by scope."""

    digest: str
    read_at: datetime
    revert: bool  # whether it was to undo what was changed outside
    changes: Mapping[Scope, Sequence[Change]]
    asked: Asked = NOBODY

    def of(self, customers: Collection[str]) -> Sealed:
        """Only what is of these customers; () means all."""
        mine = {scope: found for scope, found in self.changes.items() if not customers or scope.customer in customers}
        return replace(self, changes=mine)


def joined(found: Sequence[Sealed]) -> Sealed:
    """Several plans, of different scopes, as one. Raises InputError when they are not."""
    if len({each.revert for each in found}) > 1:
        raise InputError.at("", "plans with and without --revert are not carried out together")
    changes: dict[Scope, Sequence[Change]] = {}
    for each in found:
        if twice := changes.keys() & each.changes.keys():
            raise InputError.at("", f"{min(twice)} is in two of these plans (name one of them)")
        changes |= each.changes
    digest = Plan(_plans(changes), found[0].read_at).digest
    said = [each.asked for each in found]
    asked = Asked(_once(t for each in said for t in each.tickets), _once(name for each in said for name in each.by))
    return Sealed(digest, min(each.read_at for each in found), found[0].revert, changes, asked)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def save(path: Path, plan: Plan, *, revert: bool) -> None:
    """Keep a plan in a file, whole or not at all."""
    from mspctl import edit  # late: whoever plans imports this file

    try:
        old = path.read_bytes().decode() if path.exists() else None
        edit.write(path, dump(plan, revert=revert), replaces=old)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.at(str(path), f"cannot be written ({error})") from None


def dump(plan: Plan, *, revert: bool = False) -> str:
    """The file's text; equal plans give equal text but for the time."""
    scopes = [
        {"scope": document.to_json(s.scope), "changes": [document.to_json(c) for c in s.due]}
        for s in sorted(plan.scopes, key=lambda s: s.scope)
        if s.due
    ]
    content = {"format": FORMAT, "digest": plan.digest, "revert": revert}
    content |= {"read_at": plan.read_at.isoformat(), "scopes": scopes}
    content |= {"asked": {"tickets": [*plan.asked.tickets], "by": [*plan.asked.by]}}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def of(plan: Plan, *, revert: bool) -> Sealed:
    """A plan as it would be read back."""
    changes = {s.scope: s.due for s in plan.scopes if s.due}
    return Sealed(plan.digest, plan.read_at, revert, changes, plan.asked)


def parse(text: str, file: str) -> Sealed:
    """What `dump` wrote. Raises InputError when it is something else, or was changed since."""
    try:
        content = json.loads(text)
        if content["format"] != FORMAT:
            raise ValueError(f"is of format {content['format']}")
        changes = {
            document.scope_from_json(one["scope"]): [document.change_from_json(c) for c in one["changes"]]
            for one in content["scopes"]
        }
        read_at, revert = datetime.fromisoformat(content["read_at"]), content["revert"] is True
        asked = Asked(*(tuple(map(str, document.a_list(content["asked"][key]))) for key in ("tickets", "by")))
        sealed = Sealed(content["digest"], read_at, revert, changes, asked)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError.at(file, f"is not a plan that mspctl saved ({error})") from None
    if Plan(_plans(changes), sealed.read_at).digest != sealed.digest:
        raise InputError.at(file, "was changed since mspctl saved it (its digest does not fit)")
    return sealed


def _plans(changes: Mapping[Scope, Sequence[Change]]) -> list[ScopePlan]:
    return [ScopePlan(scope, steps=[Step(c) for c in found]) for scope, found in changes.items()]


def limit(plans: Iterable[ScopePlan], sealed: Sealed) -> list[ScopePlan]:
    """Fresh plans in which only reviewed changes are due; what differs from the review is held, with the reason."""
    return [_limited(plan, {c.id: c for c in sealed.changes.get(plan.scope, ())}) for plan in plans]


def later(plans: Iterable[ScopePlan], shown: Plan) -> list[ScopePlan]:
    """
    Plans of a later wave, in which only that is due which nobody could know when the plan was shown.

    Nothing else was reviewed, and no other scope is locked; running again does it.
    """
    awaited = {(p.scope, id_) for p in shown.scopes for id_ in p.unknown}
    others = {p.scope: p.elsewhere for p in shown.scopes}
    return [_held(plan, awaited, others.get(plan.scope, ())) for plan in plans]


def _held(plan: ScopePlan, awaited: Collection[tuple[Scope, Id]], elsewhere: Sequence[Step]) -> ScopePlan:
    reason = "changes by what this run has made (run again)"
    others = {step.change.id for step in elsewhere}
    steps = [
        step
        if step.standing is not Standing.DUE or (plan.scope, step.change.id) in awaited
        else replace(step, standing=Standing.HELD, reason=reason)
        for step in plan.steps
        if step.change.id not in others
    ]
    return replace(plan, steps=steps, elsewhere=elsewhere)


def _limited(plan: ScopePlan, reviewed: Mapping[Id, Change]) -> ScopePlan:
    steps = [_judged(step, reviewed.get(step.change.id)) for step in plan.steps]
    due = any(step.standing is Standing.DUE for step in steps)
    return replace(plan, steps=steps, live=plan.live if due else ())


def _judged(step: Step, reviewed: Change | None) -> Step:
    if step.standing is not Standing.DUE:
        return step
    if reviewed is None:
        return replace(step, standing=Standing.HELD, reason="not in the plan that was reviewed")
    if not _still(step.change, reviewed):
        return replace(step, standing=Standing.HELD, reason="not as it was when the plan was reviewed")
    return step


def _still(change: Change, reviewed: Change) -> bool:
    """Whether a change does what was reviewed, or less of it: a field that is true meanwhile needs no change."""
    if change.verb != reviewed.verb or (change.before and change.before.id) != (reviewed.before and reviewed.before.id):
        return False
    names = change.changed if change.verb in ("update", "rename") else None
    if names is not None and not set(names) <= set(reviewed.changed):
        return False
    return _fields(change.before, names) == _fields(reviewed.before, names) and _fields(change.after, names) == _fields(
        reviewed.after, names
    )


def _fields(resource: Resource | None, names: Sequence[str] | None) -> dict[str, Value] | None:
    if resource is None:
        return None
    return {n: v for n, v in resource.fields.items() if names is None or n in names}


def missed(plans: Iterable[ScopePlan], sealed: Sealed) -> list[tuple[Scope, Change]]:
    """Reviewed changes that are neither due nor true any more: somebody else was there in between."""
    now = {plan.scope: plan for plan in plans}
    found = []
    for scope, changes in sealed.changes.items():
        plan = now.get(scope)
        planned = {step.change.id for step in plan.steps} if plan else set()
        differing = {d.id for d in plan.left} if plan else {c.id for c in changes}
        found += [(scope, c) for c in changes if c.id not in planned and c.id in differing]
    return found
