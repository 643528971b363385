"""
What happened to a customer's mail, what waits, and what can be released: as a table, and as documents for programs.

Much of it strangers wrote, so nothing reaches a terminal that it would act upon, and no text ends its line.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from click import style

from mspctl.kinds.mail_log import Entry, Junk, Kind, Verdict, Waiting
from mspctl.moments import timezone
from mspctl.report.digest import cut, visible

WIDE = 150  # columns from which on a row is one line
GAP = "  "
BETWEEN = " · "
TOGETHER = 24  # characters of a part that is not broken
SHOWN = 3  # recipients of a row; the others are counted
LONGEST = 60  # characters of an address or a subject
NOBODY = "(a mail server)"  # who sends notices
COLOURS = {Kind.ERROR: "red", Kind.SPAM: "yellow", Kind.AUTH: "magenta"}
SUMMED = {Kind.ERROR: "error", Kind.SPAM: "spam", Kind.AUTH: "failed log-in"}


@dataclass(frozen=True, slots=True)
class Heading:
    """Whose it is, where it was asked, and what time it is there."""

    customer: str
    zone: str  # in which times are told
    now: datetime
    targets: Sequence[str]
    since: datetime | None = None
    notes: Sequence[str] = ()  # what may be missing
    unread: Sequence[tuple[str, str]] = ()  # targets that told nothing, each with its error

    def nothing(self, text: str) -> str:
        """What is said where there is nothing to tell: that it is so is known only where all answered."""
        return "Nothing is known." if self.unread else text

    def clock(self, at: datetime) -> str:
        """A time as the customer's clock showed it."""
        local = at.astimezone(timezone(self.zone))
        return f"{local.day:>2} {local:%b %H:%M:%S}"

    def other(self, at: datetime, beside: datetime) -> str:
        """The same beside another time: without the day, where it is one day."""
        said, known = self.clock(at), self.clock(beside)
        return said[7:] if said[:7] == known[:7] else said.strip()

    def day(self, at: datetime) -> str:
        local = at.astimezone(timezone(self.zone))
        return f"{local:%a} {local.day} {local:%b %H:%M}"


# -- text -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    colour: str | None
    cells: tuple[str, ...]  # in columns
    last: str  # what may be long


def log(heading: Heading, entries: Sequence[Entry], width: int | None) -> Iterator[str]:
    """The latest last. `width` is the terminal's, None where there is none: then a row is a line, however long."""
    since = f"since {heading.day(heading.since)}" if heading.since else ""
    yield _title("MAIL LOG", heading, since)
    yield from _table([_entry_row(heading, entry) for entry in entries], width)
    yield from _end(heading, _summary(entries) or heading.nothing("Nothing happened."))


def queue(heading: Heading, waiting: Sequence[Waiting], width: int | None) -> Iterator[str]:
    yield _title("QUEUE", heading, f"read {heading.day(heading.now)}")
    yield from _table([_waiting_row(heading, message) for message in waiting], width)
    held = sum(message.held for message in waiting)
    release = f" Release: mspctl mail release {heading.customer} ID" if held else ""
    said = f"{_count(len(waiting), 'message')}, {held} in quarantine.{release}" if waiting else ""
    yield from _end(heading, said or heading.nothing("Nothing waits."))


def held(heading: Heading, waiting: Sequence[Waiting], junk: Sequence[Junk], width: int | None) -> Iterator[str]:
    """What can be released."""
    since = f"Junk since {heading.day(heading.since)}" if heading.since else ""
    yield _title("HELD", heading, since)
    rows = [_waiting_row(heading, message) for message in waiting] + [_junk_row(heading, each) for each in junk]
    yield from _table(rows, width)
    release = f"Release: mspctl mail release {heading.customer} ID"
    said = f"{len(waiting):,} in quarantine, {len(junk):,} in Junk. {release}" if rows else ""
    yield from _end(heading, said or heading.nothing("Nothing is held."))


def released(message: Waiting | Junk) -> str:
    """What is about to be let go, on one line."""
    if isinstance(message, Junk):
        return f"{message.id}  {_who(message.sender, [message.address])}  {_subject(message)}"
    return f"{message.id}  {_who(message.sender, [to for to, _ in message.recipients])}"


def _title(what: str, heading: Heading, *facts: str) -> str:
    told = " · ".join(fact for fact in (heading.customer, *facts, ", ".join(heading.targets)) if fact)
    return f"{style(what, bold=True)} {told} · times of {heading.zone}"


def _end(heading: Heading, summary: str) -> Iterator[str]:
    for note in heading.notes:
        yield style(f"! {visible(note)}", fg="yellow")
    for target, error in heading.unread:
        yield style(f"✗ {target} told nothing: {visible(error)}", fg="red")
    yield style(summary, bold=True)


def _summary(entries: Sequence[Entry]) -> str:
    counted = Counter[Kind]()
    for entry in entries:
        counted[entry.kind] += entry.count
    parts = [_count(counted[kind], word) for kind, word in SUMMED.items() if counted[kind]]
    parts += [f"{counted[Kind.MAIL]:,} as it should be"] if counted[Kind.MAIL] else []
    return f"{', '.join(parts)}." if parts else ""


def _count(number: int, word: str) -> str:
    plural = "" if number == 1 or word == "spam" else "s"
    return f"{number:,} {word}{plural}"


def _entry_row(heading: Heading, entry: Entry) -> _Row:
    who = _who(entry.sender, entry.recipients) if entry.kind is not Kind.AUTH else _several(entry.recipients)
    cells = (heading.clock(entry.last), entry.what, who)
    return _Row(COLOURS.get(entry.kind), cells, BETWEEN.join(_why(heading, entry)))


def _why(heading: Heading, entry: Entry) -> Iterator[str]:
    if entry.count > 1:
        since = heading.other(entry.first, entry.last)
        yield f"{entry.count:,} times" + (f" since {since}" if since != heading.other(entry.last, entry.last) else "")
    if entry.reason:
        yield visible(entry.reason)
    if entry.back:
        yield f"came again, delivered {heading.other(entry.back, entry.last)}"
    if entry.client and entry.kind is not Kind.MAIL:
        yield f"from {visible(entry.client)}"
    if entry.ids and entry.count == 1:
        yield visible(entry.ids[0])


def _waiting_row(heading: Heading, message: Waiting) -> _Row:
    reasons = [*dict.fromkeys(cut(visible(why), 400) for _, why in message.recipients if why)]
    others = [f"and {message.others} of somebody else"] if message.others else []
    who = _who(message.sender, [to for to, _ in message.recipients])
    cells = (heading.clock(message.since), "quarantine" if message.held else "waits", who)
    return _Row("yellow" if message.held else None, cells, BETWEEN.join([*others, *reasons, message.id]))


def _junk_row(heading: Heading, message: Junk) -> _Row:
    cells = (heading.clock(message.since), "junk", _who(message.sender, [message.address]))
    return _Row(None, cells, f"{_subject(message)} · {visible(message.id)}")


def _subject(message: Junk) -> str:
    return cut(visible(message.subject), LONGEST) or "(no subject)"


def _who(sender: str, recipients: Sequence[str]) -> str:
    return f"{_address(sender) if sender else NOBODY} → {_several(recipients)}"


def _several(recipients: Sequence[str]) -> str:
    shown = ", ".join(map(_address, recipients[:SHOWN])) or "–"
    more = len(recipients) - SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _address(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"


def _table(rows: Sequence[_Row], width: int | None) -> Iterator[str]:
    """In columns; on a narrow terminal the last cell is below the others, where it does not fit beside them."""
    most = [max((len(row.cells[n]) for row in rows), default=0) for n in range(3)]
    most[2] = min(most[2], LONGEST)
    beside, below = sum(most) + 3 * len(GAP), most[0] + len(GAP)
    for row in rows:
        when, what, who = row.cells
        head = GAP.join((style(when, dim=True), style(f"{what:<{most[1]}}", fg=row.colour), who))
        room = most[2] - len(who)
        if width is None or (room >= 0 and beside + len(row.last) <= width):
            yield f"{head}{' ' * room}{GAP}{row.last}".rstrip()
            continue
        if width < WIDE and most[0] + most[1] + len(who) + 3 * len(GAP) + len(row.last) <= width:
            yield f"{head}{GAP}{row.last}"
            continue
        column = beside if width >= WIDE else below
        first, *others = _wrapped(row.last, width - column)
        if column == beside and room >= 0:
            yield f"{head}{' ' * room}{GAP}{first}"
        else:
            yield head
            yield " " * column + first
        yield from (" " * column + line for line in others)


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of a text; short parts of it stay together."""
    parts = (part if len(part) > TOGETHER else part.replace(" ", "\xa0") for part in text.split(BETWEEN))
    lines = textwrap.wrap(BETWEEN.join(parts), max(width, TOGETHER), break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines] or [""]


# -- documents ------------------------------------------------------------------------------------------------------


def log_as_json(heading: Heading, entries: Iterable[Entry]) -> str:
    return _document("mspctl.mail-log/1", heading, entries=[_entry(entry) for entry in entries])


def queue_as_json(heading: Heading, waiting: Iterable[Waiting]) -> str:
    return _document("mspctl.mail-queue/1", heading, messages=[_waiting(message) for message in waiting])


def held_as_json(heading: Heading, waiting: Iterable[Waiting], junk: Iterable[Junk]) -> str:
    found = {"quarantine": [_waiting(message) for message in waiting], "junk": [_junk(each) for each in junk]}
    return _document("mspctl.mail-held/1", heading, **found)


def _document(form: str, heading: Heading, **more: object) -> str:
    document = {
        "format": form,
        "customer": heading.customer,
        "timezone": heading.zone,
        "since": _time(heading.since),
        "read": _time(heading.now),
        "targets": list(heading.targets),
        "unread": [{"target": target, "error": error} for target, error in heading.unread],
        "notes": list(heading.notes),
        **more,
    }
    return json.dumps(document, indent=2)  # in ASCII, so that no terminal acts upon it


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def _entry(entry: Entry) -> dict[str, object]:
    return {
        "kind": entry.kind.value,
        "what": entry.what,
        "first": _time(entry.first),
        "last": _time(entry.last),
        "count": entry.count,
        "sender": entry.sender,
        "recipients": list(entry.recipients),
        "client": entry.client,
        "reason": entry.reason,
        "said": entry.said,
        "ids": list(entry.ids),
        "spam": _verdict(entry.verdict) if entry.verdict else None,
        "delivered_later": _time(entry.back),
    }


def _verdict(verdict: Verdict) -> dict[str, object]:
    symbols = [{"name": name, "score": score} for name, score in verdict.symbols]
    return {"score": verdict.score, "limit": verdict.limit, "symbols": symbols}


def _waiting(message: Waiting) -> dict[str, object]:
    return {
        "id": message.id,
        "held": message.held,
        "since": _time(message.since),
        "size": message.size,
        "sender": message.sender,
        "recipients": [{"address": to, "reason": why} for to, why in message.recipients],
        "other_recipients": message.others,
    }


def _junk(message: Junk) -> dict[str, object]:
    return {
        "id": message.id,
        "since": _time(message.since),
        "size": message.size,
        "sender": message.sender,
        "subject": message.subject,
    }
