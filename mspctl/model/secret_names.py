"""
Secrets that a customer's YAML names: which, where, and to whom they are sent.

They are the customer's own. What inventory/ names is a target's, and whoever may write a customer's file must not have
it put on the customer's hosts, or sent to a server that the file names: where secrets come from the environment, both
are looked for under the same name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from mspctl.fields import PLACE, SECRET, Model, meaning
from mspctl.model import sections
from mspctl.model.base import dotted
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.strict_yaml import Map, Mark, Problems, find


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    path: str  # "repositories.vault.login"
    mark: Mark | None
    goes: frozenset[str]  # servers of others; none: what is the customer's own

    @property
    def shared(self) -> bool:
        """Whether a baseline names it, for all who have it."""
        return self.mark is not None and self.mark.file.startswith("inventory/")


def named(customer: Customer) -> Iterator[Named]:
    seen = set()
    for part, data in _parts(customer):
        for path, name, of in meaning(part, SECRET):
            one = Named(name, dotted(path), find(data, path), frozenset(text for _, text, _ in meaning(of, PLACE)))
            if one not in seen:
                seen.add(one)
                yield one


def _parts(customer: Customer) -> Iterator[tuple[Model, Map]]:
    """Its sections, and what was found beside them, each with its YAML."""
    for section, model in customer.sections.items():
        yield model, customer.data[section]
        if hasattr(module := sections.module(section), "parts"):
            yield from module.parts(customer.files.get(section) or {})


def check(customers: Collection[Customer], inventory: Inventory, problems: Problems) -> None:
    owners = {name: f"target {each}" for each, it in inventory.targets.items() for name in it.secrets.values()}
    owners |= dict(inventory.secrets_beside_targets())
    for customer in customers:
        for each in named(customer) if owners else ():
            if each.name in owners:
                text = f"is no secret of a customer: {owners[each.name]} has it (take another name)"
                problems.add(each.mark, each.path, f"{each.name} {text}")
