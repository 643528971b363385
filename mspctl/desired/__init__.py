"""
Models → resources, grouped by scope: what Git says now. Pure: (customer, inventory, outputs, now) → declarations.

One file per section, of the section's name, with `declare(customer, inventory, outputs, now)`, and `scopes(customer)`,
which needs no record files. `SCOPES` says of each facet what a scope of it is called elsewhere (`dns:Zone`) and which
kinds it holds; sections that share a facet name it alike. A value that another scope has not made yet is UNKNOWN, and
its scope is finished in a second wave of the same apply.

Time is part of what is declared: what ended is not declared any more, what has not begun not yet. A section says in
`timed` which resources are otherwise than they were because of the time alone, gone ones included, and why; that is
all that `apply --due` needs. A mailbox that is disabled until its purge date and then gone is such a resource. What
the target itself says anew each time (addresses of names) is in `follows` as well, so that it is asked.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from importlib import import_module
from typing import Protocol

from mspctl.errors import InputError
from mspctl.fields import Mode, Model, SectionModel
from mspctl.load import Estate
from mspctl.model.customer import Customer, CustomerInfo
from mspctl.model.inventory import Inventory
from mspctl.model.permissions import NONE, Permissions
from mspctl.moments import ALWAYS, Clock, Ending, Hours, Window
from mspctl.proof import Proof, Proving
from mspctl.resource import Cause, Id, Resource, Scope, Value

Outputs = Mapping[Scope, Mapping[str, Value]]


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things of a kind are kept when their line is taken out, and what switches them off meanwhile."""

    days: int
    off: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What Git says about one scope."""

    scope: Scope
    resources: Sequence[Resource]
    source: str = ""  # the file a person edits
    mode: Mode = "enforce"
    ignore: tuple[str, ...] = ()  # patterns of resource names that belong to somebody else
    also: frozenset[Cause] = frozenset()  # causes besides pending that an apply ends here
    seen: Mapping[Id, Resource] | None = None  # what somebody saw live: of else, drift stays; None: they see the plan
    permissions: Permissions = NONE  # what the customer's folder lets pass today
    now: datetime | None = field(default=None, compare=False)  # when it was made; None: nothing in it knows time
    gone: bool = False  # the scope left Git, and an approval names it: it goes with all that is ours in it
    timed: Mapping[Id, str] = field(default_factory=dict)  # what time began or ended, and how: "expired 2027-03-31"
    shifted: Mapping[Id, Sequence[Mapping[str, Value]]] = field(default_factory=dict)  # before clocks were set: fields
    follows: frozenset[Id] = frozenset()  # of these the target itself says what they are, anew each time
    ends: Mapping[Id, Ending] = field(default_factory=dict)  # what will end by itself
    words: Mapping[Id, str] = field(default_factory=dict)  # what resources do, with names people know and their ends
    later: Sequence[Resource] = ()  # what will be declared when its time has come
    hours: Hours = ALWAYS  # when changes may be carried out
    closed: str = ""  # why that is not now: "window opens Sun 28 Mar 05:00 (Europe/Rome)"
    urgent: bool = False  # an emergency waits for no window, and may change what an earlier one left
    backup: Proof | None = None  # the last proof that what the scope holds can be restored
    proving: Proving | None = None
    unproved: str = ""  # why what `proving` is about may not go yet
    keeps: Mapping[str, Keep] = field(default_factory=dict)  # by kind: what is not deleted with its line
    kept: Mapping[Id, date] = field(default_factory=dict)  # such things, each with its last day: see `soft_delete`

    def over(self, kinds: Collection[str]) -> list[Id]:
        """Things of these kinds whose time is over: they are declared no more, and nobody took them out."""
        if not self.timed:
            return []
        declared = {r.id for r in self.resources}
        return [id_ for id_ in self.timed if id_.kind in kinds and id_ not in declared]


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


def once_each(files: Iterable[Rewritten]) -> list[Rewritten]:
    """Each file once. Raises InputError where scopes want it differently, for each knows only its own change."""
    found: dict[str, Rewritten] = {}
    for one in files:
        if found.setdefault(one.file, one).after != one.after:
            raise InputError.at(one.file, "several hosts or domains would change it at once (name one after the other)")
    return [*found.values()]


class Back(Protocol):
    """What a section's `back` module can do."""

    def rewrite(self, estate: Estate, customer: str, name: str, adopted: Mapping[Id, Resource | None]) -> Rewritten: ...


def names() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def declarations(estate: Estate, selection: Selection, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    """Every declaration of the selected customers, sections and targets, as it is at a moment."""
    for section in names():
        if selection.sections and section not in selection.sections:
            continue
        module = import_module(f"{__name__}.{section}")
        for customer in estate.customers.values():
            if section not in customer.sections:
                continue
            allowed = customer.permissions.on(Clock(now, customer.info.timezone).today)
            for declaration in module.declare(customer, estate.inventory, outputs, now):
                if selection.covers(declaration.scope):
                    yield governed(declaration, customer, section, estate.inventory, allowed, now)


def governed(
    declaration: Declaration,
    customer: Customer,
    section: str,
    inventory: Inventory,
    allowed: Permissions,
    now: datetime,
) -> Declaration:
    """With what a customer's files say of all that is declared for them: how far we go, when, and what may pass."""
    mode, window = _said(customer.sections.get(section))
    hours = hours_of(customer.info, window, inventory, declaration.scope.target)
    closed = hours.why_closed(now)
    said = replace(declaration, mode=mode or customer.info.mode, permissions=allowed, now=now)
    return replace(said, hours=hours, closed=closed) if closed or hours.windows else said


def _said(section: Model | None) -> tuple[Mode | None, Window | None]:
    return (section.mode, section.window) if isinstance(section, SectionModel) else (None, None)


def hours_of(info: CustomerInfo | None, window: Window | None, inventory: Inventory, target: str) -> Hours:
    """When changes may be carried out on a target, for a customer and a section with a window of its own or not."""
    system, zone = inventory.targets.get(target), info.timezone if info else "UTC"
    said = [(window or (info.window if info else None), zone)]
    said += [(system.window, system.timezone or zone)] if system else []
    return Hours(tuple((each, where) for each, where in said if each))


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


Holds = Mapping[str, Mapping[str, type]]  # kinds, each with its fields


def of_facets() -> dict[str, tuple[str, Holds]]:
    """What a scope of each facet is called, and which kinds it holds, as sections say."""
    found: dict[str, tuple[str, Holds]] = {}
    for section in names():
        said: Mapping[str, tuple[str, Holds]] = import_module(f"{__name__}.{section}").SCOPES
        for facet, (word, kinds) in said.items():
            found[facet] = word, {**found.get(facet, (word, {}))[1], **kinds}
    return found
