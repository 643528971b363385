"""`mspctl issue`: drift of each customer, and what did not land, in issues that are kept up to date and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.forge import Forge
    from mspctl.report.as_issues import Told

HELP = """Keep issues about what jobs reported: of drift --report one for each customer, of apply --report one for what
did not land. They are brought up to date, and closed when there is nothing any more.

Who follows an issue is told of what is new, and of nothing else."""

LABEL = "mspctl"


@click.command("issue", help=HELP)
@click.argument("files", metavar="REPORT...", nargs=-1, required=True)
@click.option("--about", metavar="TEXT", help="What was applied: '#212', or a commit. Only for apply.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the issues and post nothing.")
def command(files: tuple[str, ...], about: str | None, dry_run: bool) -> Exit:
    from mspctl.cli import forge
    from mspctl.errors import Unreachable
    from mspctl.report import as_issues

    shown = forge.reports(files)
    if shown.kind == "plan" or (shown.kind == "apply") is not (about is not None):
        raise click.UsageError("issues are made of drift, or of an apply and what it is --about")
    found = [*as_issues.of_drift(shown)] if about is None else [as_issues.of_apply(shown, about)]
    if dry_run:
        for told in found:
            console.say(f"# {told.title}\n\n{told.text}" if told.facts else f"{told.subject}: nothing")
        return Exit.DONE
    forge.summarize(shown)
    try:
        github = forge.connect()
        for told in found:
            keep(github, told, shown.kind)
    except Unreachable as error:
        console.error(f"{error}; the issues are not up to date (run the job, or this command, again)")
        return Exit.UNREACHABLE
    return Exit.DONE


def keep(forge: Forge, told: Told, kind: str) -> None:
    """Bring one issue up to date, or close it."""
    from mspctl.forge.posting import Said, close_issue, keep_issue
    from mspctl.report import as_issues
    from mspctl.secrets import redact

    labels = (LABEL, kind)
    if not told.facts and told.unsure:
        return
    if not told.facts:
        done = "Everything landed." if kind == "apply" else "Nothing differs any more, and nothing is wrong."
        for number in close_issue(forge, told.subject, labels, done):
            console.say(f"#{number} is closed: {told.subject}")
        return
    said = Said(told.subject, redact(told.title), redact(told.text), [*told.facts])
    kept = keep_issue(forge, said, labels, lambda new: redact(as_issues.news(told, new)))
    console.say(f"#{kept.number} {'is opened' if kept.opened else f'has {len(kept.news)} new'}: {told.title}")
