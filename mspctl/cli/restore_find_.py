"""`mspctl restore find`: which versions of a file backups hold."""

from __future__ import annotations

import click

from mspctl.cli import console, options, restoring
from mspctl.exits import Exit

HELP = """Show which versions of files a host's backups hold, the newest first.

PATTERN is a name or a path, with * and ? as in a shell: 'prices*.xlsx', /srv/data/prices.xlsx. Whether letters are
large or small does not matter. Nothing is written."""


@click.command("find", help=HELP, short_help="Show which versions there are.")
@click.argument("customer")
@click.argument("host")
@click.argument("pattern", callback=restoring.pattern)
@click.option("--at", metavar="WHEN", help="As of then: a day, a time ('2027-03-05 14:00'), or so long ago (2h, 3d).")
@click.option("--job", metavar="NAME", help="Only in copies of this job.")
@options.output("text", "json")
@click.pass_obj
def command(
    directory: str | None, customer: str, host: str, pattern: str, at: str | None, job: str | None, form: str
) -> Exit:
    from mspctl.report import restore as report

    restoring_ = restoring.Restoring(directory, customer, host, job, at)
    said = restoring_.ask("find", pattern, 1800)
    about = report.About(customer, host, pattern, restoring_.zone, restoring_.now)
    for line in report.found(about, said) if form == "text" else [report.found_as_json(about, said)]:
        console.say(line)
    for name, why in said["failed"].items():
        console.error(f"backup {name} could not be searched: {why}")
    if said["failed"]:
        return Exit.PARTLY if said["found"] else Exit.ERROR
    return Exit.DONE
