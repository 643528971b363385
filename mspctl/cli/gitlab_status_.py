"""`mspctl gitlab status`: where a plan is kept, on the last commit of its merge request."""

from __future__ import annotations

import os
from pathlib import Path

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Say on a merge request's last commit that it is planned, and which job keeps the plan: this one."""


@click.command("status", help=HELP)
@click.argument("files", metavar="REPORT...", nargs=-1, required=True)
@click.option("--head", required=True, metavar="COMMIT", help="The last commit of the merge request.")
@click.option("--of", "jobs", required=True, type=click.IntRange(1), metavar="NUMBER", help="How many jobs there were.")
def command(files: tuple[str, ...], head: str, jobs: int) -> Exit:
    from mspctl.cli import forge
    from mspctl.errors import InputError, Unreachable

    here = sum(Path(file).is_file() for file in files)
    url = os.environ.get("CI_JOB_URL", "")
    if not url:
        raise InputError.at("", "CI_JOB_URL is not set: it is a job that keeps a plan")
    whole = here == jobs
    text = "It is planned" if whole else f"Only {here} of {jobs} jobs made a plan"
    try:
        forge.gitlab().status(head, state="success" if whole else "failed", text=text, url=url)
    except Unreachable as error:
        console.error(f"{error}; nobody finds the plan before this is said (run the job again)")
        return Exit.UNREACHABLE
    console.say(text)
    return Exit.DONE
