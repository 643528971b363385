"""`mspctl reviewed`: which plan was reviewed before a merge, and where CI kept it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.forge import Forge

LABELS = ("mspctl", "apply")

HELP = """Find the plan that was reviewed before a merge: the artifact that the plan of its pull request left.

It prints lines for $GITHUB_OUTPUT: pull, run, name, and the digest of the plan that its comment shows. Nothing was
reviewed, and so nothing is applied, when a commit has no merged pull request, its plan is not kept any more, or came
out otherwise after it was approved; then it ends with 1."""


@click.command("reviewed", help=HELP)
@click.option("--commit", required=True, metavar="COMMIT", help="What was merged.")
@click.option("--issue", "told", is_flag=True, help="Open an issue when there is none, and close it when there is.")
@click.option("--workflow", default="", metavar="NAME", help="Whose plans are believed.")
def command(commit: str, told: bool, workflow: str) -> Exit:
    from mspctl.cli import forge
    from mspctl.errors import InputError, Unreachable
    from mspctl.forge.posting import close_issue
    from mspctl.forge.review import reviewed

    try:
        github = forge.connect()
        try:
            found = reviewed(github, commit, workflow or github.plans)
        except InputError as error:
            if told:
                tell(github, commit, str(error))
            raise
        if told:
            close_issue(github, subject(commit), LABELS, "Its plan was found.")
    except Unreachable as error:
        console.error(f"{error}; nothing is applied before it is known what was reviewed (run the job again)")
        return Exit.UNREACHABLE
    for name, value in (("pull", found.pull), ("run", found.run), ("name", found.name), ("digest", found.digest)):
        console.say(f"{name}={value}")
    return Exit.DONE


def subject(commit: str) -> str:
    return f"unreviewed {commit[:12]}"


def tell(github: Forge, commit: str, why: str) -> None:
    """That something is in main which nobody reviewed a plan of, and what to do about it."""
    from mspctl.forge.posting import Said, keep_issue
    from mspctl.report.as_markdown import code

    text = (
        f"{code(why)}\n\nIt is in main, and nothing of it was applied. Look at it; apply it by hand, or revert it:\n\n"
        f"    git checkout {commit[:40]}\n    mspctl affected --base HEAD^1\n    mspctl plan\n"
        f"    mspctl apply --reason 'unreviewed {commit[:12]}'\n\nThen close this issue.\n"
    )
    said = Said(subject(commit), f"Merged without a reviewed plan: {commit[:12]}", text, [commit])
    kept = keep_issue(github, said, LABELS, lambda new: "")
    console.hint(f"#{kept.number} says so")
