"""What a person sees: plain lines in a pipe, colours and progress on a terminal, annotations in CI. Always redacted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import click

from mspctl.amounts import count
from mspctl.errors import Problem
from mspctl.secrets import Secret, redact


def colour(stream: object = None) -> bool:
    """Whether to write colours: on a terminal, unless NO_COLOR says otherwise."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    isatty = getattr(stream or sys.stdout, "isatty", lambda: False)
    return bool(isatty())


def say(text: str, *, end: str = "\n") -> None:
    click.echo(redact(text) + end, nl=False, color=colour())


def hint(text: str) -> None:
    """Beside the result: to stderr, so that a pipe gets the result alone."""
    click.echo(redact(text), err=True, color=colour(sys.stderr))


def alarm(text: str) -> None:
    """What nobody may overlook though the command goes on."""
    for line in text.splitlines():
        hint(f"{click.style('EMERGENCY', fg='red', bold=True)} {line}")


def error(text: str) -> None:
    for line in text.splitlines():
        hint(f"{click.style('error:', fg='red', bold=True)} {line}")


def reveal(secret: Secret) -> None:
    """The secret itself, alone on its line: the one thing that is printed as it is."""
    click.echo(secret.reveal_text())
    sys.stdout.flush()  # what was not written must not be taken for read


def shown_once(text: str, secret: Secret, question: str) -> bool:
    """
    A secret on a screen of its own, which leaves nothing in the scrollback, until the question is answered.

    Whether the answer is yes; no answer is an Abort.
    """
    own = os.environ.get("TERM", "dumb") != "dumb"
    click.echo("\x1b[?1049h\x1b[H" if own else "", nl=False, color=True)
    try:
        click.echo(f"\n  {text}\n\n      {secret.reveal_text()}\n")
        return click.confirm(f"  {question}", default=False)
    finally:
        click.echo("\x1b[?1049l" if own else "", nl=False, color=True)


def problems(found: Iterable[Problem]) -> None:
    """Each on its line; in a GitHub job they are annotations as well."""
    shown = list(found)
    for problem in shown:
        tint = "red" if problem.level == "error" else "yellow"
        hint(_coloured(problem, tint))
        if os.environ.get("GITHUB_ACTIONS") == "true":
            say(_annotation(problem))
    errors = sum(p.level == "error" for p in shown)
    warnings = len(shown) - errors
    hint(f"{count(errors, 'error')}, {count(warnings, 'warning')}")


def _coloured(problem: Problem, tint: str) -> str:
    text = str(problem)
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    return click.style(place, bold=True) + click.style(text[len(place) :], fg=tint) if place else text


def _annotation(problem: Problem) -> str:
    from mspctl.report.annotations import annotation

    text = f"{problem.path}: {problem.text}" if problem.path else problem.text
    return annotation(problem.level, problem.file, problem.line, f"col={problem.column}", text)


@contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal for work that takes long enough to wonder; nothing anywhere else."""
    if total < 20 or not sys.stderr.isatty() or not colour(sys.stderr):
        yield lambda done: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True, width=30) as bar:
        yield bar.update
