"""`mspctl secret`: put secrets where they are looked for, and hand passwords over."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from mspctl.cli import console
from mspctl.exits import Exit

if TYPE_CHECKING:
    from mspctl.cli.workspace import Workspace
    from mspctl.hand_over import HandOver
    from mspctl.keep import Place, Standing

LENGTH = click.IntRange(12, 100)


@click.group("secret", help="Put secrets where they are looked for; hand passwords over.")
def command() -> None:
    pass


SET = """Keep a secret in the encrypted file of its owner: CUSTOMER NAME, or --target TARGET NAME.

It is asked for without an echo, or read from stdin, as it is but for one line end; never from the command line, which
others can see. NAME may be what the target's driver calls it (password)."""


@command.command("set", help=SET, short_help="Keep a secret that somebody types or pipes in.")
@click.argument("names", nargs=-1, required=True, metavar="[CUSTOMER] NAME")
@click.option("-t", "--target", metavar="TARGET", help="A target's secret, not a customer's.")
@click.pass_obj
def set_(directory: str | None, names: tuple[str, ...], target: str | None) -> Exit:
    from mspctl import keep

    work, place = _opened(directory, names, target)
    value = _asked(place.name)
    there = keep.put(work.targets.store, place, value)
    console.say(f"{place.name} is {'another one now' if there else 'kept'} in {place.file}.")
    _say_next(place, there)
    return Exit.DONE


GENERATE = """Make a secret and keep it, unseen: CUSTOMER NAME, or --target TARGET NAME.

Letters and digits that nobody takes for each other, in groups of five."""


@command.command("generate", help=GENERATE, short_help="Make a secret and keep it, unseen.")
@click.argument("names", nargs=-1, required=True, metavar="[CUSTOMER] NAME")
@click.option("-t", "--target", metavar="TARGET", help="A target's secret, not a customer's.")
@click.option("--length", type=LENGTH, default=20, show_default=True, help="Letters and digits, hyphens not counted.")
@click.option("--replace", is_flag=True, help="Although there is one, which is then gone.")
@click.pass_obj
def generate(directory: str | None, names: tuple[str, ...], target: str | None, length: int, replace: bool) -> Exit:
    from mspctl import hashes, keep

    work, place = _opened(directory, names, target)
    there = keep.put(work.targets.store, place, hashes.made(length), replace=replace)
    console.say(f"{place.name} was made and is kept in {place.file}.")
    _say_next(place, there)
    return Exit.DONE


BIND = """Have a target's secret go where the target is now, and nowhere else: after its address was changed.

It needs the password of the encrypted file, which whoever changes an address by a pull request does not have."""


@command.command("bind", help=BIND, short_help="Let a target's secret go to its new address.")
@click.argument("name")
@click.option("-t", "--target", required=True, metavar="TARGET", help="Whose address counts.")
@click.pass_obj
def bind(directory: str | None, name: str, target: str) -> Exit:
    from mspctl import keep

    work, place = _opened(directory, (name,), target)
    before = keep.bind(work.targets.store, place)
    was = f" (before: {', '.join(before) or 'to anywhere'})" if before != [*place.bound_to] else ""
    console.say(f"{place.name} goes to {', '.join(place.bound_to)}, and nowhere else{was}.")
    return Exit.DONE


HAND_OVER = """Show a password that was made for somebody, once, and forget it; without ADDRESS, what waits.

It is shown on a terminal, on a screen of its own, until somebody says that it was taken."""


@command.command("hand-over", help=HAND_OVER, short_help="Show a password that was made, once; or what waits.")
@click.argument("customer")
@click.argument("address", required=False)
@click.option("--to", metavar="TEXT", help="Who gets it, for the record; unless it is said, the mailbox's owner.")
@click.option("--print", "printed", is_flag=True, help="Print it although this is no terminal.")
@click.option("--forget", is_flag=True, help="Forget it, and show it to nobody.")
@click.pass_obj
def hand_over(
    directory: str | None, customer: str, address: str | None, to: str | None, printed: bool, forget: bool
) -> Exit:
    from mspctl import hand_over, keep

    work, _ = _opened(directory, (customer, "X"), None)
    held = hand_over.HandOver(work.targets.store)
    waiting = held.waiting(customer)
    records = work.ledger.recorded([*map(keep.scope_of, waiting)]) if waiting else {}
    found = keep.standings(work.estate, customer, waiting, records)
    if address is None:
        return _list(held, customer, found)
    one = keep.chosen(found, address)
    return _forget(work, held, customer, one) if forget else _show(work, held, customer, one, to, printed)


def _opened(directory: str | None, names: tuple[str, ...], target: str | None) -> tuple[Workspace, Place]:
    from mspctl import keep
    from mspctl.cli.workspace import Workspace
    from mspctl.desired import Selection

    if len(names) != (1 if target else 2):
        raise click.UsageError("write CUSTOMER NAME, or --target TARGET NAME")
    if target:
        work = Workspace(directory, Selection())
        return work, keep.of_target(work.estate, target, names[0])
    work = Workspace(directory, Selection([names[0]]))
    return work, keep.of_customer(work.estate, *names)


def _asked(name: str) -> bytes:
    """From a terminal without an echo, twice; else all that stdin has, without the line end that `echo` puts there."""
    from mspctl.errors import InputError
    from mspctl.secrets import MAX_BYTES

    if sys.stdin.isatty():
        typed = click.prompt(name, hide_input=True, confirmation_prompt="Once more", err=True)
        value = str(typed).encode("utf-8", "surrogateescape")
    else:
        value = sys.stdin.buffer.read(MAX_BYTES + 2).removesuffix(b"\n")
    if not value:
        raise InputError.at("stdin", "is empty (pipe the secret in, or run this on a terminal)")
    if len(value) > MAX_BYTES:
        raise InputError.at("stdin", f"is larger than {MAX_BYTES // 1024} KiB, too large for a secret")
    return value


def _say_next(place: Place, there: bool) -> None:
    from mspctl.secrets import PREFIX

    if place.bound_to:
        console.hint(f"It goes to {', '.join(place.bound_to)}, and nowhere else.")
    if not place.asked_for:
        console.hint(f"Nothing asks for {place.name} yet.")
    elif there and place.file.startswith("customers/"):
        console.hint(f"What has it already learns of it with a new rev: {', '.join(place.asked_for)}")
    variable = f"{PREFIX}{place.name}"
    if os.environ.get(variable) or os.environ.get(f"{variable}_FILE"):
        console.hint(f"The environment has {variable} too, and that counts first.")


# -- handing over -----------------------------------------------------------------------------------------------


def _list(held: HandOver, customer: str, found: list[Standing]) -> Exit:
    for one in found:
        later = f": {one.not_yet}" if one.not_yet else ""
        renamed = f" (now {one.address})" if one.address != one.made.address else ""
        console.say(f"waits        {one.made}{renamed}{later}")
    for past in held.past(customer):
        console.say(f"handed over  {past.what}, to {past.to}, by {past.by}, {past.when}")
    ready = [one for one in found if not one.not_yet]
    if ready:
        console.hint(f"To hand one over: mspctl secret hand-over {customer} {ready[0].address}")
    elif not found:
        console.say("No password waits for anybody.")
    return Exit.DONE


def _show(work: Workspace, held: HandOver, customer: str, one: Standing, to: str | None, printed: bool) -> Exit:
    from mspctl.cli.workspace import now, who
    from mspctl.errors import InputError

    if one.not_yet:
        raise InputError.at("ADDRESS", f"the password of {one.made} cannot be handed over: {one.not_yet}")
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if not (terminal or printed):
        raise InputError.at("stdout", "is no terminal; whoever reads it keeps the password (say --print to allow that)")
    if not to and not one.name and not terminal:
        raise InputError.at("--to", "is needed: who gets the password? (mail.yaml does not name the mailbox's owner)")
    to = to or (str(click.prompt("Who gets it", default=one.name or None, err=True)) if terminal else one.name)
    secret = held.password(customer, one.made)
    if printed and not terminal:
        console.reveal(secret)
    elif not console.shown_once(f"{one.address}, for {to}:", secret, "Was it taken? Then it is forgotten here"):
        console.say(f"The password of {one.address} goes on waiting.")
        return Exit.DONE
    held.forget(customer, one.made, secret, to, who(work.root).partition(" <")[0], now())
    console.hint(f"The password of {one.made} was handed over to {to}, and is forgotten here.")
    return Exit.DONE


def _forget(work: Workspace, held: HandOver, customer: str, one: Standing) -> Exit:
    from mspctl.cli.workspace import now, who

    held.forget(customer, one.made, None, "nobody", who(work.root).partition(" <")[0], now())
    console.say(f"The password of {one.made} is forgotten; a new rev makes a new one.")
    return Exit.DONE
