"""`mspctl adopt`: Git takes over what is live."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.desired import Rewritten

HELP = """Write live values into the YAML: Git takes over.

Without PATH, everything of the customer that was changed outside; PATH is dns/ZONE or 'dns/ZONE/www A'.
Resources that were never in Git come in with --unmanaged, or when PATH names one."""


@click.command("adopt", help=HELP)
@proposing.option
@click.argument("customer")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("-t", "--target", "targets", multiple=True, metavar="NAME", help="Take the values of this target.")
@click.option("--unmanaged", is_flag=True, help="Take in what is live and was never in Git, too.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the edits and write nothing.")
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    paths: tuple[str, ...],
    targets: tuple[str, ...],
    unmanaged: bool,
    dry_run: bool,
    wish: Wish,
) -> Exit:
    from mspctl import adopt
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.resource import Cause

    work = Workspace(directory, Selection([customer], (), targets, paths))
    plan = work.plan(frozenset())
    causes = adopt.OUTSIDE | ({Cause.UNMANAGED} if unmanaged or options.name_resources(paths) else frozenset())
    unread = [scope for scope in plan.scopes if scope.error]
    for scope in unread:
        console.error(f"{scope.scope}: {scope.error}")
    files = adopt.rewrite(work.estate, plan.scopes, causes, work.selection.wants)
    for line in diff(files):
        console.say(line)
    if files and wish.wanted and not dry_run:
        why = "Git takes over what is live."
        proposing.propose(work.root, wish, ["adopt", customer, *paths], why, {one.file: one.after for one in files})
    elif not dry_run:
        adopt.write(work.root, files)
    count = sum(one.adopted for one in files)
    verb = "would be" if dry_run or wish.wanted else "is" if count == 1 else "are"
    files_said = ", ".join(one.file for one in files)
    said = f"{count} live resource{'' if count == 1 else 's'} {verb} declared in {files_said}."
    console.say(said if files else "Nothing to adopt.")
    return Exit.ERROR if unread else Exit.DONE


def diff(files: list[Rewritten]) -> Iterator[str]:
    """The edits, coloured as everybody knows them."""
    tints = {"+": "green", "-": "red", "@": "cyan"}
    for one in files:
        before, after = one.before.splitlines(), one.after.splitlines()
        for line in difflib.unified_diff(before, after, one.file, one.file, lineterm="", n=1):
            yield click.style(line, fg=tints.get(line[:1]))
