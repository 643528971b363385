"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """--customer, --section, --target and paths: which part of the estate, handed on as one `selected`."""

    @functools.wraps(command)
    def selecting(
        *args: Any, customers: tuple[str, ...], sections: tuple[str, ...], targets: tuple[str, ...], **kwargs: Any
    ) -> Any:
        from mspctl.desired import Selection

        selected = Selection(customers, sections, targets, kwargs.pop("paths"))
        return command(*args, selected=selected, **kwargs)

    chosen: Callable[..., Any] = selecting
    for option in (
        click.argument("paths", metavar="[PATH]...", nargs=-1),
        click.option("-t", "--target", "targets", multiple=True, metavar="NAME", help="Only what lives there."),
        click.option("-s", "--section", "sections", multiple=True, metavar="NAME", help="Only this section (dns, …)."),
        click.option("-c", "--customer", "customers", multiple=True, metavar="NAME", help="Only this customer."),
    ):
        chosen = option(chosen)
    return chosen


def customers(command: F) -> F:
    """--customer alone."""
    return click.option("-c", "--customer", "customers", multiple=True, metavar="NAME", help="Only this customer.")(
        command
    )


def how_far(command: Callable[..., Any]) -> Callable[..., Any]:
    """--limit and --since: how much of a history; 20 entries when neither says."""

    @functools.wraps(command)
    def limited(*args: Any, limit: int | None, since: datetime | None, **kwargs: Any) -> Any:
        day = since and since.replace(tzinfo=UTC)
        return command(*args, limit=20 if limit is None and since is None else limit, since=day, **kwargs)

    chosen: Callable[..., Any] = limited
    day = click.DateTime(["%Y-%m-%d"])
    for option in (
        click.option("--since", type=day, metavar="DAY", help="What happened on DAY (2027-03-05) and later."),
        click.option("-n", "--limit", type=click.IntRange(1), help="Entries to show: 20, with --since all."),
    ):
        chosen = option(chosen)
    return chosen


def output(*forms: str) -> Callable[[F], F]:
    """--output FORM."""
    choice = click.Choice(forms)
    return click.option("-o", "--output", "form", type=choice, default="text", show_default=True, help="How to say it.")


def kept(command: F) -> F:
    """--report FILE."""
    text = "Keep what is reported, for mspctl comment and mspctl issue."
    return click.option("--report", "report", metavar="FILE", help=text)(command)


def engine(command: F) -> F:
    """--engine."""
    choice = click.Choice(["mspctl", "pulumi"])
    text = "Whose customers: ours, or those that Pulumi carries out."
    return click.option("--engine", type=choice, default="mspctl", show_default=True, help=text)(command)


def rings(command: F) -> F:
    """--rings."""
    text = "Ring by ring, as inventory/rings.yaml has it."
    return click.option("--rings", "ringed", is_flag=True, help=text)(command)


def asked(command: Callable[..., Any]) -> Callable[..., Any]:
    """--ticket and --asked-by, handed on as one `said`."""

    @functools.wraps(command)
    def asking(*args: Any, tickets: tuple[str, ...], asked_by: tuple[str, ...], **kwargs: Any) -> Any:
        from mspctl.asked import Trailer, Trailers

        by = [Trailer("--asked-by", name) for name in asked_by]
        return command(*args, said=Trailers([Trailer("--ticket", each) for each in tickets], by), **kwargs)

    chosen: Callable[..., Any] = asking
    for option in (
        click.option("--asked-by", multiple=True, metavar="NAME", help="The customer's contact who asked for it."),
        click.option("--ticket", "tickets", multiple=True, metavar="TEXT", help="Where it was asked for."),
    ):
        chosen = option(chosen)
    return chosen


def exit_zero(command: F) -> F:
    """--exit-zero."""
    text = "End with 0 although something differs or gives no answer."
    return click.option("--exit-zero", is_flag=True, help=text)(command)


def name_resources(paths: tuple[str, ...]) -> bool:
    """Whether every path names a resource (`dns/acme.example/www A`), not a scope."""
    return bool(paths) and all(path.count("/") >= 2 for path in paths)
