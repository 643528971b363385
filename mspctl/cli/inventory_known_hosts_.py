"""`mspctl inventory known-hosts`: pinned keys, for other programs that use SSH."""

from __future__ import annotations

import click

from mspctl.cli import console, options
from mspctl.exits import Exit


@click.command("known-hosts", help="Print the pinned keys of hosts, as OpenSSH's known_hosts, by their full names.")
@options.customers
@click.pass_obj
def command(directory: str | None, customers: tuple[str, ...]) -> Exit:
    from mspctl.cli.inventory_ansible_ import reached_hosts
    from mspctl.transports import ssh

    console.say(ssh.known_hosts(reached_hosts(directory, customers)).rstrip("\n"))
    return Exit.DONE
