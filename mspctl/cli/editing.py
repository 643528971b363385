"""What commands end with that edit a customer's YAML for somebody at the desk: the edit, the plan, what comes next."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mspctl.cli import console, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Rewritten
    from mspctl.people import Edited, Subject

NO_WISH = Wish()
F = TypeVar("F", bound=Callable[..., Any])

dry_run_option = click.option("-n", "--dry-run", is_flag=True, help="Show the edit and the plan, and write nothing.")
approve_option = click.option(
    "--approve", metavar="WHY", help="Name in approvals.yaml what needs an approval, and why."
)


def finish(
    work: Workspace,
    who: Subject,
    edited: Edited,
    words: Iterable[tuple[str, str]] = (),
    *,
    dry_run: bool,
    approve: str | None = None,
    wish: Wish = NO_WISH,
    done: str = "",
    why: str = "",
) -> Exit:
    """
    Show the edit, write it, and show what an apply would do then. `words` say what follows, by subject. With a `wish`
    it is not written here, but a pull request that says what is `done` and `why`.
    """
    from mspctl import people
    from mspctl.cli.adopt_ import diff
    from mspctl.report import plans, render

    files = [edited.rewritten]
    ahead = _ahead(work, who, files)
    plan = ahead.plan()
    if approve is not None:
        files.append(people.approvals(edited.estate, who, _ahead(work, who, ()).plan(), plan, approve))
        ahead = _ahead(work, who, files)
        plan = ahead.plan()
    for line in diff(files):
        console.say(line)
    said = [*words]
    if said:
        console.say(f"\n{click.style(who.address, bold=True)}")
    for what, text in said:
        console.say(f"  {what:<{max(len(each) for each, _ in said)}}  {text}")
    if not (dry_run or wish.wanted):
        _write(work.root, files)
    console.say("\n" + render(plans.of_plan(plan, ahead.estate.warnings), "text"))
    if wish.wanted and not dry_run:
        changed = {one.file: one.after for one in files if one.after != one.before}
        proposing.propose(work.root, wish, [*done.split(), who.customer, who.address], why, changed)
        return Exit.DONE
    console.say("Nothing was written." if dry_run else people.next_step(who, plan))
    return Exit.DONE


def on_list(kind: str, text: str, short: str, *more: Callable[[F], F]) -> click.Command:
    """A command that adds a line to a domain's list of senders, `allow` or `block`; `more` are options of its own."""

    def command(directory: str | None, domain: str, sender: str, **said: Any) -> Exit:
        customer, approve, dry_run = said.pop("customer"), said.pop("approve"), said.pop("dry_run")
        wish = said.pop("wish")
        return _put_on_list(directory, customer, domain, kind, sender, said, dry_run, approve, wish)

    chosen: Callable[..., Any] = command
    options: list[Callable[..., Any]] = [
        click.argument("customer"),
        click.argument("domain"),
        click.argument("sender"),
        click.option("--why", required=True, metavar="TEXT", help="The reason, for whoever meets it later."),
        *more,
        click.option("--until", metavar="DAY", help="The last day on which it holds."),
        click.option("--asked-by", metavar="NAME", help="The contact of the customer who asked for it."),
        click.option("--ticket", metavar="TEXT", help="Where it was asked for."),
        approve_option,
        dry_run_option,
        click.pass_obj,
    ]
    chosen = proposing.option(functools.reduce(lambda made, option: option(made), reversed(options), chosen))
    return click.command(kind, help=text, short_help=short)(chosen)


def _put_on_list(
    directory: str | None,
    customer: str,
    domain: str,
    kind: str,
    sender: str,
    said: Mapping[str, str | None],
    dry_run: bool,
    approve: str | None,
    wish: Wish,
) -> Exit:
    from mspctl import people
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.edit import Bare
    from mspctl.errors import InputError
    from mspctl.moments import Moment

    work = Workspace(directory, Selection([customer]))
    who = people.everybody(work.estate, customer, domain)
    order = ("must_pass", "why", "until", "asked_by", "ticket")
    typed = {key: value for key in order if (value := said.get(key)) is not None}
    typed |= {"until": Bare(typed["until"])} if "until" in typed else {}
    line = people.listed(who, kind, {"from": sender, **typed})
    edited = people.edited(
        work.estate, who, [line], people.last(work.estate, who, kind), {"": "SENDER", "from": "SENDER"}
    )
    last, zone = said.get("until"), work.estate.customers[customer].info.timezone
    if last and Moment.parse(last).ends(zone) <= work.estate.now:
        raise InputError.at("--until", f"{last} is over")
    verdict = {"allow": "is not taken for spam", "block": "is refused"}[kind]
    passing = f" that passes {said['must_pass']}" if said.get("must_pass") else ""
    until = f", until {said['until']}" if said.get("until") else ""
    words = [(kind, f"mail from {sender}{passing} {verdict}, for {who.domain} only{until}")]
    done = f"mail {kind} {sender}"
    why = said.get("why") or ""
    return finish(work, who, edited, words, dry_run=dry_run, approve=approve, wish=wish, done=done, why=why)


def _ahead(work: Workspace, who: Subject, files: Sequence[Rewritten]) -> Workspace:
    """The repository as it will be."""
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection

    return Workspace(str(work.root), Selection([who.customer], [who.section]), instead={f.file: f.after for f in files})


def _write(root: Path, files: Sequence[Rewritten]) -> None:
    from mspctl import edit

    for one in files:
        there = (root / one.file).exists()
        if one.after != one.before:
            edit.write(root / one.file, one.after, replaces=one.before if there else None, file=one.file)
