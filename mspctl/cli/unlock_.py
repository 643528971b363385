"""`mspctl unlock`: who holds what; break the lock of a run that died."""

from __future__ import annotations

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Show who holds which lock, or break locks.

Without NAME, --run and --expired, only shows them. Break a lock when the run that holds it is dead: a run that is
alive notices and stops before its next write."""


@click.command("unlock", help=HELP)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--run", metavar="ID", help="Break all locks of this run.")
@click.option("--expired", is_flag=True, help="Break only locks that are over.")
@click.pass_obj
def command(directory: str | None, names: tuple[str, ...], run: str | None, expired: bool) -> Exit:
    from mspctl.cli.workspace import find_root
    from mspctl.locks import Locks

    locks = Locks(find_root(directory))
    found = locks.holders()
    breaks = bool(names or run or expired)
    unknown = [name for name in names if name not in {lock.name for lock in found}]
    chosen = [
        lock
        for lock in found
        if (not names or lock.name in names) and (not run or lock.run == run) and (lock.stale or not expired)
    ]
    for name in unknown:
        console.error(f"{name} is not locked")
    for lock in chosen:
        console.say(str(lock))
    if not chosen:
        console.say("Nothing to break." if breaks else "Nothing is locked.")
    if not breaks:
        return Exit.DONE
    broken = locks.break_all(chosen)
    for lock in chosen:
        if lock not in broken:
            console.error(f"{lock.name} was renewed or released in between; look again")
    if broken:
        console.say(f"{len(broken)} lock{' is' if len(broken) == 1 else 's are'} broken.")
    return Exit.ERROR if unknown or len(broken) < len(chosen) else Exit.DONE
