"""
The forge: where pull requests, comments and issues are, and what mspctl asks of it. `github.py` and `gitlab.py` talk.

What is written there belongs to a subject (the plan of a pull request, the drift of a customer), named in a marker that
nobody sees. So what is there is found again and brought up to date, whoever wrote it and however often it is tried.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from mspctl.errors import TargetError

LONGEST = 65_536  # characters of a comment or an issue
PLANNED = "pull_request_target"  # why a job ran that plans a pull request, and is the base's


@dataclass(frozen=True, slots=True)
class Comment:
    id: int
    body: str
    firm: bool = True  # by a program, or by whoever rules the repository: not by everybody who may push


@dataclass(frozen=True, slots=True)
class Issue:
    number: int
    title: str
    body: str
    labels: Sequence[str] = ()
    open: bool = True


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull request; `head` is the last commit on its `branch`."""

    number: int
    title: str
    head: str
    merged: bool = False
    body: str = ""
    branch: str = ""
    open: bool = True
    fork: bool = False  # its branch is in somebody else's repository
    into: str = ""  # the branch it would be merged into
    merged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What one job said of a commit; `good` is None while it runs."""

    name: str
    run: int  # of its workflow; 0 where it is none
    good: bool | None


@dataclass(frozen=True, slots=True)
class Artifact:
    """What a run of a workflow left; `workflow` is that workflow's file, `event` why it ran."""

    name: str
    run: int
    workflow: str
    event: str
    made: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """What somebody said of a pull request who may write to the repository, and was not taken back."""

    id: int
    by: str
    when: datetime


class Running(TargetError):
    """A run that is under way is not begun once more: it is tried again when it is over."""


class Forge(Protocol):
    """
    Each call raises Unreachable when nobody knows whether it was done, and TargetError when it was refused.

    Comments and issues are only those of people and programs who may write to the repository: anybody could put a
    marker into theirs.
    """

    plans: str  # whose artifacts are believed to be plans
    sign: str  # what stands before the number of a pull request
    each_alone: bool  # whether an approval can be taken back without the others

    def on_issues(self) -> Forge:
        """The same, but comments are those of issues: some forges number them apart."""

    def comments(self, number: int) -> Sequence[Comment]: ...
    def comment(self, number: int, body: str) -> Comment: ...
    def edit_comment(self, comment: int, body: str) -> None: ...
    def delete_comment(self, comment: int) -> None: ...
    def issues(self, labels: Collection[str]) -> Sequence[Issue]: ...
    def open_issue(self, title: str, body: str, labels: Collection[str]) -> Issue: ...
    def edit_issue(self, number: int, *, title: str, body: str, open: bool) -> None: ...
    def pull(self, number: int) -> Pull: ...
    def pulls_of(self, commit: str) -> Sequence[Pull]: ...
    def pulls(self, base: str) -> Sequence[Pull]:
        """The open ones into a branch."""

    def pulls_from(self, branch: str) -> Sequence[Pull]:
        """Open and closed ones."""

    def files_of(self, number: int) -> Sequence[str]:
        """Paths that a pull request changes; what is moved is named twice."""

    def open_pull(self, title: str, body: str, branch: str, base: str) -> Pull: ...
    def edit_pull(self, number: int, *, title: str, body: str) -> None: ...
    def checks(self, commit: str) -> Sequence[Check]: ...
    def merge(self, number: int, head: str) -> None:
        """If `head` still is its last commit."""

    def approvals(self, number: int) -> Sequence[Approval]: ...
    def dismiss(self, number: int, approval: int, why: str) -> None:
        """An approval counts no more; who gave it is told why."""

    def rerun(self, run: int) -> None:
        """All of a workflow's run once more, on what is there now. Raises Running while it is under way."""

    def artifacts(self, name: str) -> Sequence[Artifact]: ...
