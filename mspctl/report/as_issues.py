"""
Issues from reports: one for each customer that drifts, one for a merge that did not land whole. Pure.

A drift report gives an issue per customer with something that somebody has to end; a customer without is told of too,
so that its issue can be closed. What is accepted, held or quiet opens none. Neither does a target that gives no answer,
which would be one for each customer on it; but as long as it gives none nobody knows whether an issue is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mspctl.report import as_markdown
from mspctl.report.as_markdown import code, inline
from mspctl.report.digest import Place, counts, cut, places
from mspctl.report.view import ELSEWHERE, FINDINGS, Line, Tone, View

LIMIT = 55_000  # bytes; the rest of what an issue can have is for what the next run is told
# What somebody has to end.
TOLD = frozenset({Tone.OPENS, Tone.OUTSIDE, Tone.BAD, Tone.SEVERE, Tone.WARN, Tone.TAKE, Tone.CHANGE, Tone.ADD})
# Who touched it, and since when it is seen: the thing is the same.
_SINCE = re.compile(
    r"(?:; (?:last touched (?:by [^\n]{1,200}?, )?|file written )\d{4}-\d\d-\d\d \d\d:\d\d UTC)?"
    r"(?: \((?:since|new: not seen on) \d{4}-\d\d-\d\d \d\d:\d\d\))?$"
)
_CODE = re.compile(r"\[[a-z-]+\.[a-z-]+\]$")
# What a finding counts, with the word of it, and days: not what is part of a name, an address or a service.
_COUNTED = re.compile(
    r"(?<![\w.:/@-])(?<!port )(?:\d{4}-\d\d-\d\d(?: \d\d:\d\d)?|\d+(?:,\d{3})*(?:\.\d+)?%?(?: \w+)?)(?![.:/@-]*\w)"
)
UNCHECKED = "not checked"  # the label of a finding that says why nobody knows
SILENT = "unreachable"  # the label of what gave no answer
NEWS = 20  # lines of what is new that are said one by one


@dataclass(frozen=True, slots=True)
class Told:
    """What is to be said of one subject; `facts` empty: nothing any more."""

    subject: str
    title: str
    text: str
    facts: dict[str, Line]  # by what tells them apart
    unsure: bool = False  # whether there may be more, which could not be read


def of_drift(shown: View) -> Iterator[Told]:
    """One for each customer that was looked at."""
    for customer in sorted({str(scope["customer"]) for scope in _scopes(shown)} | {b.customer for b in shown.blocks}):
        own = replace(shown, blocks=[b for b in shown.blocks if b.customer == customer], notes=(), alarms=())
        facts = {fact(place.block.heading if place.block else "", place.line): place.line for place in _heavy(own)}
        unsure = any(p.line.label == SILENT for p in places(own))
        said = ", ".join(str(count) for count in counts(facts.values())[:4])
        own = replace(own, summary=f"{said or 'Nothing'}.", facts=[customer, *shown.facts[-2:]])
        title = cut(f"Drift: {customer}: {said}", 200)
        yield Told(f"drift {customer}", title, as_markdown.page_of(own, LIMIT), facts, unsure)


def of_apply(shown: View, what: str) -> Told:
    """`what` was merged: `#212`, or a commit. What landed is in the text too."""
    count = shown.document["counts"]
    assert isinstance(count, dict), "a report of an apply has counts"
    left = sum(int(count.get(name, 0)) for name in ("failed", "unread", "waiting", "contested", "unfinished"))
    facts = {
        fact(p.block.heading if p.block else "", p.line): p.line
        for p in places(shown)
        if p.line.tone is not Tone.DONE and p.line.label != ELSEWHERE
    }
    text = as_markdown.page_of(shown, LIMIT)
    return Told(f"apply {what}", f"Not everything of {what} was applied", text, facts if left else {})


def news(told: Told, new: frozenset[str]) -> str:
    """What is said to those who follow an issue."""
    lines = [line for fact, line in told.facts.items() if fact in new]
    rows = [f"- {inline(line.label)} {code(cut(line.name, 200))} {code(cut(line.detail, 300))}" for line in lines]
    more = [f"- … and {len(rows) - NEWS:,} more"] if len(rows) > NEWS else []
    return "\n".join([f"**New** ({len(rows):,}):", "", *rows[:NEWS], *more]) + "\n"


def _scopes(shown: View) -> list[dict[str, object]]:
    found = shown.document.get("scopes", [])
    return found if isinstance(found, list) else []


def _heavy(shown: View) -> Iterator[Place]:
    return (p for p in places(shown) if p.line.tone in TOLD and p.line.label != SILENT)


def fact(heading: str, line: Line) -> str:
    """
    The same as long as it is the same thing, whenever it was seen. What a finding counts goes on from day to day, and
    why something could not be checked is another reason each time.
    """
    detail, code = _SINCE.sub("", line.detail), _CODE.search(line.detail) if heading == FINDINGS else None
    if code:
        detail = code[0] if line.label == UNCHECKED else _COUNTED.sub("#", detail)
    return "\n".join((where(heading), line.label, line.name, detail))


def where(heading: str) -> str:
    """A scope, without when it was seen."""
    return heading.partition(" as seen ")[0]
