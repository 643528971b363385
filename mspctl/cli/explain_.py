"""`mspctl explain`: what a value is and where it comes from."""

from __future__ import annotations

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Say what a value is, in which file and line it stands, and whether a baseline brought it.

PLACE is FILE#PATH: customers/acme/dns.yaml#zones.acme.example.ttl, or
customers/acme/dns/acme.example.yaml#www.A. Without #PATH, the whole file with everything below it."""


@click.command("explain", help=HELP)
@click.argument("place")
@click.pass_obj
def command(directory: str | None, place: str) -> Exit:
    from mspctl.cli.workspace import find_root
    from mspctl.explain import explain

    file, _, path = place.partition("#")
    for line in explain(find_root(directory), file, path):
        console.say(line)
    return Exit.DONE
