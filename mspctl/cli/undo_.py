"""`mspctl undo`: back to what was there before one run."""

from __future__ import annotations

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Edit the YAML so that applying it brings back what one run found.

RUN is a commit of the ledger or of the customers' repository, a run's id, or the reason it was given ('#212');
without it, the newest run that changed something for the customer. Look at it with mspctl plan, then merge it."""


@click.command("undo", help=HELP)
@click.argument("customer")
@click.argument("run", required=False, default="")
@click.option("-n", "--dry-run", is_flag=True, help="Show the edits and write nothing.")
@click.pass_obj
def command(directory: str | None, customer: str, run: str, dry_run: bool) -> Exit:
    from mspctl import adopt, undo
    from mspctl.cli.adopt_ import diff
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection

    work = Workspace(directory, Selection([customer]))
    entry = undo.choose(work.ledger.history(limit=1000), customer, run)
    files = undo.rewrite(work.estate, customer, entry, work.declare(work.outputs()))
    for line in diff(files):
        console.say(line)
    if not dry_run:
        adopt.write(work.root, files)
    what = f"{entry.when:%Y-%m-%d %H:%M} by {entry.who.partition(' <')[0]}{f', {entry.reason}' if entry.reason else ''}"
    verb = "says already" if not files else "would say again" if dry_run else "says again"
    console.say(f"Git {verb} what was there before the run of {what}.")
    return Exit.DONE
