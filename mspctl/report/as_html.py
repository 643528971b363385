"""
One self-contained page: in light and dark, on a phone and on paper, without JavaScript and without anything loaded.

The page's own policy forbids scripts and requests, so that a value that should slip through the escapes stays text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from mspctl.report import digest, italian, matrix
from mspctl.report.digest import Count, Place, visible
from mspctl.report.view import Block, Line, Tone, View

SIGNS = {
    Tone.ADD: "+",
    Tone.CHANGE: "~",
    Tone.OPENS: "!",
    Tone.TAKE: "–",
    Tone.OUTSIDE: "!",
    Tone.QUIET: "·",
    Tone.BAD: "✗",
    Tone.DONE: "✓",
    Tone.SEVERE: "!",
    Tone.WARN: "!",
}
ARROW = " → "
BRIEF = 160  # characters of a value on top; below it stands whole
LONG = 90  # characters; what was and what is then stand below each other


def render(view: View) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mspctl"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    # Line ends stay: the page keeps a text that has some within its own place.
    environment.filters["visible"] = lambda text: visible(str(text), keep="\n")
    environment.filters["brief"] = _brief
    language = _language(view)
    italian_ = language == "it"
    environment.filters["said"] = italian.sentence if italian_ else str
    environment.globals |= {"t": italian.word if italian_ else str, "language": language}
    environment.globals |= {
        "sign": _sign,
        "source": _source,
        "steps": _steps,
        "answers": _answers,
        "fold": digest.folded,
        "fold_lines": digest.folded_lines,
    }
    return environment.get_template("report.html").render(_page(view)) + "\n"


def _page(view: View) -> dict[str, Any]:
    view = digest.grouped(view)
    first, more = digest.headline(view.summary)
    said, command = digest.and_command(more)
    blocks = digest.by_customer(view)
    table = matrix.rows(view) if "customers" in view.document else []
    names = [*dict.fromkeys([*(row.customer for row in table), *blocks])]
    proofs = matrix.proofs(view) if table else {}
    customers = [_customer(n, name, blocks.get(name, ()), view, proofs.get(name, ())) for n, name in enumerate(names)]
    top = [*digest.on_top(view)]
    above = {id(place.line) for _, _, places in top for place in places}
    return {
        "kind": view.kind,
        "title": view.title.capitalize(),
        "facts": view.facts,
        "alarms": view.alarms,
        "first": first,
        "more": said,
        "command": command,
        "counts": _counts([place.line for place in digest.places(view)]),
        "top": top,
        "customers": customers,
        "rows": table,
        "clean": {row.customer for row in table if not any(row.cells.values())},
        "sections": matrix.sections(table),
        "states": matrix.STATES,
        "anchors": {customer["name"]: customer["anchor"] for customer in customers},
        "own": digest.OWN.get(view.kind, ""),
        "aside": digest.ASIDE.get(view.kind, digest.ASIDE_ELSE),
        "notes": [line for line in (*view.causes, *view.notes) if id(line) not in above],
        "seal": [*_seal(view)],
    }


def _seal(view: View) -> Iterator[str]:
    """When it was read; of a plan, which one it is: `apply --digest` carries out that one."""
    with suppress(ValueError):  # a report that was kept can say anything
        yield f"{datetime.fromisoformat(str(view.document.get('read_at'))).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    if view.kind == "plan" and view.document.get("digest"):
        yield str(view.document["digest"])


def _customer(number: int, name: str, blocks: Sequence[Block], view: View, proofs: Sequence[Any]) -> dict[str, Any]:
    lines = [line for block in blocks for line in (*block.lines, *block.aside)]
    # A name that comes from elsewhere could be anything; most are fit to be an anchor.
    anchor = f"c-{name}" if name.replace("-", "").isalnum() and name.isascii() else f"c-{number}"
    said = {"name": name, "anchor": anchor, "blocks": blocks, "counts": _counts(lines)}
    return {**said, "covered": digest.coverage(view, name), "proofs": proofs}


def _language(view: View) -> str:
    """A page about one customer is in that customer's language."""
    found = view.document.get("customers")
    languages = [str(each["language"]) for each in found] if isinstance(found, list) else []
    return languages[0] if len(languages) == 1 else "en"


def _counts(lines: Sequence[Line]) -> list[Count]:
    """A quiet line without a name is a remark, not a change."""
    return digest.counts(line for line in lines if line.name or line.tone is not Tone.QUIET)


def _sign(tone: Tone) -> str:
    return SIGNS.get(tone, "·")


def _brief(place: Place) -> str:
    """A detail that stands at its scope too need not be whole on top."""
    return digest.cut(place.line.detail, BRIEF) if place.block else place.line.detail


def _source(line: Line, block: Block | None) -> str:
    short = digest.short_source(line, block)
    return f"line {short[1:]}" if short.startswith(":") else short


def _answers(line: Line, block: Block | None) -> Sequence[str]:
    """Those of a line; none where the same stand below its scope."""
    return () if block and [*block.commands] == [*line.answers] else line.answers


def _steps(detail: str) -> tuple[list[str], bool]:
    """What was and what is, apart, and whether they are too long to stand in one line."""
    return detail.split(ARROW), len(detail) > LONG
