"""`mspctl firewall`: a customer's firewalls. Its commands are the modules `firewall_*_` beside this one."""

from __future__ import annotations

import click

from mspctl.cli.members import Members


@click.group("firewall", cls=Members, help="Look after a customer's firewalls.")
def command() -> None:
    pass
