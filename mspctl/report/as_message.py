"""
What somebody is told of a drift report who is not looking at it: what is new to them, one cause in one line. Pure.

It is plain text for every service; whatever a live value says, it mentions nobody.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mspctl.amounts import count
from mspctl.notified import Notified, digest
from mspctl.report import as_issues
from mspctl.report.digest import Place, cut, grouped, places, visible
from mspctl.report.view import Block, Line, View

LINES = 25  # of a message; the rest is counted
LENGTH = 240  # characters of one
EARLY = timedelta(hours=4)  # a sign of life may come so much before its time: runs are not to the minute
UNREAD = ("unreachable", "error")
ALARMS = "-"  # in place of a customer


@dataclass(frozen=True, slots=True)
class Message:
    title: str  # "": nothing is to be told
    text: str
    after: Notified  # what its destination knows once it was delivered, or if nothing is told


def message(
    shown: View,
    customers: Collection[str],
    known: Notified,
    now: datetime,
    *,
    everything: bool = False,
    alive: timedelta | None = None,
) -> Message:
    """
    What is to be told, if anything is. `customers` is whom it is about, all when empty; `everything` repeats what
    was told before; after `alive` without a word it is told that all is well.
    """
    mine = _about(shown, customers)
    facts = {place_key(place): place for place in _heavy(mine)}
    told = {each for digests in known.told.values() for each in digests}
    new = {fact: place for fact, place in facts.items() if digest(fact) not in told}
    after = _after(mine, facts, known, now)
    alarms = {*map(digest, mine.alarms)}
    if new or alarms - told or (everything and facts):
        lines = [*(facts if everything else new).values()]
        title = _title(len(new) + len(alarms - told), len(facts) + len(alarms))
        return Message(title, _text(mine, lines), after)
    if alive is not None and (known.last is None or now - known.last >= alive - EARLY):
        said = f"{count(len(facts), 'thing')} known" if facts else "all is well"
        return Message(f"mspctl drift: nothing new, {said}", f"{_read(mine)}. {_summary(mine)}".rstrip() + "\n", after)
    return Message("", "", replace(after, last=known.last))


def _about(shown: View, customers: Collection[str]) -> View:
    if not customers:
        return shown
    scopes = shown.document.get("scopes")
    kept = [each for each in scopes if each["customer"] in customers] if isinstance(scopes, list) else []
    blocks = [block for block in shown.blocks if block.customer in customers]
    alarms = [alarm for alarm in shown.alarms if alarm.startswith(("Only ", *(f"{name} " for name in customers)))]
    document = {**shown.document, "scopes": kept}
    # The summary counts everybody's.
    return replace(shown, blocks=blocks, notes=(), alarms=alarms, document=document, summary="")


def _heavy(shown: View) -> Iterator[Place]:
    return (p for p in places(shown) if p.block and p.line.tone in as_issues.TOLD)


def place_key(place: Place) -> str:
    """The same as long as it is the same thing; of what gives no answer, whatever the reason is today."""
    block, line = place.block, place.line
    assert block is not None, "a fact is about a customer"
    if line.label in UNREAD:
        return "\n".join((block.customer, as_issues.where(block.heading), line.label))
    return f"{block.customer}\n{as_issues.fact(block.heading, line)}"


def _after(shown: View, facts: Mapping[str, Place], known: Notified, now: datetime) -> Notified:
    """What was told stays told while it is so, and while nobody can know whether it still is."""
    told = {name: set(digests) for name, digests in known.told.items()}
    unread = {p.block.customer for p in facts.values() if p.block and p.line.label in UNREAD}
    for name in _customers(shown) - unread:
        told[name] = set()
    for fact, place in facts.items():
        assert place.block is not None, "a fact is about a customer"
        told.setdefault(place.block.customer, set()).add(digest(fact))
    told[ALARMS] = {*map(digest, shown.alarms)}
    return Notified({name: frozenset(digests) for name, digests in told.items() if digests}, now)


def _customers(shown: View) -> set[str]:
    scopes = shown.document.get("scopes")
    return {str(each["customer"]) for each in (scopes if isinstance(scopes, list) else ())}


def _title(new: int, all_: int) -> str:
    known = f", {all_ - new:,} known" if all_ > new else ""
    return f"mspctl drift: {new:,} new{known}"


def _text(shown: View, lines: Iterable[Place]) -> str:
    kept = {id(place.line) for place in lines}
    only = [
        replace(b, lines=[x for x in b.lines if id(x) in kept], aside=[x for x in b.aside if id(x) in kept])
        for b in shown.blocks
    ]
    view = grouped(replace(shown, blocks=[block for block in only if block.lines or block.aside], notes=()))
    rows = [*_rows(view)]
    more = [f"… and {len(rows) - LINES:,} more"] if len(rows) > LINES else []
    head = [cut(_harmless(alarm), LENGTH) for alarm in view.alarms[:3]]
    return "\n".join([*head, *rows[:LINES], *more, "", f"{_read(shown)}. {_summary(shown)}".rstrip()]) + "\n"


def _rows(view: View) -> Iterator[str]:
    for line in view.causes:
        yield _row("", line)
    for block in view.blocks:
        yield from (_row(_where(block), line) for line in (*block.aside, *block.lines))


def _where(block: Block) -> str:
    return f"{block.customer}: " + ("" if block.heading == block.section else f"{as_issues.where(block.heading)}: ")


def _row(where: str, line: Line) -> str:
    to_do = f" → {line.remedy}" if line.remedy else ""
    return _harmless(cut(f"• {where}{line.label} {line.name} {line.detail}{to_do}".replace("  ", " "), LENGTH))


def _read(shown: View) -> str:
    scopes = shown.document.get("scopes")
    unread = {str(each["customer"]) for each in (scopes if isinstance(scopes, list) else ()) if each["error"]}
    all_ = len(_customers(shown))
    part = f" ({len(unread):,} not wholly)" if unread else ""
    return f"{count(all_, 'customer')} read{part}"


def _summary(shown: View) -> str:
    return _harmless(shown.summary)


def _harmless(text: str) -> str:
    """Chat services make mentions and links of these, and a live value may hold them."""
    return re.sub(r"@(?=(?:everyone|here|channel|all)\b)|<", lambda found: found[0] + "\u2060", visible(text))
