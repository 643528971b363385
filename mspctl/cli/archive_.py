"""`mspctl archive`: keep the whole configuration of each device, encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.desired import Selection

HELP = """Keep the whole configuration of each firewall, encrypted, on the branch `archive`; for a schedule.

PATH is firewall/SITE. A version is kept when something changed. inventory/archive.yaml says for which keys of age."""


@click.command("archive", help=HELP)
@options.selection
@click.option("--due", is_flag=True, help="Say nothing where no archive is asked for: for a schedule.")
@click.pass_obj
def command(directory: str | None, selected: Selection, due: bool) -> Exit:
    from mspctl.archive import Archive
    from mspctl.cli import archiving
    from mspctl.cli.workspace import RUN_ID, Workspace, head, who
    from mspctl.driver import Configuration, Failed
    from mspctl.record import Run

    work = Workspace(directory, selected)
    if due and work.estate.inventory.archive is None:
        return Exit.DONE
    said = archiving.settings(work)
    found = archiving.taken(work, archiving.devices(work))
    kept = [each for each in found if isinstance(each, Configuration)]
    changed = {}
    if kept:
        run = Run(RUN_ID, who(work.root), head(work.root))
        changed = Archive.fetched(work.root).record(run, kept, said.keys, said.keep, work.now)
    for each in sorted(found, key=lambda each: each.scope):
        name = f"{each.scope.customer} {each.scope.name} on {each.scope.target}"
        if isinstance(each, Failed):
            console.say(f"not read   {name}: {each.error}")
        else:
            console.say(f"{'archived ' if changed[each.scope] else 'unchanged'}  {name}")
    if not found:
        console.say("Nothing here has a configuration to archive.")
    return Exit.DONE if len(kept) == len(found) else Exit.UNREACHABLE
