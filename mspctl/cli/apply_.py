"""`mspctl apply`: carry out what Git declares, and nothing else."""

from __future__ import annotations

import shlex
import sys

import click

from mspctl.cli import console, options
from mspctl.exits import Exit


@click.command("apply", help="Carry out what Git declares, and nothing else.\n\nPATH is dns/ZONE or 'dns/ZONE/www A'.")
@options.selection
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("--revert", is_flag=True, help="Also undo what was changed outside.")
@click.option("--reason", default="", metavar="TEXT", help="Pull request or ticket, for the ledger.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(
    directory: str | None,
    customers: tuple[str, ...],
    sections: tuple[str, ...],
    targets: tuple[str, ...],
    paths: tuple[str, ...],
    revert: bool,
    reason: str,
    yes: bool,
    form: str,
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.plan import PENDING, REVERT
    from mspctl.report import render, view

    causes = REVERT if revert else PENDING
    work = Workspace(directory, Selection(customers, sections, targets, paths))
    plan = work.plan(causes)
    if form == "text":
        console.say(render(view.of_plan(plan, work.estate.warnings), form))
    if plan.changes and not yes and sys.stdin.isatty():
        click.confirm("Apply?", abort=True)
    outcome = work.apply(plan.scopes, causes, reason, plan.digest)
    again = shlex.join(["mspctl", *sys.argv[1:]]) if len(sys.argv) > 1 else "mspctl apply"
    console.say(render(view.of_outcome(outcome, again), form), end="")
    return outcome.exit_code
