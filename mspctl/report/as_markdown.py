"""For a pull request: what takes away on top, long lists folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mspctl.report.view import Line, Tone, View

SIGNS = {
    Tone.ADD: "+",
    Tone.CHANGE: "!",
    Tone.TAKE: "-",
    Tone.BAD: "-",
    Tone.DONE: "+",
    Tone.OUTSIDE: "#",
    Tone.QUIET: "#",
}
FOLD = 20  # lines of one scope; more are folded


def render(view: View) -> str:
    return "\n".join(_lines(view)) + "\n"


def _lines(view: View) -> Iterator[str]:
    yield f"## {view.title.capitalize()}: {view.summary}"
    yield ""
    yield _escaped(" · ".join(view.facts))
    for block in view.blocks:
        yield ""
        yield f"### {_escaped(block.customer)}: {_escaped(block.heading)}"
        if block.source:
            yield f"`{block.source}`"
        yield from _fenced(block.lines)
        if block.aside:
            yield ""
            yield "**Not in this merge**"
            yield from _fenced(block.aside)
        if block.commands:
            yield ""
            yield "End it: " + " or ".join(f"`{command}`" for command in block.commands)
    for note in view.notes:
        yield ""
        yield f"**{note.label}** {_escaped(f'{note.name} {note.detail}'.strip())}"


def _fenced(lines: Sequence[Line]) -> Iterator[str]:
    if not lines:
        return
    folded = len(lines) > FOLD
    yield ""
    if folded:
        yield f"<details><summary>{len(lines)} lines</summary>"
        yield ""
    # A fence longer than any run of backticks within: a TXT record may hold some.
    fence = "`" * max(3, max(_longest_run(f"{line.name}{line.detail}") for line in lines) + 1)
    yield f"{fence}diff"
    for line in lines:
        yield f"{SIGNS[line.tone]} {line.label} {line.name} {line.detail}".rstrip()
    yield fence
    if folded:
        yield ""
        yield "</details>"


def _longest_run(text: str) -> int:
    longest = run = 0
    for c in text:
        run = run + 1 if c == "`" else 0
        longest = max(longest, run)
    return longest


def _escaped(text: str) -> str:
    for c in "\\`*_<>[]|@#":
        text = (
            text.replace(c, f"\\{c}")
            if c not in "<>@"
            else text.replace(c, {"<": "&lt;", ">": "&gt;", "@": "&#64;"}[c])
        )
    return text
