"""What other sections say in a customer's zones, put beside what is written by hand. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mspctl.kinds import dns
from mspctl.kinds.dns import Awaited, Derived
from mspctl.model import sections
from mspctl.resource import UNKNOWN, Id, Resource, Scope, Value

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Inventory

Outputs = Mapping[Scope, Mapping[str, Value]]


def by_zone(customer: Customer, inventory: Inventory, outputs: Outputs | None = None) -> dict[str, list[Derived]]:
    """
    Zone → what follows in it from the customer's other sections; those name a zone that is there.

    `outputs`: what scopes have handed out, as far as it is known.
    """
    found: dict[str, list[Derived]] = defaultdict(list)
    zones = getattr(customer.sections["dns"], "zones", {})
    for section in customer.sections:
        module = sections.module(section)
        for one in module.follows(customer, inventory, outputs or {}) if hasattr(module, "follows") else ():
            within = [z for z in zones if one.name == z or one.name.endswith(f".{z}")]
            if within:
                found[max(within, key=len)].append(one)
    return found


def clashes(zone: str, written: Sequence[Resource], derived: Sequence[Derived]) -> Iterator[tuple[Resource, Derived]]:
    """What is written by hand, and says something else than what is derived, or cannot stand beside it."""
    own = {r.id: r for r in written}
    types: dict[str, list[tuple[str, Resource]]] = defaultdict(list)
    for resource in written:
        owner, rtype = dns.owner_type(resource.id)
        types[owner].append((rtype, resource))
    said: dict[Id, set[str | Awaited]] = defaultdict(set)
    for one in derived:
        said[_id(zone, one)].add(one.value)
    for one in derived:
        id_ = _id(zone, one)
        if id_ in own and _contradicts(own[id_], one, said[id_]):
            yield own[id_], one
        for rtype, resource in types[dns.owner_type(id_)[0]]:
            if rtype != one.rtype and "CNAME" in (rtype, one.rtype):
                yield resource, one


def _contradicts(resource: Resource, one: Derived, said: set[str | Awaited]) -> bool:
    values = dns.values_of(resource)
    if not one.tag:
        return not said.issuperset(values)
    mine = [v for v in values if dns.content(v).upper().startswith(one.tag.upper().encode())]
    return any(value != one.value for value in mine)


def joined(
    zone: str, ttl: int, written: Sequence[Resource], derived: Sequence[Derived], outputs: Outputs
) -> list[Resource]:
    """All RRsets of a zone. A value that nobody knows yet makes its RRset wait."""
    found = {r.id: r for r in written}
    for one in derived:
        id_, value = _id(zone, one), _value(one, outputs)
        before = found.get(id_) or Resource(id_, {"ttl": ttl, "values": frozenset()}, one.source)
        values = before.fields["values"]
        both: Value = values | {value} if isinstance(values, frozenset) and isinstance(value, str) else UNKNOWN
        found[id_] = Resource(id_, {**before.fields, "values": both}, before.source)
    return [*found.values()]


def written(
    zone: str, wanted: Mapping[Id, Resource | None], derived: Sequence[Derived]
) -> tuple[dict[Id, Resource | None], list[tuple[str, Derived]]]:
    """Of RRsets that a zone shall have, what is to be written by hand; and what cannot be, because it is derived."""
    rest = dict(wanted)
    held = {i: dns.values_of(r) if r else [] for i, r in wanted.items()}
    against = [(r.id.name, one) for r, one in clashes(zone, [r for r in wanted.values() if r], derived)]
    for one in derived:
        id_ = _id(zone, one)
        if id_ not in rest:
            continue
        if one.value not in held[id_] and isinstance(one.value, str):
            against.append((id_.name, one))
        resource = rest[id_]
        values = frozenset(v for v in dns.values_of(resource) if v != one.value) if resource else frozenset()
        rest[id_] = Resource(id_, {**resource.fields, "values": values}) if resource and values else None
    return rest, against


def _value(one: Derived, outputs: Outputs) -> Value:
    if isinstance(one.value, str):
        return one.value
    handed_out = outputs.get(one.value.scope, {}).get(one.value.output, UNKNOWN)
    return dns.quoted(handed_out.encode()) if isinstance(handed_out, str) and handed_out else UNKNOWN


def _id(zone: str, one: Derived) -> Id:
    return Id(dns.KIND, f"{dns.fold_owner(f'{one.name}.', zone)} {one.rtype}")
