"""`mspctl init`: a repository for an MSP's customers."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from mspctl.cli import console
from mspctl.exits import Exit


@click.command(
    "init",
    help="Make a repository for your customers.\n\nDIR is a new or an empty folder; by default the one you stand in.",
)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--name", default="", metavar="TEXT", help="What the provider is called; by default as the folder.")
@click.option(
    "--ci", type=click.Choice(["github", "gitlab"]), default="github", show_default=True, help="Pipelines for it."
)
@click.option("--no-example", is_flag=True, help="Without the example customer and its target.")
@click.option("--no-ledger", is_flag=True, help="Without the record of what is applied (mspctl ledger init).")
@click.pass_obj
def command(directory: str | None, folder: Path | None, name: str, ci: str, no_example: bool, no_ledger: bool) -> Exit:
    from mspctl.init import init

    place = Path(directory or "") / (folder or "")
    made = init(place, name, example=not no_example, ledger=not no_ledger, ci=ci)
    ledger = f", an empty ledger at {made.ledger[:12]}" if made.ledger else ""
    console.say(f"A repository for {made.name} is in {made.root}: {made.files} files{ledger}.")
    go_there = "" if made.root == Path.cwd() else f"cd {shlex.quote(str(place))} && "
    console.hint(f"Go on with: {go_there}mspctl validate && mspctl plan")
    return Exit.DONE
