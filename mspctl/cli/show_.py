"""`mspctl show`: one customer, declared and recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.cli.workspace import Workspace
    from mspctl.proof import Key, Proof, Trial
    from mspctl.updates import Installed, Page

HELP = """Show a customer: what is declared, and with --history what was applied.

Without CUSTOMER, a line for each. SITE is for --config: which of the customer's firewalls."""


@click.command("show", help=HELP)
@click.argument("customer", required=False)
@click.argument("site", required=False)
@click.option("--history", is_flag=True, help="What was applied or installed, newest first.")
@click.option("--config", is_flag=True, help="The whole configuration of a firewall, from the archive; needs a key.")
@click.option("--at", type=click.DateTime(["%Y-%m-%d"]), metavar="DAY", help="With --config: as it was when DAY ended.")
@click.option("--diff", is_flag=True, help="With --config: what had changed since the version before.")
@options.how_far
@options.output("text", "json")
@click.pass_obj
def command(
    directory: str | None,
    customer: str | None,
    site: str | None,
    history: bool,
    config: bool,
    at: datetime | None,
    diff: bool,
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

    if not config and (site or at or diff):
        raise click.UsageError("SITE, --at and --diff are for --config")
    if config and ((diff or at) and not site):
        raise click.UsageError("--at and --diff need a SITE")
    work = Workspace(directory, Selection([customer] if customer else []))
    if config:
        from mspctl.cli import showing_config

        end = at and at.replace(tzinfo=UTC) + timedelta(days=1)
        shown = [*showing_config.lines(work, site, end, diff)]
    elif history:
        entries = work.ledger.history(work.ever() if customer else None, limit, since)
        updates, own = installed(work, customer, since)
        if form == "json":
            shown = [report.as_json(entries, updates[:limit], own[:limit])]
        else:
            shown = list(report.lines(entries, customer or "", updates[:limit], limit, own))
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


def installed(work: Workspace, customer: str | None, since: datetime | None) -> tuple[Sequence[Page], list[Installed]]:
    """What hosts installed because they were let, and what by themselves; nothing of the latter when nobody knows."""
    from mspctl.errors import LedgerError
    from mspctl.updates import told

    known: list[Installed] = []
    try:
        known = work.observations.installed([customer] if customer else work.estate.customers)
    except LedgerError as error:
        console.hint(f"what hosts installed by themselves is not known: {error}")
    pages, own = told(known, work.ledger.updates(customer))
    if since:
        pages = [page for page in pages if datetime.fromisoformat(page["when"]) >= since]
    return pages, [each for each in own if since is None or each.began >= since]


def proved(work: Workspace) -> tuple[Sequence[Trial], Mapping[Key, Proof]]:
    """Live tests and how they ended; none when nobody knows how."""
    from mspctl.errors import LedgerError

    try:
        return work.trials, work.proved
    except LedgerError as error:
        console.hint(f"how live tests ended is not known: {error}")
        return (), {}
