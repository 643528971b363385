"""`mspctl firewall close`: what was let through is not any more."""

from __future__ import annotations

import click

from mspctl.cli import editing, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

HELP = """Take a rule or forward out of the firewall's YAML, and show the plan.

By its ID, or by what it lets through: --from, --to and --service, as for `open`. With --until it stays, and closes
itself then."""


@click.command("close", help=HELP, short_help="Let somebody through no more.")
@proposing.option
@click.argument("customer")
@click.argument("words", metavar="[SITE] [ID]", nargs=-1)
@click.option("--from", "source", metavar="WHO", help="An address or object, as for open.")
@click.option("--to", metavar="WHERE", help="A host, an object, or self.")
@click.option("--service", metavar="NAME", help="https, tcp/8443 and so on.")
@click.option("--until", metavar="TIME", help="When it closes itself, instead of with the next apply.")
@editing.approve_option
@editing.dry_run_option
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    words: tuple[str, ...],
    source: str | None,
    to: str | None,
    service: str | None,
    until: str | None,
    approve: str | None,
    dry_run: bool,
    wish: Wish,
) -> Exit:
    from mspctl import doors, people
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection

    packet = doors.Wish([source], to, [service], {}) if source and to and service else None
    if packet is None and (source or to or service):
        raise click.UsageError("a packet is said with all of --from, --to and --service")
    if not 0 <= len(words) - (packet is None) <= 1:
        raise click.UsageError("what is closed? (CUSTOMER [SITE] ID, or CUSTOMER [SITE] with a packet)")
    work = Workspace(directory, Selection([customer]))
    where = doors.door(work.estate, customer, words[0] if len(words) - (packet is None) else None)
    name = doors.by_packet(where, doors.declared(work.estate, where), packet, work.now) if packet else words[-1]
    edits = doors.closed(where, name, until)
    edited = people.edited(work.estate, where, edits, edits[-1].path[:-1] if until else ())
    said = [("closes itself", until) if until else ("closed", name)]
    if packet:
        said += doors.still_open(edited.estate, where, packet)
    return editing.finish(
        work, where, edited, said, dry_run=dry_run, approve=approve, wish=wish, done=f"firewall close {name}"
    )
