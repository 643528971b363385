"""`mspctl plan`: what an apply would change, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.asked import Trailers
    from mspctl.desired import Selection


@click.command("plan", help="Show what an apply would change, and why.\n\nPATH is dns/ZONE or 'dns/ZONE/www A'.")
@options.selection
@click.option("--revert", is_flag=True, help="Also undo what was changed outside.")
@click.option("--due", is_flag=True, help="Only what expired, began, or whose window opened.")
@click.option("--save", metavar="FILE", help="Keep the plan, so that apply FILE does this and nothing else.")
@click.option("--base", metavar="REF", default="", help="Contact nothing that is reached otherwise than REF says.")
@options.rings
@options.asked
@options.engine
@options.kept
@options.exit_zero
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(
    directory: str | None,
    selected: Selection,
    revert: bool,
    due: bool,
    save: str | None,
    base: str,
    engine: str,
    report: str | None,
    exit_zero: bool,
    form: str,
    ringed: bool,
    said: Trailers,
) -> Exit:
    from dataclasses import replace
    from pathlib import Path

    from mspctl import sealed
    from mspctl.cli import by_pulumi, ringing, updating
    from mspctl.cli.workspace import Workspace
    from mspctl.plan import PENDING, REVERT
    from mspctl.report import kept, plans, render

    if due and revert:
        raise click.UsageError("--due carries out what is in Git, --revert what is not (leave one out)")
    work: Workspace
    if engine == "pulumi":
        by_pulumi.refuse(selected, {"--due": due, "--base": base, "--rings": ringed})
        work = by_pulumi.OfPulumi(directory, selected, said=said)
    else:
        work = Workspace(directory, selected, only_due=due, ahead=not due, base=base, said=said)
        work.tell_of_others()
    plan = work.plan(REVERT if revert else PENDING)
    if save:
        sealed.save(Path(save), plan, revert=revert)
    shown = plans.of_plan(plan, work.estate.warnings)
    shown = replace(shown, alarms=[*shown.alarms, *work.left_to_others("plan")])
    if ringed and (order := ringing.spoken(work, plan)):
        shown = replace(shown, facts=[*shown.facts, order])
    if report:
        kept.save(Path(report), shown)
    console.say(render(shown, form), end="")
    waiting = updating.find(work) if due else []
    updating.tell(waiting, console.say if form == "text" else console.hint)
    code = plan.exit_code or (Exit.DIFFERS if waiting else Exit.DONE)
    return code.softened() if exit_zero else code
