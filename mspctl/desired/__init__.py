"""
Models → resources, grouped by scope: what Git says now. Pure: (customer, inventory, outputs, today) → declarations.

One file per section, of the section's name, with `declare(customer, inventory, outputs, today)`, and
`scopes(customer)`, which needs no record files. A value that another scope has not made yet is UNKNOWN, and its scope
is finished in a second wave of the same apply.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib import import_module
from typing import Protocol

from mspctl.errors import InputError
from mspctl.fields import Mode, Model, SectionModel
from mspctl.load import Estate
from mspctl.model.permissions import NONE, Permissions
from mspctl.resource import Cause, Id, Resource, Scope, Value

Outputs = Mapping[Scope, Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What Git says about one scope."""

    scope: Scope
    resources: Sequence[Resource]
    source: str = ""  # the file a person edits
    mode: Mode = "enforce"
    ignore: tuple[str, ...] = ()  # patterns of resource names that belong to somebody else
    also: frozenset[Cause] = frozenset()  # causes besides pending that an apply ends here
    permissions: Permissions = NONE  # what the customer's folder lets pass today
    gone: bool = False  # the scope left Git, and an approval names it: it goes with all that is ours in it


@dataclass(frozen=True, slots=True)
class Selection:
    """Which part of the estate a command is about; empty means all. A path is `facet[/scope[/resource]]`."""

    customers: Sequence[str] = ()
    sections: Sequence[str] = ()
    targets: Sequence[str] = ()
    paths: Sequence[str] = ()

    def covers(self, scope: Scope) -> bool:
        if self.customers and scope.customer not in self.customers:
            return False
        if self.targets and scope.target not in self.targets:
            return False
        full = f"{scope.facet}/{scope.name}"
        return not self.paths or any(_within(full, path) or _within(path, full) for path in self.paths)

    def wants(self, scope: Scope, id_: Id) -> bool:
        """Whether one resource of a covered scope is meant."""
        full = f"{scope.facet}/{scope.name}/{id_.name}"
        return not self.paths or any(_within(full, path) for path in self.paths)


def _within(name: str, path: str) -> bool:
    return name == path or name.startswith(path.rstrip("/") + "/")


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One file before and after an adoption."""

    file: str
    before: str
    after: str
    adopted: int  # resources


class Back(Protocol):
    """What a section's `back` module can do."""

    def rewrite(self, estate: Estate, customer: str, name: str, adopted: Mapping[Id, Resource | None]) -> Rewritten: ...


def names() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def declarations(estate: Estate, selection: Selection, outputs: Outputs, today: date) -> Iterator[Declaration]:
    """Every declaration of the selected customers, sections and targets."""
    for section in names():
        if selection.sections and section not in selection.sections:
            continue
        module = import_module(f"{__name__}.{section}")
        for customer in estate.customers.values():
            if section not in customer.sections:
                continue
            for declaration in module.declare(customer, estate.inventory, outputs, today):
                if selection.covers(declaration.scope):
                    mode = _mode(customer.sections[section]) or customer.info.mode
                    yield replace(declaration, mode=mode, permissions=customer.permissions.on(today))


def _mode(section: Model) -> Mode | None:
    return section.mode if isinstance(section, SectionModel) else None


def scopes(estate: Estate) -> Iterator[Scope]:
    """Where every customer has something declared, those included whose records were not asked for."""
    for section in names():
        module = import_module(f"{__name__}.{section}")
        for customer in estate.everyone.values():
            if section in customer.sections:
                yield from module.scopes(customer)


def back(facet: str) -> Back:
    """The way back to YAML for the resources of a facet."""
    for section in names():
        if facet in import_module(f"{__name__}.{section}").FACETS:
            module: Back = import_module(f"{__name__}.{section}.back")
            return module
    raise InputError.at("", f"what lives in {facet} cannot be written to YAML")
