"""For a terminal. Colours are always written; whoever prints leaves them out where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from click import style

from mspctl.report.digest import coverage, grouped, short_source, visible
from mspctl.report.view import Block, Line, Tone, View

SIGNS = {
    Tone.ADD: "+",
    Tone.CHANGE: "~",
    Tone.OPENS: "!",
    Tone.TAKE: "-",
    Tone.OUTSIDE: "!",
    Tone.QUIET: " ",
    Tone.BAD: "✗",
    Tone.DONE: "✓",
    Tone.SEVERE: "!",
    Tone.WARN: "!",
}
COLOURS = {
    Tone.ADD: "green",
    Tone.CHANGE: "yellow",
    Tone.OPENS: "magenta",
    Tone.TAKE: "red",
    Tone.OUTSIDE: "magenta",
    Tone.BAD: "red",
    Tone.DONE: "green",
    Tone.SEVERE: "red",
    Tone.WARN: "yellow",
}


def render(view: View) -> str:
    return "\n".join(_lines(grouped(view))) + "\n"


def _lines(view: View) -> Iterator[str]:
    for alarm in view.alarms:
        yield style(f"! {visible(alarm)}", fg="red", bold=True)
    yield f"{style(view.title, bold=True)} {' · '.join(view.facts)}"
    if view.causes:
        yield ""
        yield style("Several customers at once", bold=True, underline=True)
        yield from _table(view.causes, "  ")
    customer = ""
    for block in view.blocks:
        yield ""
        if block.customer != customer:
            customer = block.customer
            covered = coverage(view, customer)
            yield style(customer, bold=True, underline=True) + (style(f"  {covered}", dim=True) if covered else "")
        yield from _block(block, view.kind)
    if view.notes:
        yield ""
        yield from _table(view.notes, " ")
    yield ""
    yield style(view.summary, bold=True)


def _block(block: Block, kind: str) -> Iterator[str]:
    source = f"  {style(block.source, dim=True)}" if block.source else ""
    yield f" {style(block.heading, bold=True)}{source}"
    yield from _table(block.lines, "  ", block)
    if block.aside:
        if kind != "drift":
            yield style("   NOT IN THIS MERGE", dim=True)
        yield from _table(block.aside, "  ", block)
    answered = [line for line in block.aside if line.answers]
    if kind == "drift" and len(answered) > 1:
        for line in answered:
            yield f"     {style(f'end {visible(line.name)}:', dim=True)} {' | '.join(map(visible, line.answers))}"
    if block.commands:
        yield f"     {style('end it:', dim=True)} {' | '.join(block.commands)}"


def _table(lines: Sequence[Line], indent: str, block: Block | None = None) -> Iterator[str]:
    label_width = max((len(line.label) for line in lines), default=0)
    name_width = min(max((len(line.name) for line in lines), default=0), 40)
    for line in lines:
        sign = f"{SIGNS[line.tone]} {line.label:<{label_width}}"
        place = f"  {style(short_source(line, block), dim=True)}" if line.source else ""
        yield f"{indent}{_tinted(line.tone, sign)}  {line.name:<{name_width}}  {line.detail}{place}".rstrip()
        if line.remedy:
            yield f"{indent}{'':<{label_width + 4}}{style('→ ' + line.remedy, dim=True)}"


def _tinted(tone: Tone, text: str) -> str:
    return style(text, fg=COLOURS.get(tone), dim=tone is Tone.QUIET)
