"""`mspctl notify`: what drift runs reported, to whoever inventory/notify.yaml names."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.cli.workspace import Workspace
    from mspctl.model.inventory import Destination
    from mspctl.notified import Notified
    from mspctl.report.as_message import Message
    from mspctl.report.view import View

HELP = """Tell whoever inventory/notify.yaml names what is new in what drift --report kept.

Nobody is told twice, and what was not delivered is told by the next run. Where nothing is new nothing is said, but for
a sign of life now and then. It ends with 3 when something was not delivered."""

ALIVE = {"each-run": timedelta(0), "day": timedelta(days=1), "week": timedelta(days=7), "never": None}
OWNER = "inventory/notify.yaml"


@click.command("notify", help=HELP)
@click.argument("files", metavar="[REPORT]...", nargs=-1)
@click.option("--of", "jobs", type=click.IntRange(1), metavar="NUMBER", help="How many jobs there were.")
@click.option("--test", is_flag=True, help="Send everybody a message that says it is a test, and nothing else.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the messages and send none.")
@click.pass_obj
def command(directory: str | None, files: tuple[str, ...], jobs: int | None, test: bool, dry_run: bool) -> Exit:
    from mspctl.cli import forge
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection

    if test is bool(files):
        raise click.UsageError("name what drift --report kept, or --test and nothing")
    shown, whole = forge.of_jobs(files, jobs) if files else (None, True)
    if shown and shown.kind != "drift":
        raise click.UsageError("only what drift --report kept is told")
    work = Workspace(directory, Selection())
    said = work.estate.inventory.notify
    if not said.notify and not said.ping:
        console.say("Nobody is to be told: inventory/notify.yaml names no one.")
        return Exit.DONE
    if test:
        return _ended([_sent(work, name, it, _test()) for name, it in said.notify.items()])
    assert shown is not None, "without --test there is a report"
    return _tell(work, shown, dry_run, missing=not whole)


def _tell(work: Workspace, shown: View, dry_run: bool, *, missing: bool) -> Exit:
    from mspctl.cli.workspace import RUN_ID, head, who
    from mspctl.notified import NOTHING
    from mspctl.record import Run
    from mspctl.report.as_message import message

    said = work.estate.inventory.notify
    known = work.observations.notified()
    delivered: dict[str, Notified] = {}
    ends = []
    for name, it in said.notify.items():
        before, alive = known.get(name, NOTHING), ALIVE[it.alive]
        new = message(shown, it.customers, before, work.now, everything=it.tell == "everything", alive=alive)
        if not new.title:
            console.say(f"{name}: nothing is new")
            delivered |= {name: new.after} if new.after != before else {}
        elif dry_run:
            console.say(f"# {name}: {new.title}\n\n{new.text}")
        else:
            ends.append(_sent(work, name, it, new))
            delivered |= {name: new.after} if ends[-1] else {}
    if delivered and not dry_run:
        run = Run(RUN_ID, who(work.root), head(work.root))
        work.observations.record_notified(run, delivered, [*said.notify], work.now)
    if said.ping and not dry_run and not missing:
        ends.append(_pinged(work, said.ping))
    return _ended(ends)


def _test() -> Message:
    from mspctl.notified import NOTHING
    from mspctl.report.as_message import Message

    return Message("mspctl: a test", "This is a test of inventory/notify.yaml. Nobody has to do anything.\n", NOTHING)


def _sent(work: Workspace, name: str, it: Destination, new: Message) -> bool:
    from mspctl.errors import SecretError, TargetError
    from mspctl.secrets import redact
    from mspctl.transports import notifying

    try:
        address = work.targets.store.for_target(OWNER, {name: it.url})[name]
        notifying.send(address, redact(new.title), redact(new.text))
    except (SecretError, TargetError) as error:
        console.error(f"{name}: {error}")
        return False
    console.say(f"{name}: told ({new.title.partition(': ')[2]})")
    return True


def _pinged(work: Workspace, secret: str) -> bool:
    from mspctl.errors import SecretError, TargetError
    from mspctl.transports import notifying

    try:
        notifying.ping(work.targets.store.for_target(OWNER, {"ping": secret})["ping"])
    except (SecretError, TargetError) as error:
        console.error(f"ping: {error}")
        return False
    return True


def _ended(ends: list[bool]) -> Exit:
    return Exit.DONE if all(ends) else Exit.PARTLY
