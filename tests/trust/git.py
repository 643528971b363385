"""What Git says, as data: an estate small enough to be said in one line, and every edit that a pull request makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from mspctl.desired import Declaration
from mspctl.fields import Mode
from mspctl.model.permissions import Acceptance, Approval, Permission, Permissions
from mspctl.resource import Cause, Id, Resource, Scope, Value
from tests.drivers.memory import SOLE, THING

FACET = "things"
SECRET = "secret"  # the one field that can be written and never be read
BOX = "box"  # holds data

Place = str  # "north@one": a scope and its target
Typed = Mapping[str, str | int]  # fields as somebody types them; tags are letters
Held = dict[str, Value]


def id_of(name: str) -> Id:
    return Id(SOLE if name == BOX else THING, name)


def target_of(place: Place) -> str:
    return place.partition("@")[2]


def name_of(place: Place) -> str:
    return place.partition("@")[0]


def place_of(scope: Scope) -> Place:
    return f"{scope.name}@{scope.target}"


def value(name: str, typed: str | int) -> Value:
    return frozenset(typed) if name == "tags" and isinstance(typed, str) else typed


def accepted(fields: Mapping[str, Value]) -> Held:
    """As the target will hold them: sizes in tens, rounded up, and labels in lower case."""
    held = dict(fields)
    if isinstance(size := held.get("size"), int):
        held["size"] = -(-size // 10) * 10
    if isinstance(label := held.get("label"), str):
        held["label"] = label.lower()
    return held


@dataclass
class Section:
    """What a customer's file says of one scope."""

    customer: str
    resources: dict[str, Held] = field(default_factory=dict)
    mode: Mode = "enforce"
    also: frozenset[Cause] = frozenset()  # what it opts in to, besides what Git changed
    gone: Approval | None = None  # it left Git, and this lets it go


@dataclass
class Git:
    sections: dict[Place, Section] = field(default_factory=dict)
    approvals: dict[str, list[Approval]] = field(default_factory=dict)  # by customer
    accepted: dict[str, list[Acceptance]] = field(default_factory=dict)

    def section(self, place: Place, customer: str) -> Section:
        """The one that is there, or a new one."""
        return self.sections.setdefault(place, Section(customer))

    def rename(self, old: str, new: str) -> None:
        for section in self.sections.values():
            if section.customer == old:
                section.customer = new
        self.approvals.setdefault(new, []).extend(self.approvals.pop(old, []))
        self.accepted.setdefault(new, []).extend(self.accepted.pop(old, []))

    def approval(self, place: Place, name: str, today: date) -> list[Approval]:
        """Those of the scope's customer that name this resource and are not over, used or not."""
        if gone := self.sections[place].gone:
            return [gone]
        found = self.approvals.get(self.sections[place].customer, [])
        return [a for a in found if _names(a, place, name) and a.until >= today]

    def is_accepted(self, place: Place, name: str, today: date) -> bool:
        found = self.accepted.get(self.sections[place].customer, [])
        return self.sections[place].gone is None and any(_names(a, place, name) and a.until >= today for a in found)

    def declarations(self, today: date) -> Iterator[Declaration]:
        for place, section in self.sections.items():
            scope = Scope(target_of(place), FACET, name_of(place), section.customer)
            resources = [Resource(id_of(n), dict(fields), f"{place}:1") for n, fields in section.resources.items()]
            found = Permissions(
                tuple(self.approvals.get(section.customer, ())), tuple(self.accepted.get(section.customer, ()))
            )
            made = Declaration(scope, resources, f"customers/{section.customer}/things.yaml", section.mode)
            if section.gone:
                yield replace(made, permissions=Permissions((section.gone,)), gone=True)
            else:
                yield replace(made, also=section.also, permissions=found.on(today))


def _names(permission: Permission, place: Place, name: str) -> bool:
    return permission.resource in (f"{FACET}/{name_of(place)}", f"{FACET}/{name_of(place)}/{name}")
