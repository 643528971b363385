"""`mspctl affected`: which customers a change touches, and how CI shares them among its jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, options
from mspctl.exits import Exit
from mspctl.rings import spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mspctl.affected import Affected, Shard

HELP = """Tell which customers were touched since a commit: by their own files, by their baseline, by the inventory."""


@click.command("affected", help=HELP)
@click.option("--base", required=True, metavar="REF", help="What is committed since then counts: a commit or a branch.")
@click.option("--head", metavar="COMMIT", help="Fail unless what is checked out merges this commit into REF.")
@click.option("--within", metavar="FOLDER", help="Fail unless REF is what is checked out there, or its past.")
@click.option("--merged", is_flag=True, help="It was merged: believe what it says of runners.")
@click.option("--shards", default=8, show_default=True, type=click.IntRange(1, 256), help="Jobs at most.")
@click.option("--runner", default="ubuntu-latest", show_default=True, metavar="LABEL", help="The usual runner.")
@click.option("--matrix", is_flag=True, help="For a workflow: lines for $GITHUB_OUTPUT.")
@options.output("text", "json")
@click.pass_obj
def command(
    directory: str | None,
    base: str,
    head: str | None,
    within: str | None,
    merged: bool,
    shards: int,
    runner: str,
    matrix: bool,
    form: str,
) -> Exit:
    from pathlib import Path

    from mspctl import trusted
    from mspctl.affected import affected, named, touched
    from mspctl.cli.workspace import find_root
    from mspctl.load import load

    root = find_root(directory)
    if head:
        trusted.check_merge(root, head)
    commit = trusted.check_base(root, base, Path(within)) if within else ""
    found = affected(root, base, shards, merged=merged)
    if within:
        main, mine = Path(within), {*found.customers, *found.gone}
        trusted.check_newest(main, commit, lambda paths: named(touched(paths), load(main)) & mine if paths else ())
    if matrix:
        lines = [*_outputs(found, runner)]
    else:
        lines = [json.dumps(_document(found), indent=2)] if form == "json" else [*_told(found)]
    for line in lines:
        console.say(line)
    return Exit.DONE


def _outputs(found: Affected, runner: str) -> Iterator[str]:
    """`name=value`, one a line: no value has line breaks, because none holds what a file is called."""
    jobs = [
        {"shard": number, "options": shard.options, "runner": [*(shard.runner or (runner,))]}
        for number, shard in enumerate(found.shards, 1)
    ]
    yield f"matrix={json.dumps({'include': jobs}, separators=(',', ':'))}"
    yield f"jobs={len(jobs)}"
    # GitHub begins jobs of a matrix in its order; one that begins too early holds what is not its turn yet.
    yield f"parallel={1 if any(shard.rings for shard in found.shards) else max(1, len(jobs))}"
    yield f"any={json.dumps(bool(jobs))}"
    yield f"program={json.dumps(bool(found.program))}"
    yield f"commit={found.commit}"


def _document(found: Affected) -> dict[str, object]:
    said = {"format": "mspctl.affected/1", "base": found.base, "commit": found.commit}
    names: dict[str, object] = {"customers": [*found.customers], "gone": [*found.gone], "program": [*found.program]}
    names["rings"] = [{"name": ring.name, "customers": sorted(ring.customers)} for ring in found.rings]
    return {**said, **names, "shards": [*map(_shard, found.shards)]}


def _shard(shard: Shard) -> dict[str, object]:
    return {"customers": [*shard.customers], "runner": [*shard.runner], "cost": shard.cost}


def _told(found: Affected) -> Iterator[str]:
    yield from found.customers
    yield from (f"{name} left Git" for name in found.gone)
    if len(found.rings) > 1:
        yield spoken(found.rings)
    if found.program:
        first, more = found.program[0], len(found.program) - 1
        shown = first if first.isprintable() else repr(first)
        yield f"changes what runs: {shown}" + (f" and {more:,} more" if more else "")
    if not (found.customers or found.gone or found.program):
        yield "No customer is touched."
