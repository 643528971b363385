"""What commands end with that edit a customer's YAML for somebody at the desk: the edit, the plan, what comes next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Rewritten
    from mspctl.people import Edited, Person


dry_run = click.option("-n", "--dry-run", is_flag=True, help="Show the edit and the plan, and write nothing.")
approve = click.option("--approve", metavar="WHY", help="Name in approvals.yaml what needs an approval, and why.")


def finish(
    work: Workspace,
    who: Person,
    edited: Edited,
    words: Iterable[tuple[str, str]] = (),
    *,
    dry_run: bool,
    approve: str | None = None,
) -> Exit:
    """Show the edit, write it, and show what an apply would do then. `words` say what follows, by subject."""
    from mspctl import people
    from mspctl.cli.adopt_ import diff
    from mspctl.report import render, view

    files = [edited.rewritten]
    ahead = _ahead(work, who, files)
    plan = ahead.plan()
    if approve is not None:
        files.append(people.approvals(edited.estate, who, plan, approve))
        ahead = _ahead(work, who, files)
        plan = ahead.plan()
    for line in diff(files):
        console.say(line)
    said = [*words]
    if said:
        console.say(f"\n{click.style(who.address, bold=True)}")
    for what, text in said:
        console.say(f"  {what:<{max(len(each) for each, _ in said)}}  {text}")
    if not dry_run:
        _write(work.root, files)
    console.say("\n" + render(view.of_plan(plan, ahead.estate.warnings), "text"))
    console.say("Nothing was written." if dry_run else people.next_step(who, plan))
    return Exit.DONE


def put_on_list(
    directory: str | None,
    customer: str,
    domain: str,
    kind: str,
    sender: str,
    said: Mapping[str, str | None],
    *,
    dry_run: bool,
    approve: str | None,
) -> Exit:
    """A line more in a domain's list of senders, `allow` or `block`."""
    from mspctl import people
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.edit import Bare

    work = Workspace(directory, Selection([customer]))
    who = people.everybody(work.estate, customer, domain)
    typed = {key: Bare(value) if key == "until" else value for key, value in said.items() if value is not None}
    line = people.listed(who, kind, {"from": sender, **typed})
    edited = people.edited(
        work.estate, who, [line], people.last(work.estate, who, kind), {"": "SENDER", "from": "SENDER"}
    )
    verdict = {"allow": "is not taken for spam", "block": "is refused"}[kind]
    passing = f" that passes {said['must_pass']}" if said.get("must_pass") else ""
    until = f", until {said['until']}" if said.get("until") else ""
    words = [(kind, f"mail from {sender}{passing} {verdict}, for {who.domain} only{until}")]
    return finish(work, who, edited, words, dry_run=dry_run, approve=approve)


def _ahead(work: Workspace, who: Person, files: Sequence[Rewritten]) -> Workspace:
    """The repository as it will be."""
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection

    return Workspace(str(work.root), Selection([who.customer], ["mail"]), instead={f.file: f.after for f in files})


def _write(root: Path, files: Sequence[Rewritten]) -> None:
    from mspctl import edit

    for one in files:
        there = (root / one.file).exists()
        if one.after != one.before:
            edit.write(root / one.file, one.after, replaces=one.before if there else None, file=one.file)
