"""`mspctl replan`: plans of pull requests that a merge made untrue are made again."""

from __future__ import annotations

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Plan other open pull requests again after a merge: those that touch a customer whom it touched.

The workflow that planned one last is run once more, on what it would be merged into now; one that is running is waited
for."""


@click.command("replan", help=HELP)
@click.option("--base", required=True, metavar="REF", help="What was merged since then: a commit.")
@click.option("--into", default="main", show_default=True, metavar="BRANCH", help="The branch it was merged into.")
@click.option("--workflow", default="", metavar="NAME", help="Whose plans are made again.")
@click.option("--wait", default=600.0, show_default=True, metavar="SECONDS", help="For plans that are being made.")
@click.pass_obj
def command(directory: str | None, base: str, into: str, workflow: str, wait: float) -> Exit:
    from mspctl.affected import affected
    from mspctl.cli import forge
    from mspctl.cli.workspace import find_root
    from mspctl.errors import Unreachable
    from mspctl.forge.again import again
    from mspctl.load import load

    root = find_root(directory)
    found = affected(root, base, merged=True)
    failed = False
    try:
        client = forge.connect()
        which = workflow or client.plans
        for one in again(client, load(root), [*found.customers, *found.gone], into, which, wait):
            failed = failed or bool(one.wrong)
            say = console.error if one.wrong else console.say
            more = f"is not planned again: {one.wrong}" if one.wrong else "is planned again"
            say(f"{client.sign}{one.pull.number} {more} ({one.shared})")
    except Unreachable as error:
        console.error(f"{error}; plans of other pull requests may be old (run the job, or this command, again)")
        return Exit.UNREACHABLE
    return Exit.PARTLY if failed else Exit.DONE
