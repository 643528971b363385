"""
Policies of hosts: one for all of a customer's, one for a role, one for a host; what the nearest does not say, the next
one does. The sections `antivirus` and `patching` are made of such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from mspctl.strict_yaml import find, find_value

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.sections.hosts import Entry

P_co = TypeVar("P_co", covariant=True)


class Policies(Protocol[P_co]):
    """A section that has them."""

    @property
    def policy(self) -> P_co: ...
    @property
    def roles(self) -> Mapping[str, P_co]: ...
    @property
    def hosts(self) -> Mapping[str, P_co]: ...


def layers(section: Policies[P_co], name: str, entry: Entry) -> Iterator[tuple[tuple[str, ...], P_co]]:
    """Policies that are about a host, the nearest first, and where each stands."""
    if name in section.hosts:
        yield ("hosts", name), section.hosts[name]
    if entry.role and entry.role in section.roles:
        yield ("roles", entry.role), section.roles[entry.role]
    yield ("policy",), section.policy


def source(customer: Customer, section: str, name: str, entry: Entry, *key: str) -> str:
    """The file and line that says a key of a host's policy."""
    data, said = customer.data[section], cast(Policies[object], customer.sections[section])
    for path, _ in layers(said, name, entry):
        if find_value(data, (*path, *key)) is not None and (mark := find(data, (*path, *key))):
            return f"{mark.file}:{mark.line}"
    return f"customers/{customer.name}/{section}.yaml"
