"""`mspctl show`: one customer, declared and recorded."""

from __future__ import annotations

from contextlib import suppress

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

HELP = """Show a customer: what is declared, and with --history what was applied.

Without CUSTOMER, a line for each."""


@click.command("show", help=HELP)
@click.argument("customer", required=False)
@click.option("--history", is_flag=True, help="What was applied, newest first, from the ledger.")
@click.option("-n", "--limit", default=20, show_default=True, help="Entries of the history.")
@options.output("text", "json")
@click.pass_obj
def command(directory: str | None, customer: str | None, history: bool, limit: int, form: str) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.errors import LedgerError
    from mspctl.report import history as report
    from mspctl.report.customer import as_json, lines, overview

    work = Workspace(directory, Selection([customer] if customer else []))
    declared = work.declare({})
    if history:
        mine = [scope for scope in work.recorded if not customer or scope.customer == customer]
        shown = list(report.lines(work.ledger.history(mine, limit)))
    elif form == "json":
        shown = [as_json(work.estate, declared)]
    elif customer:
        outputs = {}
        with suppress(LedgerError):  # before the first apply there is none
            outputs = work.outputs()
        shown = list(lines(work.estate.customers[customer], declared, outputs))
    else:
        shown = list(overview(work.estate, declared))
    for line in shown:
        console.say(line)
    return Exit.DONE
