"""`mspctl replace-ip`: another address wherever one stands."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from mspctl.cli import console, proposing
from mspctl.cli.proposing import Wish
from mspctl.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Rewritten

HELP = """Write NEW wherever the address OLD stands in the YAML, and show the plan.

Zones, SPF, firewall objects, allow lists, and what the inventory publishes. With --lower-ttl-first, only the TTLs of
what answers with OLD are lowered: apply that, wait until the old ones have run out, then run it again without."""


@click.command("replace-ip", help=HELP)
@proposing.option
@click.argument("old")
@click.argument("new")
@click.option("-c", "--customer", "customers", multiple=True, metavar="NAME", help="Only this customer's files.")
@click.option("--lower-ttl-first", is_flag=True, help="First phase: short TTLs, the address stays.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the edits and write nothing.")
@click.pass_obj
def command(
    directory: str | None,
    old: str,
    new: str,
    customers: tuple[str, ...],
    lower_ttl_first: bool,
    dry_run: bool,
    wish: Wish,
) -> Exit:
    from mspctl import adopt, replace_ip
    from mspctl.cli.adopt_ import diff
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.errors import InputError

    was, is_ = replace_ip.address(old, "OLD"), replace_ip.address(new, "NEW")
    if was.version != is_.version:
        raise InputError.at("NEW", f"{new} is IPv{is_.version}, and {old} is IPv{was.version} (one cannot replace it)")
    work = Workspace(directory, Selection(customers))
    declared = work.declare({})
    left: list[replace_ip.Left] = []
    if lower_ttl_first:
        files = replace_ip.lower_ttls(work.estate, declared, was)
    else:
        files, left = replace_ip.rewrite(work.root, replace_ip.files(work.root, customers), was, is_)
    for line in diff(files):
        console.say(line)
    for one in left:
        console.hint(f"{one.place}: {one.why} (look at it)")
    ttls = replace_ip.ttls(declared, was)
    if not files:
        short = f"The TTLs are short already: {_longest(ttls)}." if lower_ttl_first and ttls else ""
        console.say(short or f"{old} stands nowhere.")
        return Exit.DONE
    if not dry_run:
        _write(work, files)
        _plan(directory, customers)
    if wish.wanted and not dry_run:
        adopt.write(work.root, [_back(one) for one in files])
        phase = "TTLs are lowered first." if lower_ttl_first else ""
        words = ["replace-ip", old, new, *customers, *(["ttl"] if lower_ttl_first else [])]
        proposing.propose(work.root, wish, words, phase, {one.file: one.after for one in files})
    _say_until(ttls, old, new, lower_ttl_first)
    return Exit.DONE


def _write(work: Workspace, files: Sequence[Rewritten]) -> None:
    """All files, or, when what they say together is wrong, none."""
    from mspctl import adopt
    from mspctl.errors import InputError
    from mspctl.load import load

    adopt.write(work.root, files)
    try:
        load(work.root, work.selection.customers)
    except InputError:
        adopt.write(work.root, [_back(one) for one in files])
        raise


def _back(one: Rewritten) -> Rewritten:
    from dataclasses import replace

    return replace(one, before=one.after, after=one.before)


def _plan(directory: str | None, customers: Sequence[str]) -> None:
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection
    from mspctl.report import plans, render

    work = Workspace(directory, Selection(customers))
    console.say(render(plans.of_plan(work.plan(), work.estate.warnings), "text"))


def _longest(ttls: Mapping[str, int]) -> str:
    from mspctl.kinds import spoken_duration

    name = max(ttls, key=lambda one: ttls[one])
    return f"{name}, {spoken_duration(ttls[name])}"


def _say_until(ttls: Mapping[str, int], old: str, new: str, lower_ttl_first: bool) -> None:
    from mspctl.cli.workspace import now

    if not ttls:
        return
    until = now() + timedelta(seconds=max(ttls.values()))
    lives = f"the old answer lives for as long as its TTL was ({_longest(ttls)}): until {until:%a %H:%M} UTC"
    if lower_ttl_first:
        console.say(f"When this is applied now, {lives}. Then: mspctl replace-ip {old} {new}")
    else:
        console.say(f"When this is applied now, {lives}.")
