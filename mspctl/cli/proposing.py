"""--open-pr: what a command would write goes into a pull request, and not into the files here."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from mspctl.cli import console


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants said of the pull request; `wanted` is False when they want none."""

    wanted: bool = False
    message: str = ""
    tickets: Sequence[str] = ()
    by: Sequence[str] = field(default_factory=tuple)


def option(command: Callable[..., Any]) -> Callable[..., Any]:
    """--open-pr and what goes with it, handed on as one `wish`."""
    known = {each.name for each in getattr(command, "__click_params__", ())}
    own = {"ticket", "asked_by"} & known  # which say it in the YAML too

    @functools.wraps(command)
    def wishing(*args: Any, open_pr: bool, message: str, **kwargs: Any) -> Any:
        said = kwargs if own else {name: kwargs.pop(name, None) for name in ("ticket", "asked_by")}
        tickets, by = ([said[name]] if said.get(name) else [] for name in ("ticket", "asked_by"))
        return command(*args, wish=Wish(open_pr, message, tickets, by), **kwargs)

    chosen: Callable[..., Any] = wishing
    options = [
        click.option("--open-pr", is_flag=True, help="Into a pull request, and not into the files here."),
        click.option("--message", default="", metavar="TEXT", help="Why, for the commit and the pull request."),
    ]
    if not own:
        options += [
            click.option("--asked-by", metavar="NAME", help="The contact of the customer who asked for it."),
            click.option("--ticket", metavar="TEXT", help="Where it was asked for."),
        ]
    for each in reversed(options):
        chosen = each(chosen)
    return chosen


def propose(root: Path, wish: Wish, words: Sequence[str], why: str, files: Mapping[str, str]) -> None:
    """Open the pull request, or bring it up to date, and say so. Raises LedgerError, and as the forge does."""
    from mspctl.cli import forge
    from mspctl.cli.workspace import now, who
    from mspctl.errors import Unreachable
    from mspctl.forge.proposing import Proposal, propose
    from mspctl.git.commit import Stamp
    from mspctl.secrets import redact

    text = redact("\n".join(filter(None, (wish.message, why))) or f"By: mspctl {' '.join(words[:2])}")
    proposal = Proposal(words, redact(" ".join(words)), text, files, wish.tickets, wish.by)
    try:
        there = forge.connect()
        done = propose(root, there, proposal, Stamp(who(root), now(), proposal.message))
    except Unreachable as error:
        raise Unreachable(f"{error}; the branch {proposal.branch} may be pushed (run this again)") from None
    console.say(f"{there.sign}{done.pull.number} is {'opened' if done.opened else 'up to date'}: {done.branch}")
