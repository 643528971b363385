"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
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


def output(*forms: str) -> Callable[[F], F]:
    """--output FORM."""
    choice = click.Choice(forms)
    return click.option("-o", "--output", "form", type=choice, default="text", show_default=True, help="How to say it.")


def name_resources(paths: tuple[str, ...]) -> bool:
    """Whether every path names a resource (`dns/acme.example/www A`), not a scope."""
    return bool(paths) and all(path.count("/") >= 2 for path in paths)
