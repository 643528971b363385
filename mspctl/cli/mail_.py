"""`mspctl mail`: a customer's mail, from the desk. Its commands are the modules `mail_*_` beside this one."""

from __future__ import annotations

import click

from mspctl.cli.members import Members


@click.group("mail", cls=Members, help="Look after a customer's mail.")
def command() -> None:
    pass
