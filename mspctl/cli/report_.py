"""`mspctl report`: what drift runs saw last, of all customers, without asking anybody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.report.view import View

HELP = """Show what drift runs saw last, and ask no target anything.

REPORT is what drift --report kept; without one, what drift --record kept, with what is declared today. --html writes
one page that needs nothing else; of a single customer it is in the customer's language."""


@click.command("report", help=HELP)
@click.argument("files", metavar="[REPORT]...", nargs=-1)
@options.customers
@click.option("--of", "jobs", type=click.IntRange(1), metavar="NUMBER", help="How many jobs kept one.")
@click.option("--html", "page", metavar="FILE", help="Write a page: customers and sections, and everything of each.")
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(
    directory: str | None,
    files: tuple[str, ...],
    customers: tuple[str, ...],
    jobs: int | None,
    page: str | None,
    form: str,
) -> Exit:
    from pathlib import Path

    from mspctl.cli import forge
    from mspctl.report import kept, render
    from mspctl.secrets import redact

    if files and customers:
        raise click.UsageError("a kept report is of its own customers (leave out --customer or REPORT)")
    shown = forge.of_jobs(files, jobs)[0] if files else _as_seen(directory, customers)
    if shown.kind != "drift":
        raise click.UsageError("only what drift --report kept makes such a report")
    if page is None:
        console.say(render(shown, form), end="")
        return Exit.DONE
    kept.write(Path(page), redact(render(shown, "html")))
    console.say(f"{page}: {shown.summary}")
    return Exit.DONE


def _as_seen(directory: str | None, customers: tuple[str, ...]) -> View:
    from mspctl.cli.drift_ import beside, said_of
    from mspctl.cli.observing import Remembering
    from mspctl.desired import Selection
    from mspctl.report import drifts

    work = Remembering(directory, Selection(customers), full=False)
    plan = work.plan()
    shown = drifts.of_drift(plan, work.remembered(), beside(work, plan))
    shown.document.update(said_of(work))
    return shown
