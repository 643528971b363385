"""`mspctl gitlab pipeline`: the pipeline that applies what was merged, or what a schedule does."""

from __future__ import annotations

import click

from mspctl.cli import console
from mspctl.exits import Exit

HELP = """Print the child pipeline that applies what was merged since --base; or that looks for drift of all customers,
does what time made due, or makes the live tests that are due."""

SCHEDULED = ("drift", "due", "prove")


@click.command("pipeline", help=HELP)
@click.argument("kind", type=click.Choice(["apply", *SCHEDULED]))
@click.option("--base", metavar="REF", help="What was merged since then is applied: a commit.")
@click.option("--shards", default=8, show_default=True, type=click.IntRange(1, 40), help="Jobs at most.")
@click.pass_obj
def command(directory: str | None, kind: str, base: str | None, shards: int) -> Exit:
    from mspctl.affected import affected
    from mspctl.cli.workspace import find_root
    from mspctl.forge import pipeline

    if (kind == "apply") is not (base is not None):
        raise click.UsageError("what is applied is what was merged since a --base, and only that")
    found = affected(find_root(directory), base or "0", shards, merged=True)
    scheduled = {"drift": pipeline.of_drift, "due": pipeline.of_due, "prove": pipeline.of_prove}
    if not found.shards:
        text = pipeline.of_nothing("No customer is touched.")
    else:
        text = scheduled[kind](found) if base is None else pipeline.of_apply(found, base)
    console.say(text, end="")
    return Exit.DONE
