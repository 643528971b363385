"""Mail domains → what their zones say. `model/sections/mail/publish.py` derives it, `desired/dns` takes it in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from mspctl.desired import Declaration, Outputs
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.resource import Scope

FACETS = ()


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    yield from ()


def scopes(customer: Customer) -> Iterator[Scope]:
    yield from ()
