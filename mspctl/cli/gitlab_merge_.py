"""`mspctl gitlab merge`: what a merge request would become, checked out beside main."""

from __future__ import annotations

from pathlib import Path

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Check out what a merge request would become, merged into what is checked out here, in a folder of its own.

The merge is made here, and is the same commit wherever it is made. Nothing of it is run."""


@click.command("merge", help=HELP)
@click.argument("number", type=click.IntRange(1))
@click.option("--head", required=True, metavar="COMMIT", help="Its last commit; if it has another by now, this fails.")
@click.option("--into", required=True, metavar="FOLDER", type=click.Path(path_type=Path), help="A new folder.")
@click.pass_obj
def command(directory: str | None, number: int, head: str, into: Path) -> Exit:
    from mspctl.cli.workspace import find_root
    from mspctl.forge.merging import merged

    console.say(merged(find_root(directory), number, head, into))
    return Exit.DONE
