"""`mspctl mail end`: end what people have open."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.resource import Scope
    from mspctl.targets import Targets

HELP = """End the IMAP and POP3 sessions of mailboxes, at once; nothing else of them changes.

For sessions that drift found of somebody who is switched off or gone, and for an account that somebody took over (give
it a new password first: who can log in comes back)."""


@click.command("end", help=HELP, short_help="End what people have open.")
@click.argument("customer")
@click.argument("addresses", metavar="ADDRESS...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@click.pass_obj
def command(directory: str | None, customer: str, addresses: tuple[str, ...], yes: bool) -> Exit:
    from mspctl import people
    from mspctl.cli.workspace import find_root, now
    from mspctl.load import load
    from mspctl.targets import Targets

    estate = load(find_root(directory), [customer], now())
    targets, by_domain = Targets(estate), dict[str, list[str]]()
    for who in (people.person(estate, customer, address) for address in addresses):
        by_domain.setdefault(who.domain, []).append(who.address)
    if not yes and sys.stdin.isatty():
        click.confirm(f"End all sessions of {', '.join(a for found in by_domain.values() for a in found)}?", abort=True)
    ends = [_end(targets, people.scope_of(estate, customer, domain), found) for domain, found in by_domain.items()]
    return next((end for end in ends if end is not Exit.DONE), Exit.DONE)


def _end(targets: Targets, scope: Scope, addresses: list[str]) -> Exit:
    """Of one domain."""
    from mspctl.driver import Ends, translated
    from mspctl.errors import TargetError, Unreachable

    names = ", ".join(addresses)
    try:
        with translated():
            driver = targets.driver(scope)
            if not isinstance(driver, Ends):
                raise TargetError("its driver cannot end sessions")
            count = driver.end(addresses)
    except TargetError as error:
        console.error(f"{names} on {scope.target}: {error}")
        return Exit.UNREACHABLE if isinstance(error, Unreachable) else Exit.ERROR
    ended = "1 session has ended" if count == 1 else f"{count} sessions have ended" if count else "nothing was open"
    console.say(f"{names}: {ended}.")
    return Exit.DONE
