"""`mspctl ledger`: look after the record of what was applied."""

from __future__ import annotations

from datetime import datetime

import click

from mspctl.cli import console, options
from mspctl.exits import Exit


@click.group("ledger", help="Look after the record of what was applied.")
def command() -> None:
    pass


@command.command("init", help="Start an empty ledger on the branch `ledger`.")
@click.pass_obj
def init(directory: str | None) -> Exit:
    from mspctl.cli.workspace import find_root
    from mspctl.ledger import Ledger

    ledger = Ledger.init(find_root(directory))
    console.say(f"An empty ledger starts at {ledger.tip[:12]} on the branch ledger.")
    return Exit.DONE


@command.command("push", help="Send outcomes, and branches of emergencies, that could not be pushed.")
@click.option("--open-pr", is_flag=True, help="Open pull requests of emergencies that have none.")
@click.pass_obj
def push(directory: str | None, open_pr: bool) -> Exit:
    from mspctl.cli import urgent
    from mspctl.cli.workspace import find_root
    from mspctl.emergency import send
    from mspctl.ledger import Ledger

    root = find_root(directory)
    ledger = Ledger.open(root)
    ledger.push()
    console.say(f"The ledger is at {ledger.tip[:12]}.")
    for branch in send(root):
        console.say(f"The branch {branch} is pushed; merge it.")
    if open_pr:
        urgent.propose(root)
    return Exit.DONE


@command.command("log", help="What was applied, newest first.")
@options.how_far
@click.pass_obj
def log(directory: str | None, limit: int | None, since: datetime | None) -> Exit:
    from mspctl.cli.workspace import find_root
    from mspctl.ledger import Ledger
    from mspctl.report.history import lines

    for line in lines(Ledger.open(find_root(directory)).history(limit=limit, since=since)):
        console.say(line)
    return Exit.DONE


COMPACT = """Take out what is past its time, and drop the history of what drift runs saw.

What was applied, by whom and when stays: the ledger's own history is never rewritten."""


@command.command("compact", help=COMPACT)
@click.pass_obj
def compact(directory: str | None) -> Exit:
    from datetime import UTC

    from mspctl.cli.workspace import find_root, who
    from mspctl.ledger import Ledger
    from mspctl.observations import Observations

    root = find_root(directory)
    observations = Observations(root)
    ledger = Ledger.open(root, beside=[observations.branch])
    pages = len(ledger.pages())
    count = ledger.compact(who(root))
    console.say(f"The ledger: {pages:,} scopes; {count:,} held something past its time, which is gone.")
    runs = observations.squash(who(root), datetime.now(UTC))
    console.say(f"The observations: {runs:,} commits, now {min(runs, 1)}.")
    return Exit.DONE
