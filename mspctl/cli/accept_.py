"""`mspctl accept`: leave a difference, or a finding, as it is until a day."""

from __future__ import annotations

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Leave what was changed outside, or a finding, as it is until a day, with a reason; then it is reported again.

PATH is dns/ZONE or 'dns/ZONE/www A'. It is written to the customer's accepted.yaml; nothing is touched on a target."""


@click.command("accept", help=HELP)
@click.argument("customer")
@click.argument("path")
@click.option("--why", required=True, metavar="TEXT", help="The reason, for whoever meets it later.")
@click.option(
    "--until",
    required=True,
    metavar="DAY",
    help="The last day, as 2027-03-31, of the customer's; then it is reported again.",
)
@click.option("--finding", metavar="CODE", help="Leave this finding be (dns.parent-ns, …), not what was changed.")
@click.option("--who", metavar="NAME", help="Who decided it; by default you.")
@click.pass_obj
def command(
    directory: str | None, customer: str, path: str, why: str, until: str, finding: str | None, who: str | None
) -> Exit:
    from mspctl.accept import Entry, accept, accept_finding
    from mspctl.cli import workspace
    from mspctl.desired import Selection

    work = workspace.Workspace(directory, Selection([customer], (), (), [path]))
    entry = Entry(path, why, who or workspace.who(work.root).partition(" <")[0], until)
    if finding:
        work.declare({})  # the path names something
        file = accept_finding(work.root, customer, entry, finding)
        console.say(f"{finding} of {path} stays as it is until {until}: {file}")
        return Exit.DONE
    file, count = accept(work.root, customer, entry, work.plan(frozenset()).scopes)
    console.say(f"{path} stays as it is until {until} ({count} difference{'' if count == 1 else 's'} now): {file}")
    return Exit.DONE
