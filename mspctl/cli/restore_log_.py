"""`mspctl restore log`: who asked for files of a customer's, and what was given."""

from __future__ import annotations

import click

from mspctl.cli import console, options
from mspctl.exits import Exit


@click.command(
    "log", help="Show who asked for what, and what was given back; the newest first.", short_help="Who got what."
)
@click.argument("customer")
@options.output("text", "json")
@click.pass_obj
def command(directory: str | None, customer: str, form: str) -> Exit:
    import json

    from mspctl.cli.workspace import find_root, now
    from mspctl.ledger import Ledger
    from mspctl.load import load
    from mspctl.report import restore as report

    root = find_root(directory)
    estate = load(root, [customer], now())
    entries = Ledger.open(root).restores(customer)
    if form == "json":
        console.say(json.dumps({"format": "mspctl.restores/1", "restores": entries}, indent=2, ensure_ascii=False))
        return Exit.DONE
    for line in report.log(customer, entries, estate.customers[customer].info.timezone):
        console.say(line)
    return Exit.DONE
