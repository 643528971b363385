"""
What the run of a merge leaves to the runs of others.

Such runs come in any order. What differs between Git and a target may be what another merge declared, whose run has not
come yet; and where a newer one was faster, an older run must not take back what that did. So what is declared is held
against what main said before this merge, and against what it says by now.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from mspctl.affected import commit_of
from mspctl.desired import Declaration
from mspctl.errors import Error, LedgerError
from mspctl.git.command import Git
from mspctl.load import Estate, load
from mspctl.plan import ScopePlan, Standing, Step, is_shifted
from mspctl.quick_lane import newest
from mspctl.resource import Cause, Change, Id, Scope
from mspctl.trusted import checked_out

EARLIER = "not of this merge: it is left to the run of its own"
NEWER = "main says otherwise by now: it is left to the run of what was merged since"
DUE = "not of this merge: apply --due does it"

Declared = Mapping[Scope, Declaration]


# -- pure -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Says:
    """What is declared, as targets hold it: here, before this merge, and in main by now."""

    here: Declared
    before: Declared | None = None  # None: nobody knows
    main: Declared | None = None  # None: it is what is here

    def why(self, scope: Scope, step: Step, *, reviewed: bool) -> str:
        """Why a step is not for this run; "" when it is, or when it is not another merge's either."""
        declared, change = self.here.get(scope), step.change
        if self.main is not None and self._is_newer(self.main.get(scope), declared, change):
            return NEWER
        if declared is None or change.cause is not Cause.PENDING:
            return ""
        if reviewed or step.standing is not Standing.DUE or self.before is None:
            return ""
        if _said(self.before.get(scope), scope, change.id) != _said(declared, scope, change.id):
            return ""
        by_time = change.id in declared.timed and (change.id not in declared.shifted or is_shifted(change, declared))
        return DUE if by_time else EARLIER

    @staticmethod
    def _is_newer(by_now: Declaration | None, declared: Declaration | None, change: Change) -> bool:
        if declared is None:
            return by_now is not None  # what left Git goes whole or not at all
        return _says_otherwise(by_now, change)


def _says_otherwise(declared: Declaration | None, change: Change) -> bool:
    """Whether somebody who carried that out would make something else of what a change makes."""
    if declared is None or declared.mode != "enforce":
        return True
    there = {r.id: r for r in declared.resources}.get(change.id)
    if change.after is None or there is None:
        return there is not change.after
    return any(there.fields.get(name) != change.after.fields[name] for name in change.changed)


def _said(declared: Declaration | None, scope: Scope, id_: Id) -> object:
    """All that is said of a resource, and of whether it may be changed."""
    if declared is None:
        return None
    found = {r.id: r for r in declared.resources}.get(id_)
    allowed = declared.permissions.approval(scope, id_), declared.permissions.acceptance(scope, id_)
    return declared.mode, declared.ignore, declared.also, allowed, found and (dict(found.fields), found.was)


def set_aside(plan: ScopePlan, says: Says, reviewed: Collection[Id]) -> ScopePlan:
    """The plan without steps that are for another run; those are told."""
    why = [says.why(plan.scope, step, reviewed=step.change.id in reviewed) for step in plan.steps]
    if not any(why):
        return plan
    judged = [*zip(plan.steps, why, strict=True)]
    steps = [step for step, reason in judged if not reason]
    others = [replace(step, standing=Standing.HELD, reason=reason) for step, reason in judged if reason]
    due = any(step.standing is Standing.DUE for step in steps)
    return replace(plan, steps=steps, elsewhere=[*plan.elsewhere, *others], live=plan.live if due else ())


# -- what Git had, and has ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Merge:
    """A merge that is checked out: `base` is the commit that main was before, `into` is the branch that is main."""

    root: Path
    base: str  # "" before the first commit
    into: str
    _estates: dict[tuple[str, frozenset[str]], Estate | None] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, base: str, into: str) -> Merge:
        """Raises InputError when the base is no commit that is here."""
        return cls(root, commit_of(Git(root), base), into)

    def before(self, names: Collection[str], now: datetime) -> Estate | None:
        return self._estate(self.base, names, now) if self.base else None

    def since(self, names: Collection[str], now: datetime) -> Estate | None:
        """
        Main by now, when it is not what is checked out: something was merged since, or it was set back; of these
        customers, without any of all. Raises
        LedgerError when the remote does not tell: who does not know what main says could take something back.
        """
        git = Git(self.root)
        if not git.remote("the customers"):
            return None
        try:
            head, tip = git("rev-parse", "HEAD").strip(), newest(git, self.into)
        except LedgerError as error:
            raise LedgerError(f"nothing is applied before it is known what {self.into} says now: {error}") from error
        return self._estate(tip, names, now) if head != tip else None

    def _estate(self, commit: str, names: Collection[str], now: datetime) -> Estate | None:
        """None where its files are wrong: then it says nothing that could be gone by."""
        key = commit, frozenset(names)
        if key not in self._estates:
            with checked_out(Git(self.root), commit) as folder:
                try:
                    self._estates[key] = _loaded(folder, names, now)
                except (Error, OSError):
                    self._estates[key] = None
        return self._estates[key]


def _loaded(folder: Path, names: Collection[str], now: datetime) -> Estate:
    """Without customers where none of these is there; all where none is named."""
    if not names:
        return load(folder, (), now)
    there = sorted(each.name for each in (folder / "customers").iterdir())
    found = load(folder, [name for name in there if name in names] or there[:1], now)
    return replace(found, customers={name: it for name, it in found.customers.items() if name in names})
