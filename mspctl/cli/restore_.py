"""`mspctl restore`: what backups of hosts hold. Its commands are the modules `restore_*_` beside this one."""

from __future__ import annotations

import click

from mspctl.cli.members import Members


@click.group("restore", cls=Members, help="Find files in backups, and give them back.")
def command() -> None:
    pass
