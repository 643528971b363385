"""`mspctl mail allow`: a sender whose mail is not taken for spam."""

from __future__ import annotations

import click

from mspctl.cli import editing
from mspctl.exits import Exit

HELP = """Put a sender on the allow list of one mail domain, and show the plan.

It holds for that domain only. SENDER is a domain, an address, or an IP address or network; everybody can write any
name, so a name needs --must-pass. DAY is the customer's, as 2027-06-30."""


@click.command("allow", help=HELP, short_help="Whose mail is not taken for spam.")
@click.argument("customer")
@click.argument("domain")
@click.argument("sender")
@click.option("--why", required=True, metavar="TEXT", help="The reason, for whoever meets it later.")
@click.option("--must-pass", type=click.Choice(["dkim", "spf"]), help="How a message proves that it is from there.")
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
    must_pass: str | None,
    until: str | None,
    asked_by: str | None,
    ticket: str | None,
    approve: str | None,
    dry_run: bool,
) -> Exit:
    said = {"must_pass": must_pass, "why": why, "until": until, "asked_by": asked_by, "ticket": ticket}
    return editing.put_on_list(directory, customer, domain, "allow", sender, said, dry_run=dry_run, approve=approve)
