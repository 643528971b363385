"""`mspctl mail add`: a new mailbox."""

from __future__ import annotations

import click

from mspctl.cli import editing, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

HELP = """Write a new mailbox into the customer's mail.yaml, and show the plan.

ADDRESS is a whole address, or what stands before the @ where the customer has one mail domain. A password is made for
it when it is applied; then: mspctl secret hand-over CUSTOMER ADDRESS."""


@click.command("add", help=HELP, short_help="A new mailbox.")
@proposing.option
@click.argument("customer")
@click.argument("address")
@click.option("--name", metavar="TEXT", help="Its owner's, in full.")
@click.option("--quota", metavar="SIZE", help="10 GiB; unlimited when it is not said.")
@click.option("--alias", "aliases", multiple=True, metavar="NAME", help="A further name.")
@click.option("--forward", "forwards", multiple=True, metavar="ADDRESS", help="Who gets its mail as well.")
@click.option("--shared-with", multiple=True, metavar="NAME", help="A mailbox whose owner may use this one too.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="A group that it joins.")
@click.option("--no-password", is_flag=True, help="Nobody logs in, as in a mailbox that is only shared.")
@editing.dry_run_option
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    address: str,
    name: str | None,
    quota: str | None,
    aliases: tuple[str, ...],
    forwards: tuple[str, ...],
    shared_with: tuple[str, ...],
    groups: tuple[str, ...],
    no_password: bool,
    dry_run: bool,
    wish: Wish,
) -> Exit:
    from mspctl import people
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.kinds import mail

    work = Workspace(directory, Selection([customer]))
    who = people.person(work.estate, customer, address)
    said = {"name": name, "quota": quota, "password": None if no_password else mail.GENERATED}
    lists = {"aliases": aliases, "forwards": forwards, "shared_with": shared_with}
    entry: people.Entry = {key: value for key, value in {**said, **lists}.items() if value}
    edits = people.add(who, entry, groups)
    edited = people.edited(work.estate, who, edits, who.path("mailboxes", who.local))
    return editing.finish(work, who, edited, dry_run=dry_run, wish=wish, done="mail add")
