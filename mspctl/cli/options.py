"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def selection(command: F) -> F:
    """--customer, --section, --target: which part of the estate."""
    for option in (
        click.option("-t", "--target", "targets", multiple=True, metavar="NAME", help="Only what lives there."),
        click.option("-s", "--section", "sections", multiple=True, metavar="NAME", help="Only this section (dns, …)."),
        click.option("-c", "--customer", "customers", multiple=True, metavar="NAME", help="Only this customer."),
    ):
        command = option(command)
    return command


def output(*forms: str) -> Callable[[F], F]:
    """--output FORM."""
    choice = click.Choice(forms)
    return click.option("-o", "--output", "form", type=choice, default="text", show_default=True, help="How to say it.")


def name_resources(paths: tuple[str, ...]) -> bool:
    """Whether every path names a resource (`dns/acme.example/www A`), not a scope."""
    return bool(paths) and all(path.count("/") >= 2 for path in paths)
