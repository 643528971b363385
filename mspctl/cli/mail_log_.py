"""`mspctl mail log`: what happened to a customer's mail."""

from __future__ import annotations

import click

from mspctl.cli import mail_servers, options
from mspctl.exits import Exit

HELP = """Show what happened to a customer's mail, the latest last: from the logs of its mail servers.

Without --kind, everything; error is what was bounced, deferred or refused, spam what was rejected, marked, greylisted
or held, auth log-ins that failed."""


@click.command("log", help=HELP, short_help="What happened to it.")
@click.argument("customer")
@click.option("--kind", type=click.Choice(["error", "spam", "auth"]), help="Only this kind.")
@mail_servers.since("1d", "What happened since")
@mail_servers.address
@options.output("text", "json")
@click.pass_obj
def command(directory: str | None, customer: str, kind: str | None, since: str, address: str | None, form: str) -> Exit:
    from mspctl import mail_log
    from mspctl.report import mail_log as report

    servers = mail_servers.Servers(directory, customer)
    begin, wanted = servers.look_back(since), servers.wanted(address)
    entries = []
    for name, log in servers.ask(lambda name: mail_log.read(servers.targets.logs(name), servers.whose, begin, wanted)):
        entries += log.entries
        servers.notes += [f"{file} on {name} is damaged: what it holds may be missing" for file in log.damaged]
        servers.notes += [f"{file} on {name} is not there: what it would say is missing" for file in log.missing]
        if log.told_from:
            told = servers.heading().day(log.told_from)
            servers.notes.append(f"{name} has too much to tell: what was before {told} may be missing (narrow --since)")
    shown = sorted((e for e in entries if kind in (None, e.kind)), key=lambda entry: entry.last)
    if form == "json":
        mail_servers.say([report.log_as_json(servers.heading(), shown)])
    else:
        mail_servers.say(report.log(servers.heading(), shown, mail_servers.width()))
    return servers.exit_code
