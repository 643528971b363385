"""What rules let through and decide about, one held against another; and which zones are outside. Pure sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mspctl.kinds import addresses, services
from mspctl.kinds.firewall import (
    ANY,
    BY_HAND,
    FORWARD,
    MASQUERADE,
    POLICY,
    RAW,
    SELF,
    ZONE,
    rules,
    text,
    texts,
    zones_of,
)
from mspctl.kinds.firewall.times import hours_hold, is_limited
from mspctl.resource import Resource


def outside(resources: Iterable[Resource]) -> frozenset[str]:
    """Zones in which everybody else is: they say so, or others have the device's address there."""
    held = [*resources]
    said = frozenset(r.id.name for r in held if r.id.kind == ZONE and r.fields["outside"])
    return said | beyond(zones_of(r.id.name) for r in held if r.id.kind == MASQUERADE)


def beyond(pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Where others have the device's address, and nobody from there has it elsewhere; within a zone is no matter."""
    there = [(came, goes) for came, goes in pairs if came != goes]
    return frozenset(goes for _, goes in there) - {came for came, _ in there}


def inside_of(was: Iterable[Resource], will: Sequence[Resource]) -> frozenset[str]:
    """Zones that are inside before and then; of what is not known, nothing is."""
    return frozenset(r.id.name for r in will if r.id.kind == ZONE) - outside(was) - outside(will)


def lets_through(resource: Resource) -> bool:
    return resource.id.kind == FORWARD or resource.fields.get("action") == "accept"


def lets_anybody(resource: Resource, inside: frozenset[str] = frozenset()) -> bool:
    """Whether it lets through whoever comes from elsewhere than `inside`."""
    if not lets_through(resource) or comes_from(resource) <= inside:
        return False
    return addresses.is_everybody(texts(resource, "source"))


def comes_from(resource: Resource) -> frozenset[str]:
    return frozenset({text(resource, "zone")}) if resource.id.kind == FORWARD else texts(resource, "from")


def between(rule: Resource, came: str, goes: str) -> bool:
    """Whether a rule is about what goes from one zone to another; `any` is not the device itself."""
    to = texts(rule, "to")
    return bool(texts(rule, "from") & {came, ANY}) and bool(to & ({goes} if goes == SELF else {goes, ANY}))


def meet(one: Resource, other: Resource) -> bool:
    """Whether both can decide about the same packet."""
    return (
        all(texts(one, n) & texts(other, n) or ANY in texts(one, n) | texts(other, n) for n in ("from", "to"))
        and all(addresses.meet(texts(one, n), texts(other, n)) for n in ("source", "destination"))
        and services.meet(texts(one, "services"), texts(other, "services"))
    )


def zones_hold(zones: frozenset[str], others: frozenset[str]) -> bool:
    """Whether some zones are all that others are; `any` is not the device itself."""
    missing = others - zones
    return not missing or (ANY in zones and SELF not in missing)


def lets_all(one: Resource, other: Resource) -> bool:
    """Whether one rule, forward or policy decides about all that another does, whenever that does."""
    if not (_as_long(one, other) and addresses.covers(_source(one), _source(other))):
        return False
    if one.id.kind == FORWARD:
        return all(one.fields[name] == other.fields[name] for name in ("zone", "listen", "to", "port"))
    if one.id.kind == POLICY:
        return True
    return (
        all(zones_hold(texts(one, n), texts(other, n)) for n in ("from", "to"))
        and addresses.covers(texts(one, "destination"), texts(other, "destination"))
        and services.covers(texts(one, "services"), texts(other, "services"))
    )


def _source(resource: Resource) -> frozenset[str]:
    return texts(resource, "source") or addresses.ANY


def _as_long(one: Resource, other: Resource) -> bool:
    until, ends = text(one, "until"), text(other, "until")
    long_enough = not until or bool(ends and ends <= until)
    return long_enough and hours_hold(texts(one, "hours"), texts(other, "hours"))


def overtaking(was: Sequence[Resource], will: Sequence[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """What shuts out, with what lets the same through and has come before it."""
    old = {r.id: n for n, r in enumerate(was)}
    shut: list[Resource] = []
    for rule in reversed(will):
        if rule.id not in old or rule.id.kind == RAW:
            continue
        if not lets_through(rule):
            shut.append(rule)
        else:
            yield from ((each, rule) for each in shut if old[each.id] < old[rule.id] and meet(each, rule))


def shadowed(resources: Sequence[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """Rules that never count, each with one before it that decides about all of it, always."""
    broad: list[Resource] = []  # of those that are about one service only, that service's
    by_service: dict[frozenset[str], list[Resource]] = {}
    for rule in rules(resources):
        if (
            rule.id.kind == RAW
            or "native" in rule.fields
            or BY_HAND in (rule.fields.get("action"), rule.fields.get("source"))
        ):
            continue
        found = texts(rule, "services")
        for earlier in (*broad, *by_service.get(found, ())):
            if lets_all(earlier, rule):
                yield rule, earlier
                break
        if not is_limited(rule):
            one = len(found) == 1 and all(services.ports(s) and "-" not in s for s in found)
            (by_service.setdefault(found, []) if one else broad).append(rule)
