"""
`approvals.yaml` and `accepted.yaml` of a customer: what somebody let pass, by name, with a reason and an end.

An approval lets one guarded change through, once. An acceptance leaves one difference as it is until a date.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator

from mspctl.fields import Day, Model, Text, one_line
from mspctl.resource import Id, Scope

APPROVAL_DAYS = 14  # an approval is for the change at hand, not for later

_PATH = re.compile(r"[a-z0-9-]+/[^/\s].*")


def _path(value: Any) -> str:
    text = one_line(value)
    if not _PATH.fullmatch(text):
        raise ValueError(
            f"{text!r} does not name a scope or a resource (write dns/acme.example or dns/acme.example/www A)"
        )
    return text


Path = Annotated[str, BeforeValidator(_path)]


class Permission(Model):
    resource: Path  # facet/scope, or facet/scope/resource
    why: Text
    until: Day  # the day is included

    def names(self, scope: Scope, id_: Id) -> bool:
        full = f"{scope.facet}/{scope.name}/{id_.name}"
        return full == self.resource or full.startswith(self.resource + "/")


class Approval(Permission):
    pass


class Acceptance(Permission):
    who: Text


class ApprovalsFile(Model):
    approvals: tuple[Approval, ...] = ()


class AcceptedFile(Model):
    accepted: tuple[Acceptance, ...] = ()


def too_long(approvals: Iterable[Approval], today: date) -> list[tuple[int, str]]:
    """(index, what is wrong) of approvals that reach too far ahead."""
    last = today + timedelta(days=APPROVAL_DAYS)
    return [
        (i, f"{a.until} is more than {APPROVAL_DAYS} days ahead (write {last} or earlier)")
        for i, a in enumerate(approvals)
        if a.until > last
    ]
