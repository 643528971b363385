"""`mspctl accept`: leave a difference, or a finding, as it is until a day."""

from __future__ import annotations

import click

from mspctl.amounts import count
from mspctl.cli import console, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

HELP = """Leave what was changed outside, or a finding, as it is until a day, with a reason; then it is reported again.

PATH is dns/ZONE or 'dns/ZONE/www A'. It is written to the customer's accepted.yaml; nothing is touched on a target."""


@click.command("accept", help=HELP)
@proposing.option
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
    directory: str | None,
    customer: str,
    path: str,
    why: str,
    until: str,
    finding: str | None,
    who: str | None,
    wish: Wish,
) -> Exit:
    from mspctl.accept import Entry, accept, accept_finding, write
    from mspctl.cli import workspace
    from mspctl.desired import Selection

    work = workspace.Workspace(directory, Selection([customer], (), (), [path]))
    entry = Entry(path, why, who or workspace.who(work.root).partition(" <")[0], until)
    if finding:
        work.declare({})  # the path names something
        made = accept_finding(work.root, customer, entry, finding)
        said = f"{finding} of {path} stays as it is until {until}: {made.file}"
    else:
        made = accept(work.root, customer, entry, work.plan(frozenset()).scopes)
        now = f"{count(made.adopted, 'difference')} now"
        said = f"{path} stays as it is until {until} ({now}): {made.file}"
    if wish.wanted:
        words = ["accept", customer, path, *([finding] if finding else [])]
        proposing.propose(work.root, wish, words, f"{why} (until {until})", {made.file: made.after})
    else:
        write(work.root, made)
    console.say(said)
    return Exit.DONE
