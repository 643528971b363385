"""`mspctl mail block`: a sender whose mail is refused."""

from __future__ import annotations

import click

from mspctl.cli import editing
from mspctl.exits import Exit

HELP = """Put a sender on the block list of one mail domain, and show the plan.

It holds for that domain only. SENDER is a domain, an address, or an IP address or network. DAY is the customer's, as
2027-06-30."""


@click.command("block", help=HELP, short_help="Whose mail is refused.")
@click.argument("customer")
@click.argument("domain")
@click.argument("sender")
@click.option("--why", required=True, metavar="TEXT", help="The reason, for whoever meets it later.")
@click.option("--until", metavar="DAY", help="The last day on which it holds.")
@click.option("--asked-by", metavar="NAME", help="The contact of the customer who asked for it.")
@click.option("--ticket", metavar="TEXT", help="Where it was asked for.")
@editing.approve
@editing.dry_run
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    domain: str,
    sender: str,
    why: str,
    until: str | None,
    asked_by: str | None,
    ticket: str | None,
    approve: str | None,
    dry_run: bool,
) -> Exit:
    said = {"why": why, "until": until, "asked_by": asked_by, "ticket": ticket}
    return editing.put_on_list(directory, customer, domain, "block", sender, said, dry_run=dry_run, approve=approve)
