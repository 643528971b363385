"""`mspctl show`: one customer, declared and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.cli.workspace import Workspace
    from mspctl.proof import Key, Proof, Trial

HELP = """Show a customer: what is declared, and with --history what was applied.

Without CUSTOMER, a line for each."""


@click.command("show", help=HELP)
@click.argument("customer", required=False)
@click.option("--history", is_flag=True, help="What was applied, newest first, from the ledger.")
@options.how_far
@options.output("text", "json")
@click.pass_obj
def command(
    directory: str | None,
    customer: str | None,
    history: bool,
    limit: int | None,
    since: datetime | None,
    form: str,
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.errors import LedgerError
    from mspctl.report import history as report
    from mspctl.report import proofs
    from mspctl.report.customer import as_json, lines, overview

    work = Workspace(directory, Selection([customer] if customer else []))
    if history:
        entries = work.ledger.history(work.ever() if customer else None, limit, since)
        updates = work.ledger.updates(customer, since)[:limit]
        if form == "json":
            shown = [report.as_json(entries, updates)]
        else:
            shown = list(report.lines(entries, customer or "", updates, limit))
    elif form == "json":
        shown = [as_json(work.estate, work.declare({}), proofs.documents(*proved(work)))]
    elif customer:
        outputs = {}
        with suppress(LedgerError):  # before the first apply there is none
            outputs = work.outputs()
        shown = [
            *lines(work.estate.customers[customer], work.declare({}), outputs),
            *proofs.lines(*proved(work), work.now),
        ]
    else:
        shown = list(overview(work.estate, work.declare({})))
    for line in shown:
        console.say(line)
    return Exit.DONE


def proved(work: Workspace) -> tuple[Sequence[Trial], Mapping[Key, Proof]]:
    """Live tests and how they ended; none when nobody knows how."""
    from mspctl.errors import LedgerError

    try:
        return work.trials, work.proved
    except LedgerError as error:
        console.hint(f"how live tests ended is not known: {error}")
        return (), {}
