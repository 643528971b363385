"""`mspctl reviewed`: which plan was reviewed before a merge, and where CI kept it."""

from __future__ import annotations

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Find the plan that was reviewed before a merge: the artifact that the plan of its pull request left.

It prints lines for $GITHUB_OUTPUT: pull, run and name. Nothing was reviewed, and so nothing is applied, when a commit
has no merged pull request, or its plan is not kept any more; then it ends with 1."""


@click.command("reviewed", help=HELP)
@click.option("--commit", required=True, metavar="COMMIT", help="What was merged.")
@click.option("--workflow", default=".github/workflows/plan.yml", show_default=True, help="Whose plans are believed.")
def command(commit: str, workflow: str) -> Exit:
    from mspctl.cli import forge
    from mspctl.errors import Unreachable
    from mspctl.forge.review import reviewed

    try:
        found = reviewed(forge.github(), commit, workflow)
    except Unreachable as error:
        console.error(f"{error}; nothing is applied before it is known what was reviewed (run the job again)")
        return Exit.UNREACHABLE
    for name, value in (("pull", found.pull), ("run", found.run), ("name", found.name)):
        console.say(f"{name}={value}")
    return Exit.DONE
