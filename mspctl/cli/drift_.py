"""`mspctl drift`: what was changed outside."""

from __future__ import annotations

import click

from mspctl.cli import console, options
from mspctl.exits import Exit


@click.command("drift", help="Show what was changed outside.\n\nPATH is dns/ZONE or 'dns/ZONE/www A'.")
@options.selection
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(
    directory: str | None,
    customers: tuple[str, ...],
    sections: tuple[str, ...],
    targets: tuple[str, ...],
    paths: tuple[str, ...],
    form: str,
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.report import render, view

    work = Workspace(directory, Selection(customers, sections, targets, paths))
    plan = work.plan()
    console.say(render(view.of_drift(plan), form), end="")
    return plan.exit_code
