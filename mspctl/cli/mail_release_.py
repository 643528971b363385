"""`mspctl mail release`: let messages go that are held, in quarantine or in Junk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from mspctl.cli import console, mail_servers, options
from mspctl.cli.mail_servers import Servers
from mspctl.exits import Exit
from mspctl.kinds.mail_log import Junk, Waiting

HELP = """Let messages go that are held: from quarantine on their way, from Junk to the inbox.

Without MESSAGE, shows what is held, each with its id. Who wanted it is written into the server's mail log."""

EVER = datetime.fromtimestamp(0, UTC)
Held = tuple[str, Waiting | Junk]  # with the server that holds it


@click.command("release", help=HELP, short_help="Let go what is held.")
@click.argument("customer")
@click.argument("messages", metavar="[MESSAGE]...", nargs=-1)
@mail_servers.since("14d", "Of Junk, what came since")
@mail_servers.address
@click.option("-y", "--yes", is_flag=True, help="Do not ask on a terminal.")
@options.output("text", "json")
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    messages: tuple[str, ...],
    since: str,
    address: str | None,
    yes: bool,
    form: str,
) -> Exit:
    servers = Servers(directory, customer)
    servers.look_back(since)
    return _release(servers, messages, yes) if messages else _show(servers, address, form)


def _show(servers: Servers, address: str | None, form: str) -> Exit:
    from mspctl.report import mail_log as report

    whole = address if address and servers.whose.owns(address) and not address.startswith("@") else None
    mailboxes = [whole] if whole else [f"@{domain}" for domain in sorted(servers.whose.own)]
    wanted, since = servers.wanted(address), servers.since or EVER
    waiting = [message for _, message in _in_quarantine(servers) if any(map(wanted, message.addresses))]
    junk = [message for _, message in _in_junk(servers, mailboxes, since) if wanted(message.address)]
    if form == "json":
        mail_servers.say([report.held_as_json(servers.heading(), waiting, junk)])
    else:
        mail_servers.say(report.held(servers.heading(), waiting, junk, mail_servers.width()))
    return servers.exit_code


def _in_quarantine(servers: Servers) -> list[tuple[str, Waiting]]:
    from mspctl.mail_log import held

    answers = servers.ask(
        lambda name: [*held.waiting(servers.targets.logs(name).queue(servers.whose.own), servers.whose)]
    )
    return [(name, message) for name, found in answers for message in found if message.held]


def _in_junk(servers: Servers, mailboxes: Sequence[str], since: datetime) -> list[tuple[str, Junk]]:
    from mspctl.mail_log import held

    answers = servers.ask(lambda name: [*held.junk(servers.targets.logs(name).junk(mailboxes, since), servers.whose)])
    return [(name, message) for name, found in answers for message in found]


def _release(servers: Servers, ids: Sequence[str], yes: bool) -> Exit:
    from mspctl.kinds.mail_log import folded
    from mspctl.report import mail_log as report

    named = list(dict.fromkeys(folded(id_) if "@" in id_ else id_ for id_ in ids))
    mailboxes = sorted({id_.rpartition(":")[0] for id_ in named if servers.whose.owns(id_.rpartition(":")[0])})
    held: list[Held] = [*_in_quarantine(servers)] if any("@" not in id_ for id_ in named) else []
    held += _in_junk(servers, mailboxes, EVER) if mailboxes else []
    chosen = [one for id_ in named for one in _chosen(servers, held, id_)]
    for _, message in chosen:
        console.say(report.released(message))
    if chosen and not yes and sys.stdin.isatty():
        click.confirm("Release?", abort=True)
    done = sum(_let_go(servers, name, message) for name, message in chosen)
    for name, error in servers.failed:
        console.error(f"{name}: {error}")
    if done == len(named):
        return Exit.DONE
    return Exit.PARTLY if done else servers.exit_code or Exit.ERROR


def _chosen(servers: Servers, held: Sequence[Held], id_: str) -> list[Held]:
    """The message that is meant, if there is one and it may be released for this customer."""
    found = [one for one in held if one[1].id == id_]
    whole = [one for one in found if isinstance(one[1], Junk) or not one[1].others]
    if len(found) == len(whole) == 1:
        return found
    if len(found) > 1:
        console.error(f"{id_!r} is held on several servers: decide it there")
    elif found:
        console.error(f"{id_} is for somebody else too, and goes to all or none: decide it on {found[0][0]} itself")
    elif not servers.failed:  # else nobody knows
        console.error(f"{id_!r} is not held (mspctl mail release {servers.customer} shows what is)")
    return []


def _let_go(servers: Servers, name: str, message: Waiting | Junk) -> bool:
    from mspctl.cli.workspace import who

    with servers.asking(name):
        servers.targets.releases(name).release(message, who(servers.root))
        console.say(f"{message.id} is released.")
        return True
    return False
