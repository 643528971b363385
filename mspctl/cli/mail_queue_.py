"""`mspctl mail queue`: what of a customer's mail waits."""

from __future__ import annotations

import click

from mspctl.cli import mail_servers, options
from mspctl.exits import Exit

HELP = """Show what of a customer's mail waits on its mail servers, since when and why; the longest first."""


@click.command("queue", help=HELP, short_help="What of it waits.")
@click.argument("customer")
@mail_servers.address
@options.output("text", "json")
@click.pass_obj
def command(directory: str | None, customer: str, address: str | None, form: str) -> Exit:
    from mspctl.mail_log import held
    from mspctl.report import mail_log as report

    servers = mail_servers.Servers(directory, customer)
    whose, wanted = servers.whose, servers.wanted(address)
    answers = servers.ask(lambda name: [*held.waiting(servers.targets.logs(name).queue(whose.own), whose, wanted)])
    waiting = sorted((message for _, found in answers for message in found), key=lambda message: message.since)
    if form == "json":
        mail_servers.say([report.queue_as_json(servers.heading(), waiting)])
    else:
        mail_servers.say(report.queue(servers.heading(), waiting, mail_servers.width()))
    return servers.exit_code
