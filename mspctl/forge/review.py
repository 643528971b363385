"""
What was reviewed: the plan that CI kept of a pull request as it was merged. Knows the forge by its protocol alone.

An artifact counts only when a run of our own plan left it, on the event whose workflow comes from the base: whoever can
open a pull request can have another workflow leave one of the same name.

A plan is made again when somebody else's change was merged, or when a job is run again, and may come out otherwise than
the one that was approved. So the comment says which plan it shows and since when: an approval from before that is taken
back, and what nobody approved while it stood there is not applied. Where nobody ever approved, who merges agrees.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from mspctl.errors import InputError, TargetError, Unreachable
from mspctl.forge import PLANNED, Approval, Forge, Pull
from mspctl.forge.posting import keep_comment, marker

SUBJECT = "plan"
AGAIN = "approve"  # a comment that an approval was of another plan, and the digest of the one that was not approved
_SHOWS = re.compile(r"<!-- mspctl shows:([0-9a-f]+) since:(\S+) -->")


@dataclass(frozen=True, slots=True)
class Reviewed:
    pull: int
    run: int
    name: str  # of the artifact
    digest: str = ""  # of the plan that the comment shows; "" where none could be written


@dataclass(frozen=True, slots=True)
class Kept:
    """A plan, as an artifact."""

    run: int
    name: str
    made: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """A plan that stands in the comment, and since when."""

    digest: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Stale:
    """An approval of another plan; `wrong` is why it could not be taken back."""

    approval: Approval
    wrong: str = ""


def name_of(pull: int, head: str) -> str:
    """What the plan of a pull request is kept as, when `head` was its last commit."""
    return f"reviewed-{pull}-{head}"


def reviewed(forge: Forge, commit: str, workflow: str) -> Reviewed:
    """
    Of the pull request that was merged with a commit. Raises InputError when there is none, and when its plan came out
    otherwise after it was approved or, where nobody ever approved, merged.
    """
    merged = [pull for pull in forge.pulls_of(commit) if pull.merged]
    if not merged:
        text = "no merged pull request brought it, so nothing of it was reviewed (mspctl plan, then mspctl apply)"
        raise InputError.at("", f"{commit[:12]}: {text}")
    pull = max(merged, key=lambda each: each.number)
    found, stands = plan_of(forge, pull, workflow), shown(forge, pull.number)
    since = stands.since if stands else found.made
    agreed = [each.when for each in forge.approvals(pull.number)]
    if not agreed and not _was_taken_back(forge, pull.number):
        agreed = [pull.merged_at or since]
    if not agreed or max(agreed) < since:
        text = f"its plan came out otherwise at {since:%Y-%m-%d %H:%M %Z}, and nobody has approved that one"
        raise InputError.at("", f"{forge.sign}{pull.number}: {text} (mspctl plan, then mspctl apply)")
    return Reviewed(pull.number, found.run, found.name, stands.digest if stands else "")


def plan_of(forge: Forge, pull: Pull, workflow: str) -> Kept:
    """The plan that is kept of a pull request as it is. Raises InputError when there is none."""
    name = name_of(pull.number, pull.head)
    for artifact in forge.artifacts(name):
        if (artifact.name, artifact.workflow, artifact.event) == (name, workflow, PLANNED):
            return Kept(artifact.run, name, artifact.made)
    text = "its plan is not kept (any more), so nothing is applied (mspctl plan, then mspctl apply)"
    raise InputError.at("", f"{forge.sign}{pull.number} at {pull.head[:12]}: {text}")


# -- the comment ------------------------------------------------------------------------------------------------


def shown(forge: Forge, number: int) -> Shown | None:
    """Which plan the comment on a pull request shows. Who may only push is not believed: then nobody knows."""
    for comment in forge.comments(number):
        if not comment.firm:
            continue
        first, _, rest = comment.body.partition("\n")
        if first.strip() == marker(SUBJECT) and (found := _SHOWS.match(rest)):
            with suppress(ValueError):
                since = datetime.fromisoformat(found[2])
                return Shown(found[1], since) if since.tzinfo else None
            return None
    return None


def show(forge: Forge, number: int, digest: str, text: str, now: datetime) -> Sequence[Stale]:
    """
    Have the comment show a plan, and take back the approvals of another one: who gave them is told in a comment of its
    own. What could not be taken back, or told, comes with the next try. Raises as the forge does.
    """
    before = shown(forge, number)
    since = before.since if before and before.digest == digest else now.replace(microsecond=0)
    keep_comment(forge, number, SUBJECT, f"<!-- mspctl shows:{digest} since:{since.isoformat()} -->\n{text}")
    approvals = forge.approvals(number)
    old = [each for each in approvals if each.when < since]
    if old:
        keep_comment(forge, number, f"{AGAIN} {digest}", _told(old, digest))
    settled = len(old) < len(approvals)  # somebody approved this one
    if settled and not forge.each_alone:
        return []
    found = [_taken_back(forge, number, each) for each in old]
    return [each for each in found if not (each.wrong and settled)]


def _was_taken_back(forge: Forge, number: int) -> bool:
    """Whether somebody had approved another plan, and was told."""
    begins = marker(f"{AGAIN} ").removesuffix(" -->")
    return any(comment.body.startswith(begins) for comment in forge.comments(number))


def _told(old: Sequence[Approval], digest: str) -> str:
    names = ", ".join(sorted({f"`{each.by}`" for each in old}))
    again = "Look at it, and approve it again"
    return f"**The plan is not the one that was approved.** {again}: what {names} approved was older than `{digest}`."


def _taken_back(forge: Forge, number: int, approval: Approval) -> Stale:
    try:
        forge.dismiss(number, approval.id, "The plan is another one now: see its comment, and approve that.")
    except Unreachable:
        raise
    except TargetError as error:
        return Stale(approval, str(error))
    return Stale(approval)
