"""`mspctl gitlab plan`: the pipeline that plans a merge request, as its webhook asks for it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.forge.gitlab import GitLab

HELP = """Print the child pipeline that plans a merge request, for a job on the protected branch.

PAYLOAD is a file with what the webhook said; of that only the number is believed, and GitLab is asked for the rest. The
merge of the request into what is checked out is made in the folder --into. A merge request of a fork, and one that
changes what runs, gets no plan; a status of its last commit says so."""

MOST = 1024 * 1024  # characters of a payload


@click.command("plan", help=HELP)
@click.argument("payload", type=click.Path(path_type=Path))
@click.option("--into", required=True, metavar="FOLDER", type=click.Path(path_type=Path), help="A new folder.")
@click.option("--shards", default=8, show_default=True, type=click.IntRange(1, 40), help="Jobs at most.")
@click.pass_obj
def command(directory: str | None, payload: Path, into: Path, shards: int) -> Exit:
    from mspctl.cli import forge
    from mspctl.cli.workspace import find_root
    from mspctl.forge import pipeline

    number = wanted(payload)
    root = find_root(directory)
    console.say(
        _planned(forge.gitlab(), root, number, into, shards)
        if number
        else pipeline.of_nothing("What was said of the merge request changes no plan."),
        end="",
    )
    return Exit.DONE


def _planned(gitlab: GitLab, root: Path, number: int, into: Path, shards: int) -> str:
    from mspctl.affected import affected
    from mspctl.errors import Error
    from mspctl.forge import pipeline
    from mspctl.forge.merging import merged
    from mspctl.forge.review import name_of

    pull = gitlab.pull(number)
    if not pull.open or pull.into != gitlab.main:
        return pipeline.of_nothing(f"It is not open, or not for {gitlab.main}.")
    if pull.fork:
        return pipeline.of_nothing("It comes from a fork, and gets no plan.")
    url = os.environ.get("CI_PIPELINE_URL", "")

    def tell(state: str, text: str) -> None:
        gitlab.status(pull.head, state=state, text=text, url=url)

    tell("running", "It is being planned")
    try:
        merged(root, number, pull.head, into)
        found = affected(into, "HEAD^1", shards)
    except Error as error:
        with suppress(Error):  # what was wrong first is told
            tell("failed", _first_line(error))
        raise
    if found.program:
        return _without(tell, "It changes what runs, and gets no plan: plan from main once it is merged")
    if not found.shards:
        return _without(tell, "No customer is touched")
    return pipeline.of_plan(found, number, pull.head, name_of(number, pull.head))


def _without(tell: Callable[[str, str], None], why: str) -> str:
    from mspctl.forge import pipeline

    tell("success", why)
    return pipeline.of_nothing(why)


def wanted(payload: Path) -> int:
    """The number of the merge request whose plan a webhook's payload makes untrue; 0 for none. Raises InputError."""
    from mspctl.errors import InputError

    try:
        said = json.loads(payload.read_text(encoding="utf-8")[:MOST])
        of = said["object_attributes"] if said["object_kind"] == "merge_request" else {}
        action, number = of.get("action"), int(of.get("iid") or 0)
        changed = "oldrev" in of or {"target_branch", "merge_status"} & {*(said.get("changes") or {})}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        text = "is no payload of a merge request's webhook ($TRIGGER_PAYLOAD)"
        raise InputError.at(str(payload), f"{text}: {type(error).__name__}") from None
    return number if action in ("open", "reopen") or (action == "update" and changed) else 0


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
