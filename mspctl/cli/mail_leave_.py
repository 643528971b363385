"""`mspctl mail leave`: somebody leaves."""

from __future__ import annotations

import click

from mspctl.cli import editing, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

HELP = """Move a mailbox to those of people who leave, and show what follows and the plan.

From DAY on nobody logs in; mail goes to colleagues, is answered, or is refused; the mailbox is kept for a while. Groups
and lists need no edit. Days are the customer's, as 2027-03-31, or times of a day, as '2027-03-31 18:00'."""


@click.command("leave", help=HELP, short_help="Somebody leaves.")
@proposing.option
@click.argument("customer")
@click.argument("address")
@click.option("--left", metavar="DAY", help="From when on; unless it is said, today.")
@click.option("--reply", metavar="TEXT", help="What a sender is told.")
@click.option("--copy-to", multiple=True, metavar="NAME", help="Who gets the mail; a mailbox, or a whole address.")
@click.option("--until", metavar="DAY", help="How long replies and copies go on.")
@click.option("--keep-until", metavar="DAY", help="How long the mailbox is kept.")
@editing.approve_option
@editing.dry_run_option
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    address: str,
    left: str | None,
    reply: str | None,
    copy_to: tuple[str, ...],
    until: str | None,
    keep_until: str | None,
    approve: str | None,
    dry_run: bool,
    wish: Wish,
) -> Exit:
    from mspctl import people
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.edit import Bare

    work = Workspace(directory, Selection([customer]))
    who = people.person(work.estate, customer, address)
    days = {"until": until, "keep_until": keep_until}
    entry: people.Entry = {"left": Bare(left or people.today(work.estate, customer))}
    entry |= {key: value for key, value in {"reply": reply, "copy_to": copy_to}.items() if value}
    entry |= {key: Bare(value) for key, value in days.items() if value}
    edits = people.leave(who, entry)
    edited = people.edited(work.estate, who, edits, edits[-1].path)
    words = people.follows(edited, who)
    return editing.finish(work, who, edited, words, dry_run=dry_run, approve=approve, wish=wish, done="mail leave")
