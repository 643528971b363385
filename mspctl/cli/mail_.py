"""`mspctl mail`: a customer's mail, from the desk. Its commands are the modules `mail_*_` beside this one."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click

from mspctl import cli

PREFIX, SUFFIX = "mail_", "_"


def members() -> list[str]:
    """Names of the commands that there are: `log` is `mail_log_`."""
    found = (module.name for module in pkgutil.iter_modules(cli.__path__))
    mine = (name for name in found if name.startswith(PREFIX) and name.endswith(SUFFIX) and name != PREFIX)
    return sorted(name.removeprefix(PREFIX).removesuffix(SUFFIX).replace("_", "-") for name in mine)


class Members(click.Group):
    """Commands that are found by the files that are there."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return members()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in members():
            return None
        command: click.Command = import_module(f"{cli.__name__}.{PREFIX}{name.replace('-', '_')}{SUFFIX}").command
        return command


@click.group("mail", cls=Members, help="Look after a customer's mail.")
def command() -> None:
    pass
