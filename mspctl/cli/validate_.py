"""`mspctl validate`: every problem of every file, at once."""

from __future__ import annotations

import click

from mspctl.cli import console, options
from mspctl.exits import Exit


@click.command("validate", help="Check every file; show all problems at once.")
@click.option("-c", "--customer", "customers", multiple=True, metavar="NAME", help="Only this customer's files.")
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@options.output("text", "json")
@click.pass_obj
def command(directory: str | None, customers: tuple[str, ...], strict: bool, form: str) -> int:
    from mspctl.check import validate
    from mspctl.cli.workspace import find_root, now

    found = validate(find_root(directory), customers, now())
    errors = [p for p in found.problems if p.level == "error" or strict]
    if form == "json":
        console.say(found.as_json(), end="")
    elif found.problems:
        console.problems(found.problems)
    if form == "text" and not errors:
        console.say(found.summary)
    return Exit.ERROR if errors else Exit.DONE
