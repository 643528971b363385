"""
`approvals.yaml` and `accepted.yaml` of a customer: what somebody let pass, by name, with a reason and an end.

An approval lets one guarded change through, once. An acceptance leaves one difference as it is until a date, or one
finding.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from mspctl.fields import Day, Model, Name, Text, one_line, typed
from mspctl.kinds import shown
from mspctl.model.base import in_file
from mspctl.model.folder import Folder
from mspctl.resource import Id, Scope
from mspctl.strict_yaml import Mark, Problems, find

ACCEPTED, APPROVALS = "accepted.yaml", "approvals.yaml"
APPROVAL_DAYS = 14  # an approval is for the change at hand, not for later

_PATH = re.compile(r"[a-z0-9-]+/[^/\s].*")


def _path(value: Any) -> str:
    text = one_line(value)
    if not _PATH.fullmatch(text):
        raise ValueError(
            f"{text!r} does not name a scope or a resource (write dns/acme.example or dns/acme.example/www A)"
        )
    return text


_CODE = re.compile(r"[a-z0-9-]{1,63}\.[a-z0-9-]{1,63}")


def _code(value: Any) -> str:
    text = typed(value)
    if not _CODE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not the code of a finding (write dns.parent-ns)")
    return text


Path = Annotated[str, BeforeValidator(_path)]
Code = Annotated[str, BeforeValidator(_code), WithJsonSchema({"type": "string", "pattern": f"^{_CODE.pattern}$"})]


class Permission(Model):
    resource: Path  # facet/scope, or facet/scope/resource
    target: Name | None = None  # only there
    why: Text
    until: Day  # the day is included

    def names(self, scope: Scope, id_: Id) -> bool:
        return self.covers(f"{scope.facet}/{scope.name}/{id_.name}") and self.target in (None, scope.target)

    def covers(self, path: str) -> bool:
        return path == self.resource or path.startswith(self.resource + "/")


class Approval(Permission):
    @property
    def key(self) -> str:
        """By which the ledger knows that it was used."""
        where = f" on {self.target}" if self.target else ""
        return f"{self.resource}{where} until {self.until}: {self.why}"


class Acceptance(Permission):
    who: Text
    finding: Code | None = None  # its code; without one, what was changed outside is accepted


class ApprovalsFile(Model):
    approvals: tuple[Approval, ...] = ()


class AcceptedFile(Model):
    accepted: tuple[Acceptance, ...] = ()


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a customer's folder lets pass."""

    approvals: tuple[Approval, ...] = ()
    accepted: tuple[Acceptance, ...] = ()

    def on(self, today: date) -> Permissions:
        """Those that hold today."""
        return Permissions(
            tuple(a for a in self.approvals if a.until >= today), tuple(a for a in self.accepted if a.until >= today)
        )

    def lapsed(self, today: date) -> tuple[Acceptance, ...]:
        """Acceptances of differences that held once."""
        return tuple(a for a in self.accepted if a.until < today and a.finding is None)

    def approval(self, scope: Scope, id_: Id, used: Collection[str] = ()) -> Approval | None:
        """What lets a guarded change through; an approval that was `used` does so no more."""
        return next((a for a in self.approvals if a.names(scope, id_) and a.key not in used), None)

    def retirement(self, scope: Scope, used: Collection[str] = ()) -> Approval | None:
        """What lets a scope go that left Git: it names the scope and its target, for it may live on another one."""
        name = f"{scope.facet}/{scope.name}"
        found = (a for a in self.approvals if (a.resource, a.target) == (name, scope.target) and a.key not in used)
        return next(found, None)

    def acceptance(self, scope: Scope, id_: Id) -> Acceptance | None:
        return next((a for a in self.accepted if a.finding is None and a.names(scope, id_)), None)

    def acceptance_of(self, code: str, path: str) -> Acceptance | None:
        """What lets a finding be."""
        return next((a for a in self.accepted if a.finding == code and a.covers(path)), None)


NONE = Permissions()


def read(folder: Folder, today: date, problems: Problems) -> Permissions:
    """The permissions of one customer's folder; what is wrong with them goes to `problems`."""
    accepted = in_file(folder, ACCEPTED, AcceptedFile, problems).accepted
    for index, each in enumerate(accepted):
        if each.until < today:
            text = "is over: what it let be is reported again (take this entry out, or accept it anew)"
            path = f"accepted[{index}].until"
            problems.add(_mark(folder, ACCEPTED, "accepted", index), path, text, level="warning")
    return Permissions(read_approvals(folder, today, problems), accepted)


def read_approvals(folder: Folder, today: date, problems: Problems) -> tuple[Approval, ...]:
    """The approvals of a customer's folder, or of the inventory."""
    approvals = in_file(folder, APPROVALS, ApprovalsFile, problems).approvals
    last = today + timedelta(days=APPROVAL_DAYS)
    for index, approval in enumerate(approvals):
        path = f"approvals[{index}].until"
        if approval.until > last:
            text = f"{approval.until} is more than {APPROVAL_DAYS} days ahead (write {last} or earlier)"
            problems.add(_mark(folder, APPROVALS, "approvals", index), path, text)
        elif approval.until < today:
            mark = _mark(folder, APPROVALS, "approvals", index)
            problems.add(mark, path, "is over (remove this approval)", level="warning")
    return approvals


def _mark(folder: Folder, file: str, key: str, index: int) -> Mark | None:
    return find(folder.yaml(file, Problems()), (key, index, "until"))
