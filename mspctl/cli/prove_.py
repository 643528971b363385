"""`mspctl prove`: make the live tests that are declared, and record how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.desired import Selection


HELP = """Make the live tests that are declared, and record how they end.

PATH is mailboxes/DOMAIN or firewall/SITE. Only what a test needs is written to targets, and taken away again."""


@click.command("prove", help=HELP)
@options.selection
@click.option("--due", is_flag=True, help="Only what was not proved for as long as its `every` says; for a schedule.")
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(directory: str | None, selected: Selection, due: bool, form: str) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.errors import InputError, LedgerError
    from mspctl.proof import exit_code
    from mspctl.report import proofs, render

    work = Workspace(directory, selected)
    if selected.paths and not work.trials:
        raise InputError.at("", f"{', '.join(selected.paths)} names no live test that is declared")
    known = work.proved if due else {}
    wanted = [trial for trial in work.trials if not due or trial.is_due(known.get(trial.key), work.now)]
    if due and not wanted and form == "text":
        return Exit.DONE
    made, interrupted = work.prove(wanted)
    console.say(render(proofs.of_run(wanted, made, work.now), form), end="")
    if made:
        try:
            work.record_proofs(made)
        except LedgerError as error:
            console.error(f"how this ended could not be recorded: {error}")
            return Exit.ERROR
    return Exit.INTERRUPTED if interrupted else exit_code(made)
