"""`mspctl inventory`: what is known of customers' hosts. Its commands are the modules `inventory_*_` here."""

from __future__ import annotations

import click

from mspctl.cli.members import Members


@click.group("inventory", cls=Members, help="What is known of customers' hosts.")
def command() -> None:
    pass
