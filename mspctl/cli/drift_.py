"""`mspctl drift`: what was changed outside, and what is wrong although nothing was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.desired import Selection


HELP = """Show what was changed outside, and findings: what is wrong although nothing differs.

PATH is dns/ZONE or 'dns/ZONE/www A'. What drift --record saw before, and of which its target says that nothing changed,
is not read again."""

GRAVEST = [Exit.DONE, Exit.UNREACHABLE, Exit.DIFFERS, Exit.ERROR]


@click.command("drift", help=HELP)
@options.selection
@click.option("--check", is_flag=True, help="Also look from outside, as others do: ask the DNS about every zone.")
@click.option("--record", is_flag=True, help="Keep what is seen, on the branch `observations`.")
@click.option("--full", is_flag=True, help="Read everything.")
@options.kept
@options.exit_zero
@options.output("text", "json", "markdown", "html")
@click.pass_obj
def command(
    directory: str | None,
    selected: Selection,
    check: bool,
    record: bool,
    full: bool,
    report: str | None,
    exit_zero: bool,
    form: str,
) -> Exit:
    from pathlib import Path

    from mspctl.cli.observing import Observing
    from mspctl.report import kept, proofs, render, view

    work = Observing(directory, selected, full=full)
    work.tell_of_others()
    plan = work.plan()
    findings = work.findings(plan, outside=check)
    shown = view.of_drift(plan, findings, proofs.fact(work.trials, work.proved, work.now))
    shown.document["proofs"] = proofs.documents(work.trials, work.proved)
    if report:
        kept.save(Path(report), shown)
    console.say(render(shown, form), end="")
    if record:
        work.record(plan)
    code = max(plan.exit_code, findings.exit_code, key=GRAVEST.index)
    return code.softened() if exit_zero else code
