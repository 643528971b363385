"""`mspctl firewall explain`: which rule decides about a packet."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Say what becomes of a packet, and which rule decides.

SOURCE and DESTINATION are ZONE:ADDRESS, with an object's name in place of an address if there is one; `self` is the
device. SERVICE is https, tcp/8443, ping and so on. For what Git says, and with --live for what the device does.

\b
    mspctl firewall explain acme sede wan:198.51.100.24 self tcp/8443
    mspctl firewall explain acme sede guest:10.30.0.7 lan:nvr https --live
"""


@click.command("explain", help=HELP)
@click.argument("customer")
@click.argument("site")
@click.argument("source")
@click.argument("destination")
@click.argument("service")
@click.option("--live", is_flag=True, help="Ask the device as well.")
@click.option(
    "--at", type=click.DateTime(["%Y-%m-%d %H:%M"]), metavar="TIME", help="At this time in UTC; by default now."
)
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    site: str,
    source: str,
    destination: str,
    service: str,
    live: bool,
    at: datetime | None,
) -> Exit:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection, declarations
    from mspctl.driver import Failed, Others
    from mspctl.explain_packet import asked, device, lines
    from mspctl.kinds.firewall import FACET
    from mspctl.kinds.packets import Other

    work = Workspace(directory, Selection([customer], [FACET]))
    when = at.replace(tzinfo=UTC) if at else work.now
    packet = asked(device(work.estate, customer, site), source, destination, service, when)
    made = declarations(work.estate, work.selection, work.outputs(), when)  # with clocks as they are set then
    declared = next(each for each in made if each.scope.name == site)
    resources = {"Git": declared.resources}
    besides: Sequence[Other] = ()
    if live:
        reader = work.targets.reader(declared.scope)
        (answer,) = reader.read([declared.scope], {})
        if isinstance(answer, Failed):
            raise answer.error
        resources["live"] = answer.resources
        besides = reader.others(answer, packet) if isinstance(reader, Others) else ()
    for line in lines(resources, packet, besides):
        console.say(line)
    return Exit.DONE
