"""
Comments and issues that are kept up to date: one for each subject, however often and from wherever they are written.

A call whose answer was lost may have been carried out. So nothing is sent again before somebody has looked whether it
is there; and when two runs wrote at the same moment, the older one stays. Knows the forge by its protocol alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from mspctl.errors import Unreachable
from mspctl.forge import LONGEST, Comment, Forge, Issue

T = TypeVar("T", Comment, Issue)

ATTEMPTS = 3
REMEMBERED = 400  # facts of an issue by which the next run knows what is new
_KNOWN = re.compile(r"<!-- mspctl known:([0-9a-f ]*) -->")


def marker(subject: str) -> str:
    """The line that says what a text is about: a subject is a kind and a name, as `plan` or `drift acme`."""
    return f"<!-- mspctl: {re.sub(r'[^a-z0-9 .#-]', '', subject)} -->"


# -- comments -------------------------------------------------------------------------------------------------


def keep_comment(forge: Forge, number: int, subject: str, text: str) -> Comment:
    """The only comment of its subject on a pull request or issue, with this text. Raises as the forge does."""
    body = _fitting(f"{marker(subject)}\n{text}")
    kept = _once(
        lambda: _about(forge.comments(number), subject),
        lambda: forge.comment(number, body),
    )
    if kept.body != body:
        forge.edit_comment(kept.id, body)
    for other in _about(forge.comments(number), subject):
        if other.id != kept.id:
            forge.delete_comment(other.id)
    return Comment(kept.id, body)


# -- issues ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """What an issue shall say. `facts` tell, run by run, what is new: a text for each, not for people."""

    subject: str
    title: str
    text: str
    facts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    number: int
    opened: bool = False
    news: frozenset[str] = frozenset()  # facts that nobody was told before


def keep_issue(forge: Forge, said: Said, labels: Collection[str], news: Callable[[frozenset[str]], str]) -> Kept:
    """
    The only open issue of its subject, up to date. Somebody is told (by a comment with what `news` says of them) only
    of facts that are new: an edit makes no noise, and the next run finds the rest in the text.
    """
    known = {fact: _print(fact) for fact in said.facts}
    remembered = f"\n<!-- mspctl known:{' '.join([*known.values()][:REMEMBERED])} -->"
    body = _fitting(f"{marker(said.subject)}\n{said.text}", remembered)
    opened: list[Issue] = []

    def open_it() -> Issue:
        opened.append(forge.open_issue(said.title, body, labels))
        return opened[-1]

    kept = _once(lambda: _about(forge.issues(labels), said.subject), open_it)
    new = frozenset() if opened else _new(kept, known)
    if new:  # told first, so that it is not forgotten; whoever comes after a run that ended here finds that it was told
        keep_comment(forge.on_issues(), kept.number, f"news {_print(kept.body)}", news(new))
    if (kept.body, kept.title) != (body, said.title):
        forge.edit_issue(kept.number, title=said.title, body=body, open=True)
    return Kept(kept.number, bool(opened), frozenset(known) if opened else new)


def close_issue(forge: Forge, subject: str, labels: Collection[str], why: str) -> list[int]:
    """Close what is open of a subject, with a last word; their numbers."""
    closed = []
    for issue in _about(forge.issues(labels), subject):
        keep_comment(forge.on_issues(), issue.number, f"closed {_print(issue.body)}", why)
        forge.edit_issue(issue.number, title=issue.title, body=issue.body, open=False)
        closed.append(issue.number)
    return closed


def _new(issue: Issue, known: dict[str, str]) -> frozenset[str]:
    found = _KNOWN.search(issue.body)
    before = {*found[1].split()} if found else set()
    # Of more than are remembered nobody can say which are new.
    return frozenset() if len(before) >= REMEMBERED else frozenset(f for f, seen in known.items() if seen not in before)


def _print(fact: str) -> str:
    return sha256(fact.encode("utf-8", "surrogatepass")).hexdigest()[:12]


# -- both -----------------------------------------------------------------------------------------------------


def _once(there: Callable[[], Sequence[T]], make: Callable[[], T]) -> T:
    """What is there already, else what is made; an answer that was lost is looked for before it is tried again."""
    for attempt in range(ATTEMPTS):
        if found := there():
            return found[0]
        try:
            return make()
        except Unreachable:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("each attempt ends")


def _about(texts: Iterable[T], subject: str) -> list[T]:
    """Those of a subject, the oldest first."""
    mine = [text for text in texts if text.body.startswith(marker(subject))]
    return sorted(mine, key=lambda text: text.id if isinstance(text, Comment) else text.number)


def _fitting(text: str, ending: str = "") -> str:
    """A last resort: texts are made to fit where they are written."""
    room = LONGEST - len(ending)
    return (text if len(text) <= room else f"{text[: room - 40]}\n\n… (too long to be posted)") + ending
