"""`mspctl restore get`: give somebody their files back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from mspctl.cli import console, options, restoring
from mspctl.exits import Exit

HELP = """Restore files from the newest copy of a host that has them, on the host.

They go into a new folder (/var/restored/…, or --to), are compared with the copy, and nothing is overwritten. With
--in-place they go where they were, and what is overwritten is kept in that folder. Who asked for what, and what was
given, is recorded in the ledger. PATTERN is as for `restore find`."""


@click.command("get", help=HELP, short_help="Restore files, into a new folder.")
@click.argument("customer")
@click.argument("host")
@click.argument("pattern", callback=restoring.pattern)
@click.option("--asked-by", required=True, metavar="WHO", help="Who wanted it: a name or an address.")
@click.option("--ticket", default="", metavar="TEXT", help="Where that is written down.")
@click.option(
    "--at", metavar="WHEN", help="As it was then: a day, a time ('2027-03-05 14:00'), or so long ago (2h, 3d)."
)
@click.option("--job", metavar="NAME", help="Only from copies of this job.")
@click.option("--to", metavar="FOLDER", help="A new folder on the host.")
@click.option("--in-place", is_flag=True, help="To where it was; what is overwritten is kept.")
@click.option("-y", "--yes", is_flag=True, help="With --in-place: do not ask on a terminal.")
@options.output("text", "json")
@click.pass_obj
def command(
    directory: str | None,
    customer: str,
    host: str,
    pattern: str,
    asked_by: str,
    ticket: str,
    at: str | None,
    job: str | None,
    to: str | None,
    in_place: bool,
    yes: bool,
    form: str,
) -> Exit:
    from mspctl.cli.workspace import RUN_ID
    from mspctl.errors import TargetError

    for name, text in (("--asked-by", asked_by), ("--ticket", ticket)):
        if not text.isprintable() or (name == "--asked-by" and not text.strip()):
            raise click.UsageError(f"{name} should be one line of text")
    asked = restoring.Restoring(directory, customer, host, job, at)
    folder = _folder(to) if to else f"/var/restored/{RUN_ID.lower()}"
    if in_place and not yes and sys.stdin.isatty():
        click.confirm(f"Put {pattern} of {host} back to where it was, and over what is there now?", abort=True)
    wish: dict[str, object] = {"customer": customer, "host": host, "pattern": pattern, "in_place": in_place}
    wish |= {"asked_by": asked_by.strip(), "ticket": ticket}
    wish |= {"at": asked.until.isoformat()} if asked.until else {}
    record = _Record(asked, wish)
    record.write({})
    try:
        said = asked.ask("get", pattern, 4 * 3600, to=folder, in_place=in_place)
    except TargetError as error:
        record.write({"error": str(error)})
        console.error(f"not given back: {error}")
        return Exit.ERROR
    kept = record.write({"given": dict(said)})
    _tell(asked, said, wish, form)
    if said["wrong"] or said["failed"]:
        return Exit.PARTLY
    return Exit.DONE if kept else Exit.ERROR


def _tell(asked: restoring.Restoring, said: Mapping[str, Any], wish: Mapping[str, object], form: str) -> None:
    from mspctl.report import restore as report

    about = report.About(asked.customer, asked.host, str(wish["pattern"]), asked.zone, asked.now)
    if form == "json":
        console.say(report.given_as_json(about, said, wish))
    else:
        console.say("\n".join(report.given(about, said, bool(wish["in_place"]))))
    for why in said["failed"]:
        console.error(f"another backup could not be searched: {why}")


def _folder(text: str) -> str:
    from mspctl.kinds.backup import fold_path

    try:
        folder = fold_path(text)
    except ValueError as error:
        raise click.UsageError(f"--to: {error}") from None
    if folder == "/":
        raise click.UsageError("--to: name a folder that is not there yet")
    return folder


class _Record:
    """In the ledger, before anything is restored and when it is over: it is evidence, and is never forgotten."""

    def __init__(self, asked: restoring.Restoring, wish: dict[str, object]) -> None:
        from mspctl.cli.workspace import RUN_ID, head, who
        from mspctl.git.command import Away
        from mspctl.ledger import Ledger
        from mspctl.record import Run

        self.asked, self.wish = asked, wish
        self.run = Run(RUN_ID, who(asked.root), head(asked.root), str(wish["ticket"]))
        try:
            self.ledger = Ledger.open(asked.root)
        except Away as error:
            console.hint(f"the record of this stays here until `mspctl ledger push` sends it: {error}")
            self.ledger = Ledger.open(asked.root, alone=True)

    def write(self, more: dict[str, object]) -> bool:
        """Raises LedgerError at first; what was done and cannot be recorded is told instead."""
        from mspctl.errors import LedgerError

        try:
            self.ledger.restored(self.run, str(self.wish["customer"]), self.wish | more)
        except LedgerError as error:
            if not more:
                raise
            console.error(f"what was given back could not be recorded: {error}")
            return False
        return True
