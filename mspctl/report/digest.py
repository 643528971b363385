"""What the long reports put first, how they count, and how text from outside is shown so that nothing in it can act."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from mspctl.report.view import FINDINGS, UNAPPROVED, Block, Line, Tone, View

T = TypeVar("T")

AGAIN = "run again: "  # how a summary says the command that finishes an apply
HEADLINE = 60  # characters
SLACK = 40  # characters; cutting off fewer saves nothing
NAMES = 8  # customers that one cause names
FOLD = 20  # lines of one list; of a longer one the first half of that is shown and the rest folded

# What stands beside a scope's own changes, in the words of each report.
ASIDE = {"drift": "Changed outside"}
ASIDE_ELSE = "Not in this merge"
OWN = {"drift": "Not applied yet"}  # the heading of a scope's lines, where they need one


_GRAVITY = (
    Tone.BAD,
    Tone.SEVERE,
    Tone.OPENS,
    Tone.TAKE,
    Tone.CHANGE,
    Tone.ADD,
    Tone.DONE,
    Tone.WARN,
    Tone.OUTSIDE,
    Tone.QUIET,
)


class Place(NamedTuple):
    """A line and the scope it is about; None for a note about the whole."""

    block: Block | None
    line: Line


class Count(NamedTuple):
    tone: Tone
    label: str
    number: int

    def __str__(self) -> str:
        return f"{self.label} {self.number:,}"


def grouped(view: View) -> View:
    """
    A report of drift in which one cause is one line: a target that answers nobody, a finding that several customers
    have in the same words. Their own lines are left out.
    """
    if view.kind != "drift":
        return view
    found: dict[tuple[str, ...], list[Place]] = {}
    for place in places(view):
        if place.block and (cause := _cause(place.block, place.line)):
            found.setdefault(cause, []).append(place)
    shared = {cause: same for cause, same in found.items() if len({p.block.customer for p in same if p.block}) > 1}
    gone = {id(place.line) for same in shared.values() for place in same}
    blocks = [replace(b, lines=[line for line in b.lines if id(line) not in gone]) for b in view.blocks]
    blocks = [b for b in blocks if b.lines or b.aside]
    return replace(view, blocks=blocks, causes=sorted(map(_together, shared.values()), key=_first_new))


def _cause(block: Block, line: Line) -> tuple[str, ...]:
    """By which the same trouble is known at several customers; () for what is nobody else's."""
    if block.section == FINDINGS and line.tone in (Tone.SEVERE, Tone.WARN):
        return FINDINGS, line.label, line.detail, line.remedy
    if line.tone is Tone.BAD and block.target:
        return block.target, line.label, line.detail
    return ()


def _together(same: Sequence[Place]) -> Line:
    """One line for all; the customers are named, the first of them."""
    names = [*dict.fromkeys(place.block.customer for place in same if place.block)]
    shown = ", ".join(names[:NAMES]) + (f" and {len(names) - NAMES:,} more" if len(names) > NAMES else "")
    first = same[0]
    target = first.block.target if first.block else ""
    said = f"{first.line.detail}; {len(names):,} customers ({len(same):,} lines): {shown}"
    answers = [] if first.block and first.block.section != FINDINGS else [a for p in same for a in p.line.answers]
    return replace(
        first.line,
        name=target,
        detail=said,
        source="",
        answers=tuple(answers[:NAMES]),
        new=any(place.line.new for place in same),
        known=all(place.line.known for place in same),
    )


def _first_new(line: Line) -> tuple[bool, int, str]:
    return not line.new, _GRAVITY.index(line.tone), line.detail


def coverage(view: View, customer: str) -> str:
    """How much of a customer is declared, is there besides, and is not known; "" where nobody counted."""
    said = view.document.get("coverage")
    for each in said if isinstance(said, list) else ():
        if each["customer"] == customer:
            return " · ".join(f"{each[name]:,} {name}" for name in ("declared", "unmanaged", "unknown"))
    return ""


def by_customer(view: View) -> dict[str, list[Block]]:
    """Blocks of each customer, customers in the order in which they first appear."""
    found: dict[str, list[Block]] = {}
    for block in view.blocks:
        found.setdefault(block.customer, []).append(block)
    return found


def places(view: View) -> Iterator[Place]:
    """Every line of a view."""
    yield from (Place(None, line) for line in view.causes)
    for block in view.blocks:
        yield from (Place(block, line) for line in (*block.lines, *block.aside))
    yield from (Place(None, line) for line in view.notes)


def on_top(view: View) -> Iterator[tuple[str, Tone, list[Place]]]:
    """What shall not be overlooked: a heading and its lines, which stand at their scopes too."""
    gravest = ("Changed outside", Tone.OUTSIDE) if view.kind == "drift" else ("Takes away", Tone.TAKE)
    heeded = () if view.kind == "drift" else ((UNAPPROVED, Tone.OUTSIDE),)
    first = (("Errors", Tone.BAD), ("Severe", Tone.SEVERE), ("Opens", Tone.OPENS), *heeded, gravest)
    for heading, tone in first:
        if found := _on_top(view, heading, tone):
            yield heading, tone, found


def _on_top(view: View, heading: str, tone: Tone) -> list[Place]:
    """Lines of one tone or heading; those of the only scope, worst first there, are in sight anyway."""
    heeded = heading == UNAPPROVED
    found = [p for p in places(view) if (p.line.heed == heading if heeded else p.line.tone is tone)]
    return found if len(view.blocks) > 1 or any(place.block is None for place in found) else []


def counts(lines: Iterable[Line]) -> list[Count]:
    """How many lines of each label, the gravest first."""
    found = Counter((line.tone, line.label) for line in lines)
    graver = sorted(found, key=lambda key: (_GRAVITY.index(key[0]), key[1]))
    return [Count(tone, label, found[tone, label]) for tone, label in graver]


def headline(text: str) -> tuple[str, str]:
    """The first sentence, with those after it as far as they are short, and the others."""
    found = text.split(". ")
    count = 1
    while count < len(found) and len(". ".join(found[: count + 1])) <= HEADLINE and AGAIN not in found[count]:
        count += 1
    first, more = ". ".join(found[:count]), ". ".join(found[count:])
    return (f"{first}.", more) if more else (first, "")


def and_command(text: str) -> tuple[str, str]:
    """What is said, and the command at its end if there is one."""
    said, found, command = text.partition(AGAIN)
    return said + found.rstrip(), command


def folded_lines(lines: Sequence[Line]) -> tuple[Sequence[Line], Sequence[Line]]:
    """What of a list is shown, and what is folded: what somebody knows already, and the rest of what is long."""
    fresh = [line for line in lines if not line.known]
    shown, rest = folded(fresh)
    return shown, [*rest, *(line for line in lines if line.known)]


def folded(lines: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    """What of a list is shown, and what is folded."""
    if len(lines) <= FOLD:
        return lines, ()
    return lines[: FOLD // 2], lines[FOLD // 2 :]


def short_source(line: Line, block: Block | None) -> str:
    """`:12` where the scope's heading names the file already."""
    file, _, number = line.source.rpartition(":")
    return f":{number}" if file and block is not None and file == block.source else line.source


def visible(text: str, keep: str = "") -> str:
    """
    `text` with every character that shows nothing, moves the cursor or turns the direction named for what it is.

    Otherwise a live value could end its line, or be read as something else. `keep` may stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else f"[U+{ord(c):04X}]" for c in text)


def cut(text: str, length: int) -> str:
    """About `length` characters and a word on how many are missing, which has to be worth its room."""
    left = len(text) - length
    return text if left <= SLACK else f"{text[:length]}… ({left:,} more characters)"
