"""`mspctl comment`: what several jobs reported, in one comment on a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.forge import Forge
    from mspctl.report.view import View

HELP = """Write what jobs reported into one comment on a pull request, which is kept up to date.

REPORT is what plan --report, or apply --report, kept. In a job of GitHub everything is in its summary as well, and what
can hurt is an annotation. A plan that came out otherwise than one that was approved takes those approvals back."""


@click.command("comment", help=HELP)
@click.argument("files", metavar="REPORT...", nargs=-1, required=True)
@click.option("--pull-request", "pull", required=True, type=click.IntRange(1), metavar="NUMBER", help="Where to.")
@click.option("--of", "jobs", type=click.IntRange(1), metavar="NUMBER", help="How many jobs there were.")
@click.option("--head", metavar="COMMIT", help="Say nothing when the pull request is at another one by now.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the comment and post nothing.")
def command(files: tuple[str, ...], pull: int, jobs: int | None, head: str | None, dry_run: bool) -> Exit:
    from mspctl.cli import forge
    from mspctl.errors import Unreachable
    from mspctl.report.as_comment import render
    from mspctl.secrets import redact

    shown = forge.with_missing(forge.reports(files), len(files), jobs)
    known = f"{forge.sign()}{pull}"
    text = redact(render(shown, known))
    if dry_run:
        console.say(text, end="")
        return Exit.DONE
    forge.summarize(shown, known)
    try:
        github = forge.connect()
        if head is not None and github.pull(pull).head != head:
            console.hint(f"{known} has gone on since {head[:12]}; the run for what it is now says the rest.")
            return Exit.DONE
        done = write(github, pull, shown, text)
    except Unreachable as error:
        console.error(str(error))
        console.hint("The comment is not up to date; the reports are kept: run the job, or this command, again.")
        return Exit.UNREACHABLE
    console.say(f"The comment on {known} is up to date.")
    return done


def write(forge: Forge, number: int, shown: View, text: str) -> Exit:
    """The comment; one of a plan also takes approvals of another plan back."""
    from mspctl.cli.workspace import now
    from mspctl.forge.posting import keep_comment
    from mspctl.forge.review import show

    if shown.kind != "plan":
        keep_comment(forge, number, shown.kind, text)
        return Exit.DONE
    stale = show(forge, number, str(shown.document["digest"]), text, now())
    for each in stale:
        if each.wrong:
            console.error(f"the approval of {each.approval.by} is of another plan: {each.wrong}")
        else:
            console.hint(f"The approval of {each.approval.by} was of another plan, and is taken back.")
    return Exit.PARTLY if any(each.wrong for each in stale) else Exit.DONE
