"""`mspctl gitlab fetch`: the plan that was reviewed, from the job that kept it."""

from __future__ import annotations

import re
from pathlib import Path

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Fetch the plans that a job kept (see reviewed) into a new folder."""

INDEX = "index"  # the file that names the others
_PLAN = re.compile(r"[0-9]{1,3}\.plan\.json", re.ASCII)


@click.command("fetch", help=HELP)
@click.argument("job", type=click.IntRange(1))
@click.option("--into", required=True, metavar="FOLDER", type=click.Path(path_type=Path), help="A new folder.")
def command(job: int, into: Path) -> Exit:
    from mspctl.cli import forge
    from mspctl.errors import InputError, Unreachable

    gitlab = forge.gitlab()
    try:
        names = gitlab.file_of(job, INDEX).decode("ascii", "replace").split()
        if not names or not all(map(_PLAN.fullmatch, names)):
            raise InputError.at("", f"what the job {job} kept is no plan")
        files = {name: gitlab.file_of(job, name) for name in names}
    except Unreachable as error:
        console.error(f"{error}; nothing is applied before what was reviewed is here (run the job again)")
        return Exit.UNREACHABLE
    into.mkdir(parents=True)
    for name, content in files.items():
        (into / name).write_bytes(content)
    return Exit.DONE
