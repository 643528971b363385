"""`mspctl drift`: what was changed outside, and what is wrong although nothing was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit
from mspctl.moments import Clock

if TYPE_CHECKING:
    from mspctl.cli import by_pulumi
    from mspctl.cli.observing import Observing
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.plan import Plan
    from mspctl.report.drifts import Beside
    from mspctl.report.view import Line
    from mspctl.updates import Installed


HELP = """Show what was changed outside, and findings: what is wrong although nothing differs.

PATH is dns/ZONE or 'dns/ZONE/www A'. What drift --record saw before, and of which its target says that nothing changed,
is not read again."""

LATELY = timedelta(days=7)
GRAVEST = [Exit.DONE, Exit.UNREACHABLE, Exit.DIFFERS, Exit.ERROR]


@click.command("drift", help=HELP)
@options.selection
@click.option("--check", is_flag=True, help="Also look from outside, as others do: ask the DNS about every zone.")
@click.option("--record", is_flag=True, help="Keep what is seen, on the branch `observations`.")
@click.option("--full", is_flag=True, help="Read everything.")
@options.engine
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
    engine: str,
    report: str | None,
    exit_zero: bool,
    form: str,
) -> Exit:
    from dataclasses import replace
    from pathlib import Path

    from mspctl.cli import by_pulumi
    from mspctl.cli.observing import Observing
    from mspctl.report import drifts, kept, render
    from mspctl.report.view import Line, Tone

    work: Observing | by_pulumi.OfPulumi
    if engine == "pulumi":
        by_pulumi.refuse(selected, {"--record": record})
        work = by_pulumi.OfPulumi(directory, selected, only_state=True)
    else:
        work = Observing(directory, selected, full=full)
        work.tell_of_others()
    plan = work.plan()
    findings = work.findings(plan, outside=check)
    asked = work.who_touched(plan) if isinstance(work, Observing) else plan
    shown = drifts.of_drift(asked, findings, beside(work, plan))
    shown.document.update(said_of(work))
    left = [Line(Tone.WARN, "left", detail=text) for text in work.left_to_others("drift")]
    shown = replace(shown, notes=[*shown.notes, *left])
    if report:
        kept.save(Path(report), shown)
    console.say(render(shown, form), end="")
    if record and isinstance(work, Observing):
        work.record(plan, findings)
    code = max(plan.exit_code, findings.exit_code, key=GRAVEST.index)
    return code.softened() if exit_zero else code


def beside(work: Observing | by_pulumi.OfPulumi, plan: Plan) -> Beside:
    """What a report tells besides what was read and found in this run."""
    from mspctl.cli.observing import Observing
    from mspctl.finding_page import first_seen
    from mspctl.report import proofs
    from mspctl.report.drifts import Beside
    from mspctl.report.soon import soon

    by_customer: dict[str, list[Line]] = {}
    for trial in work.trials:
        line = proofs.line(trial, work.proved.get(trial.key), work.now)
        by_customer.setdefault(trial.scope.customer, []).append(line)
    customers = work.estate.customers.values()
    return Beside(
        proofs.fact(work.trials, work.proved, work.now),
        by_customer,
        first_seen(work.found.values()),
        frozenset(work.found),
        work.estate.warnings,
        {c.name: c.permissions.lapsed(Clock(work.now, c.info.timezone).today) for c in customers},
        installed(work, plan) if isinstance(work, Observing) else (),
        soon(work.meant(), work.now),
    )


def installed(work: Observing, plan: Plan) -> Sequence[Installed]:
    """What hosts installed by themselves within a week, as they say now, or said before."""
    from mspctl.cli.observing import installed_of
    from mspctl.updates import told

    known = [*work.observations.installed(work.estate.customers), *installed_of(plan)]
    fresh = {(e.customer, e.host, e.began): e for e in known if work.now - e.began <= LATELY}
    return told(fresh.values(), work.ledger.updates(since=work.now - 2 * LATELY))[1] if fresh else ()


def said_of(work: Workspace) -> dict[str, object]:
    """What programs, and the page, want to know besides: proofs, and who customers are."""
    from mspctl.report import proofs

    names = [
        {"customer": c.name, "name": c.info.name, "language": c.info.language} for c in work.estate.customers.values()
    ]
    return {"proofs": proofs.documents(work.trials, work.proved), "customers": names}
