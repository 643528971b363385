"""`mspctl firewall open`: somebody is let through."""

from __future__ import annotations

import click

from mspctl.cli import console, editing, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

HELP = """Write what lets somebody through into the firewall's YAML, and show the plan.

Who, to what and for what: addresses, objects or zones, as `lan:10.20.1.60` where the zone does not follow; `self` is
the device. A private host that is reached from outside gets a forward (`--to nvr:443`: to another port there), all else
a rule, which is placed where it counts. Times are the customer's.

\b
    mspctl firewall open acme sede --from 198.51.100.24 --to nvr --service tcp/8443 --until '2027-03-12 18:00'
"""


@click.command("open", help=HELP, short_help="Let somebody through.")
@proposing.option
@click.argument("customer")
@click.argument("site", required=False)
@click.option("--from", "source", multiple=True, required=True, metavar="WHO", help="An address, object or zone.")
@click.option("--to", required=True, metavar="WHERE", help="A host, an object, a zone, or self.")
@click.option("--service", "services", multiple=True, required=True, metavar="NAME", help="https, tcp/8443 and so on.")
@click.option("--until", metavar="TIME", help="When it closes itself: a last day, or a time.")
@click.option("--schedule", metavar="NAME", help="At which hours only; one of the file's schedules.")
@click.option("--log", is_flag=True, help="Each connection is logged on the device.")
@click.option("--why", metavar="TEXT", help="The reason, for whoever meets it later.")
@click.option("--asked-by", metavar="NAME", help="The contact of the customer who asked for it.")
@click.option("--ticket", metavar="TEXT", help="Where it was asked for.")
@click.option("--id", "name", default="", metavar="ID", help="What it is called; made from the rest unless it is said.")
@editing.approve_option
@editing.dry_run_option
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    site: str | None,
    source: tuple[str, ...],
    to: str,
    services: tuple[str, ...],
    until: str | None,
    schedule: str | None,
    log: bool,
    why: str | None,
    asked_by: str | None,
    ticket: str | None,
    name: str,
    approve: str | None,
    dry_run: bool,
    wish: Wish,
) -> Exit:
    from mspctl import doors, people
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.edit import Bare

    work = Workspace(directory, Selection([customer]))
    where = doors.door(work.estate, customer, site)
    said = {"log": Bare("true") if log else None, "schedule": schedule, "until": Bare(until) if until else None}
    said |= {"why": why, "asked_by": asked_by, "ticket": ticket}
    more = {key: value for key, value in said.items() if value is not None}
    made = doors.opened(where, doors.Wish(source, to, services, more, name))
    if not made.edits:
        for what, text in made.words:
            console.say(f"{what} {text}")
        return Exit.DONE
    edited = people.edited(work.estate, where, made.edits, made.entry, doors.CALLED)
    return editing.finish(
        work,
        where,
        edited,
        made.words,
        dry_run=dry_run,
        approve=approve,
        wish=wish,
        done=f"firewall open {' '.join([*source, to, *services])}",
        why=why or "",
    )
