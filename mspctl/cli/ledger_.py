"""`mspctl ledger`: look after the record of what was applied."""

from __future__ import annotations

import click

from mspctl.cli import console
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
@click.pass_obj
def push(directory: str | None) -> Exit:
    from mspctl.cli.workspace import find_root
    from mspctl.emergency import send
    from mspctl.ledger import Ledger

    root = find_root(directory)
    ledger = Ledger.open(root)
    ledger.push()
    console.say(f"The ledger is at {ledger.tip[:12]}.")
    for branch in send(root):
        console.say(f"The branch {branch} is pushed; merge it.")
    return Exit.DONE


@command.command("log", help="What was applied, newest first.")
@click.option("-n", "--limit", default=20, show_default=True, help="Entries to show.")
@click.pass_obj
def log(directory: str | None, limit: int) -> Exit:
    from mspctl.cli.workspace import find_root
    from mspctl.ledger import Ledger
    from mspctl.report.history import lines

    for line in lines(Ledger.open(find_root(directory)).history(limit=limit)):
        console.say(line)
    return Exit.DONE
