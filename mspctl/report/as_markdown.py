"""
For a comment on a pull request: what failed and what takes away on top, long lists folded, never too long to be posted.

Whatever does not come from us stands in code, where a forge makes no links, mentions, references or HTML of it, and a
character that could end a line is named instead. What does not fit is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mspctl.report import digest
from mspctl.report.digest import Place, visible
from mspctl.report.view import Block, Line, Tone, View

# As `diff` is coloured.
SIGNS = {
    Tone.ADD: "+",
    Tone.DONE: "+",
    Tone.CHANGE: "!",
    Tone.WARN: "!",
    Tone.OPENS: "!",
    Tone.TAKE: "-",
    Tone.BAD: "-",
    Tone.SEVERE: "-",
}
OTHER_SIGN = "#"
# GitHub takes 65,536 characters. Counted in bytes, which are never fewer; what is left is for the job around it.
LIMIT = 60_000
ENDING = 1_000  # of these, kept for what is said of lines that do not fit
VALUE, NAME, BRIEF = 1_000, 300, 200  # characters of one text; the last on top
NAME_WIDTH = 40
ALARMS = 5
ENDED = ("", "</details>")
NAMED = re.compile(r"[a-z0-9-]+")  # as customers are
WHOLE = {
    "plan": "`mspctl plan` shows everything, `mspctl plan --output html` as a page.",
    "drift": "`mspctl drift` shows everything, `mspctl drift --output html` as a page.",
    "apply": "`mspctl ledger log` tells what landed, `mspctl plan` what is still to do.",
}


def render(view: View) -> str:
    return page_of(view, LIMIT)


def page_of(
    view: View, limit: int, overview: Sequence[str] = (), ending: Sequence[str] = (), *, fold: bool = False
) -> str:
    """
    The report in at most `limit` bytes. `overview` comes before the customers and `ending` at the end, whole; with
    `fold` what is said of each customer is folded.
    """
    view = digest.grouped(view)
    page = Page(limit - ENDING - _size(overview) - _size(ending))
    page.add(_head(view))
    for heading, _, places in digest.on_top(view):
        page.add(_on_top(heading, places))
        page.shown.update(id(place.line) for place in places[: digest.FOLD] if _is_whole(place))
    page.lines += overview
    _list([Place(None, line) for line in view.causes if id(line) not in page.shown], page)
    for customer, blocks in digest.by_customer(view).items():
        _customer(customer, blocks, view, page, fold=fold)
    _list([Place(None, line) for line in view.notes if id(line) not in page.shown], page)
    return "\n".join([*page.lines, *_not_shown(view, page), *ending]) + "\n"


def _customer(customer: str, blocks: Sequence[Block], view: View, page: Page, *, fold: bool) -> None:
    if page.full:
        return
    name = code(digest.cut(customer, BRIEF))
    if fold:
        # HTML, and so not Markdown: between these tags stand only names that nothing is made of.
        plain = customer if NAMED.fullmatch(customer) else "…"
        page.add(["", f"<details><summary>{plain}</summary>", *([] if plain == customer else ["", name])])
    else:
        page.add(["", f"### {name}"])
    if covered := digest.coverage(view, customer):
        page.add(["", covered])
    opened = not page.full
    page.room -= _size(ENDED)
    for block in blocks:
        _block(block, view.kind, page)
    if fold and opened:
        page.lines += ENDED


@dataclass(slots=True)
class Page:
    """Lines as long as there is room. Once something did not fit, nothing is added any more."""

    room: int
    lines: list[str] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)  # ids of the view's lines that stand here whole
    full: bool = False

    def add(self, lines: Iterable[str]) -> None:
        added = list(lines)
        size = _size(added)
        self.full = self.full or size > self.room
        if not self.full:
            self.room -= size
            self.lines += added


def _size(lines: Iterable[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _head(view: View) -> Iterator[str]:
    for alarm in view.alarms[:ALARMS]:
        yield from (f"**{inline(digest.cut(alarm, VALUE))}**", "")
    if len(view.alarms) > ALARMS:
        yield from (f"… and {len(view.alarms) - ALARMS:,} more", "")
    first, more = digest.headline(view.summary)
    yield f"## {inline(view.title.capitalize())}: {_sentence(first)}"
    yield from (("", _sentence(more)) if more else ())
    yield from ("", " · ".join(inline(digest.cut(fact, BRIEF)) for fact in view.facts[:20]))


def _sentence(text: str) -> str:
    said, command = digest.and_command(digest.cut(text, VALUE))
    return f"{inline(said)} {code(command)}".strip()


def _on_top(title: str, places: Sequence[Place]) -> Iterator[str]:
    """The first lines of one tone from the whole view, each with its scope."""
    yield from ("", f"**{title}**")
    rows = [(*_row(p)[:3], _brief(p)) for p in places[: digest.FOLD]]
    yield from _fence(_table(rows))
    if len(places) > len(rows):
        yield from ("", f"… and {len(places) - len(rows):,} more")


def _brief(place: Place) -> str:
    where = f"  ({place.block.customer}: {place.block.heading})" if place.block else ""
    return digest.cut(place.line.detail, BRIEF) + digest.cut(where, BRIEF)


def _is_whole(place: Place) -> bool:
    return not place.line.remedy and digest.cut(place.line.detail, BRIEF) == place.line.detail


def _block(block: Block, kind: str, page: Page) -> None:
    page.add(["", f"#### {code(digest.cut(block.heading, BRIEF))}"])
    if block.source:
        page.add([code(digest.cut(block.source, BRIEF))])
    for part in (_aside, _own) if kind == "drift" else (_own, _aside):
        part(block, kind, page)


def _own(block: Block, kind: str, page: Page) -> None:
    if block.lines and block.aside and kind in digest.OWN:
        page.add(["", f"**{digest.OWN[kind]}**"])
    _list([Place(block, line) for line in block.lines], page)


def _aside(block: Block, kind: str, page: Page) -> None:
    if block.aside:
        page.add(["", f"**{digest.ASIDE.get(kind, digest.ASIDE_ELSE)}**"])
        _list([Place(block, line) for line in block.aside], page)
    answered = [line for line in block.aside if line.answers]
    if kind == "drift" and 1 < len(answered) <= digest.FOLD:
        page.add(["", *(f"- {code(digest.cut(it.name, NAME))}: {_answers(it)}" for it in answered if _answers(it))])
    commands = [command for command in block.commands if len(command) <= VALUE]  # half a command is none
    if commands:
        page.add(["", "End it: " + " or ".join(map(code, commands))])


def _answers(line: Line) -> str:
    return " or ".join(code(each) for each in line.answers if len(each) <= VALUE)


def _list(places: Sequence[Place], page: Page) -> None:
    """The first lines in a fence; what is known, and the rest of a long list, in a folded one, if there is room."""
    fresh = [place for place in places if not place.line.known]
    places = [*fresh, *(place for place in places if place.line.known)]
    rows = _table([_row(place) for place in places]) if places and not page.full else []
    count = len(digest.folded(fresh)[0])
    first, rest = rows[:count], rows[count:]
    _part(first, places, page)
    _part(rest, places[len(first) :], page, "more" if first else "lines")


def _part(rows: Sequence[str], places: Sequence[Place], page: Page, folded: str = "") -> None:
    """With a word for `folded`, they are."""
    if not rows or page.full:
        return
    around = _size(_folded(_fence(rows), len(rows), folded)) - _size(rows)
    fitting = _fitting(rows, page.room - around)
    if fitting:
        fence = _fence(rows[:fitting])
        page.add(_folded(fence, fitting, folded) if folded else fence)
        page.shown.update(id(place.line) for place in places[:fitting])
    page.full = page.full or fitting < len(rows)


def _fitting(rows: Sequence[str], room: int) -> int:
    """How many rows there is room for."""
    for count, row in enumerate(rows):
        room -= len(row.encode()) + 1
        if room < 0:
            return count
    return len(rows)


def _folded(fence: Iterable[str], count: int, word: str) -> list[str]:
    word = "line" if (count, word) == (1, "lines") else word
    return ["", f"<details><summary>{count:,} {word}</summary>", *fence, "", "</details>"]


def _fence(rows: Sequence[str]) -> list[str]:
    # Longer than any run of backticks within.
    ticks = "`" * max(3, max(map(_longest_run, rows), default=0) + 1)
    return ["", f"{ticks}diff", *rows, ticks]


def _row(place: Place) -> tuple[str, str, str, str]:
    line = place.line
    source = digest.short_source(line, place.block)
    detail = digest.cut(f"{line.detail}; to do: {line.remedy}" if line.remedy else line.detail, VALUE)
    detail += f"  {digest.cut(source, BRIEF)}" if source else ""
    return _sign(line), digest.cut(line.label, BRIEF), digest.cut(line.name, NAME), detail


def _sign(line: Line) -> str:
    return SIGNS.get(line.tone, OTHER_SIGN)


def _table(rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
    label_width = max((len(label) for _, label, _, _ in rows), default=0)
    name_width = min(max((len(name) for _, _, name, _ in rows), default=0), NAME_WIDTH)
    return [
        visible(f"{sign} {label:<{label_width}}  {name:<{name_width}}  {detail}".rstrip())
        for sign, label, name, detail in rows
    ]


def _not_shown(view: View, page: Page) -> list[str]:
    left = [place.line for place in digest.places(view) if id(place.line) not in page.shown]
    if not left:
        return []
    counts = ", ".join(map(str, digest.counts(left)))
    lines = "1 line is" if len(left) == 1 else f"{len(left):,} lines are"
    said = f"**{lines} not shown here**, because a comment cannot be longer: {inline(digest.cut(counts, VALUE // 2))}."
    return ["", f"{said} {WHOLE.get(view.kind, '')}".rstrip()]


# -- text from outside ----------------------------------------------------------------------------------------

_PLAIN = re.compile(r"\(?(?:[^\W_]+|[a-z]+(?:-[a-z]+)+|\d[\d,.:]*\d|[·→–])[.,;:!?]?\)?[.,;:!?]?")
_COMMIT = re.compile(r"[0-9a-f]{7,40}\W?")


def inline(text: str) -> str:
    """A sentence: words that can be nothing else as they are, all others as code."""
    parts: list[str] = []
    odd: list[str] = []
    for word in visible(text).split():
        if _PLAIN.fullmatch(word) and not _COMMIT.fullmatch(word):
            parts += [code(" ".join(odd)), word] if odd else [word]
            odd = []
        else:
            odd.append(word)
    return " ".join([*parts, code(" ".join(odd))] if odd else parts)


def code(text: str) -> str:
    """A code span, whatever `text` holds."""
    text = visible(text)
    ticks = "`" * (_longest_run(text) + 1)
    pad = " " if text.strip() and (text[0] in "` " or text[-1] in "` ") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else ""


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
