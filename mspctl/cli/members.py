"""A group of commands whose members are found by the files that are there: `mail log` is `mail_log_.py`."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import click

from mspctl import cli


class Members(click.Group):
    """The members of the group `name` are the modules `name_*_` beside this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return members(str(self.name))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        module = f"{self.name}_{name}_".replace("-", "_")
        command: click.Command = import_module(f"{cli.__name__}.{module}").command
        return command


def members(group: str) -> list[str]:
    """Names of the commands that there are."""
    found = (module.name for module in pkgutil.iter_modules(cli.__path__))
    mine = (name for name in found if name.startswith(f"{group}_") and name.endswith("_") and name != f"{group}_")
    return sorted(name.removeprefix(f"{group}_").removesuffix("_").replace("_", "-") for name in mine)
