"""`mspctl mail rename`: another name for a mailbox."""

from __future__ import annotations

import click

from mspctl.cli import editing
from mspctl.exits import Exit

HELP = """Give a mailbox another name, and show the plan: everything in it stays.

Lists that name it are edited too. Mail for the old name goes on arriving, unless --no-alias says otherwise."""


@click.command("rename", help=HELP, short_help="Another name for a mailbox.")
@click.argument("customer")
@click.argument("address")
@click.argument("new")
@click.option("--no-alias", is_flag=True, help="Mail for the old name is refused.")
@editing.dry_run_option
@click.pass_obj
def command(directory: str | None, customer: str, address: str, new: str, no_alias: bool, dry_run: bool) -> Exit:
    from mspctl import people
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.errors import InputError

    work = Workspace(directory, Selection([customer]))
    who = people.person(work.estate, customer, address)
    to = people.person(work.estate, customer, new if "@" in new else f"{new}@{who.domain}", "NEW")
    if to.domain != who.domain:
        raise InputError.at("NEW", f"{to.address} is in another domain (a mailbox stays in {who.domain})")
    was = people.known_as(work.estate, who, work.recorded)
    edits = people.rename(who, to.local, was, keep=not no_alias)
    edited = people.edited(work.estate, who, edits)
    old = "is refused" if no_alias else f"arrives as that for {to.address} does"
    words = [
        ("log-in", f"as {to.address}, with the same password, once it is applied"),
        ("mail", f"for the old name {old}"),
    ]
    return editing.finish(work, who, edited, words, dry_run=dry_run)
