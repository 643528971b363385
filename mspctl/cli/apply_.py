"""`mspctl apply`: carry out what Git declares, and nothing else."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.asked import Trailers
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.plan import Plan
    from mspctl.sealed import Sealed


HELP = """Carry out what Git declares, and nothing else.

PATH is dns/ZONE or 'dns/ZONE/www A'; or FILE, a plan that plan --save kept: then only what was reviewed is done.
Several files are carried out together."""


@click.command("apply", help=HELP)
@options.selection
@click.option("--revert", is_flag=True, help="Also undo what was changed outside.")
@click.option("--due", is_flag=True, help="Only what expired, began, or whose window opened; for a schedule.")
@click.option("--emergency", is_flag=True, help="Without CI, as it stands here, if need be without the remote.")
@click.option("--open-pr", is_flag=True, help="After an emergency: a pull request with what was applied.")
@click.option("--reason", default="", metavar="TEXT", help="Pull request or ticket, for the ledger.")
@click.option("--wait", default=60.0, show_default=True, metavar="SECONDS", help="For locks that others hold.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@click.option("--digest", default="", metavar="DIGEST", help="Only if FILE is the plan of this digest.")
@click.option("--base", default="", metavar="REF", help="FILE is of what was merged since: others' is left to them.")
@click.option("--into", default="main", show_default=True, metavar="BRANCH", help="With --base: where it was merged.")
@options.rings
@options.asked
@options.engine
@options.kept
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(
    directory: str | None,
    selected: Selection,
    revert: bool,
    due: bool,
    emergency: bool,
    open_pr: bool,
    reason: str,
    yes: bool,
    wait: float,
    digest: str,
    base: str,
    into: str,
    engine: str,
    report: str | None,
    form: str,
    ringed: bool,
    said: Trailers,
) -> Exit:
    from pathlib import Path

    from mspctl.cli import by_pulumi, updating, urgent
    from mspctl.cli.ringing import Ringing
    from mspctl.cli.workspace import Workspace
    from mspctl.plan import PENDING, REVERT
    from mspctl.report import kept, outcomes, plans, render

    whole = saved(selected.paths)
    review = whole.of(selected.customers) if whole else None
    check_options(due, emergency, revert, reason, review, ringed, said)
    check_merge(whole, digest, base)
    if open_pr and not emergency:
        raise click.UsageError("--open-pr is for an --emergency; anything else was merged already")
    causes = REVERT if revert or (review and review.revert) else PENDING
    asked = replace(selected, paths=()) if review else selected
    work: Workspace
    if engine == "pulumi":
        by_pulumi.refuse(asked, {"--due": due, "--emergency": emergency, "--rings": ringed, "--base": base})
        work = by_pulumi.OfPulumi(directory, asked, said=said)
    else:
        work = Workspace(directory, asked, only_due=due, in_emergency=emergency, ahead=not due, said=said)
        work.tell_of_others()
    plan = work.plan(causes)
    if review:
        plan = limited(work, plan, review, base, into)
    say = console.say if form == "text" else console.hint
    waiting = updating.find(work) if due else []
    if due and not (plan.scopes or waiting) and form == "text":
        return nothing_is_due(report)
    quiet = due and form == "text" and not any(s.steps or s.left or s.error for s in plan.scopes)
    if form == "text" and not quiet:
        console.say(render(plans.of_plan(plan, work.estate.warnings), form))
    updating.tell(waiting, say)
    if (plan.changes or waiting) and not yes and sys.stdin.isatty():
        click.confirm("Apply?", abort=True)
    # Who may begin depends on all that was reviewed, whoever applies it.
    planned = whole.changes if whole else {s.scope: s.due for s in plan.scopes}
    doing = Ringing(work, planned, say).apply if ringed else work.apply
    outcome = doing(plan, causes, reason, wait)
    again = shlex.join(["mspctl", *sys.argv[1:]]) if len(sys.argv) > 1 else "mspctl apply"
    shown = outcomes.of_outcome(outcome, again, "Nothing else is due." if due else "Nothing is pending.")
    shown = replace(shown, alarms=[*shown.alarms, *work.left_to_others("apply")])
    if report:
        kept.save(Path(report), shown)
    if not quiet or outcome.exit_code:
        console.say(render(shown, form), end="")
    if open_pr and work.urgent:
        urgent.propose(work.root)
    installed = updating.install(work, waiting, say, reason) if waiting else Exit.DONE
    return outcome.exit_code or installed


def nothing_is_due(report: str | None) -> Exit:
    """A report of nothing is kept, too: an issue about what was due is over then."""
    from pathlib import Path

    from mspctl.apply import Outcome
    from mspctl.report import kept, outcomes

    if report:
        kept.save(Path(report), outcomes.of_outcome(Outcome(), "", "Nothing is due."))
    return Exit.DONE


def check_options(
    due: bool, emergency: bool, revert: bool, reason: str, review: Sealed | None, ringed: bool, said: Trailers
) -> None:
    if ringed and (due or emergency):
        raise click.UsageError("what is due, or urgent, waits for no ring (leave out --rings)")
    if review and (said.tickets or said.by):
        raise click.UsageError("who asked for it is said in FILE (leave out --ticket and --asked-by)")
    if emergency and not reason.strip():
        raise click.UsageError("--emergency needs --reason TEXT: the next report begins with it")
    if due and (emergency or revert or review):
        raise click.UsageError("--due does only what time made due (leave out --emergency, --revert and FILE)")


def check_merge(whole: Sealed | None, digest: str, base: str) -> None:
    """Fail unless the plans in the files are the one that was shown. Raises InputError."""
    from mspctl.errors import InputError

    if (digest or base) and whole is None:
        raise click.UsageError(f"--{'digest' if digest else 'base'} is of plans in files (mspctl apply FILE)")
    if digest and whole and whole.digest != digest:
        text = f"is not the plan {digest} that was reviewed, but {whole.digest}: nothing is applied"
        raise InputError.at("FILE", text)


def saved(paths: Sequence[str]) -> Sealed | None:
    """The plans in the files that were named, if files were, as one."""
    from pathlib import Path

    from mspctl import sealed

    if not paths or not all(Path(path).is_file() for path in paths):
        return None
    found = (Path(path).read_text(encoding="utf-8", errors="replace") for path in paths)
    return sealed.joined([*map(sealed.parse, found, paths)])


def limited(work: Workspace, plan: Plan, review: Sealed, base: str, into: str) -> Plan:
    """What was reviewed and still is what it was; the rest is named. With a `base`, of the merge since then."""
    from mspctl import sealed
    from mspctl.other_merges import Merge

    work.merge = Merge.of(work.root, base, into) if base else None
    scopes = work.set_aside(plan.scopes, review)
    for scope, change in sealed.missed(scopes, review):
        console.hint(f"left alone: {change.id.name} in {scope} was changed by somebody else since the review")
    return replace(plan, scopes=sealed.limit(scopes, review), asked=review.asked, doubts=())
