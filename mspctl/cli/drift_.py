"""`mspctl drift`: what was changed outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.desired import Selection


@click.command("drift", help="Show what was changed outside.\n\nPATH is dns/ZONE or 'dns/ZONE/www A'.")
@options.selection
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(
    directory: str | None,
    selected: Selection,
    form: str,
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.report import render, view

    work = Workspace(directory, selected)
    plan = work.plan()
    console.say(render(view.of_drift(plan), form), end="")
    return plan.exit_code
