"""What takes away, and what opens: why a change needs somebody who agrees to it (`guards.py` asks)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from mspctl.kinds import addresses, services
from mspctl.kinds.firewall import (
    ANY,
    FORWARD,
    MANAGEMENT,
    MASQUERADE,
    NAT,
    ORDER,
    POLICY,
    RAW,
    RULE,
    SELF,
    ZONE,
    rules,
    text,
    texts,
    zones_of,
)
from mspctl.kinds.firewall.reach import (
    between,
    comes_from,
    inside_of,
    lets_all,
    lets_anybody,
    lets_through,
    meet,
    outside,
    overtaking,
    zones_hold,
)
from mspctl.kinds.firewall.times import hours_hold, moment
from mspctl.resource import Id, Resource, Value


def precious(resource: Resource) -> str:
    """Without it we cannot reach the device any more."""
    return "rule that lets us in" if resource.id == Id(RULE, MANAGEMENT) else ""


def lost(kind: str, name: str, before: Value | None, after: Value) -> int | None:
    """
    Sets of zones, addresses, services and hours lose nothing to a shorter one that holds them all; rules that are in
    the order no more are lost themselves.
    """
    if kind == ORDER.kind:
        return 0
    covers = _HOLDS_ALL.get(name)
    if not (covers and isinstance(before, frozenset) and isinstance(after, frozenset)):
        return None
    return 0 if covers(after, before) else 1 if name == "hours" else None  # hours of days are one thing


_HOLDS_ALL: Mapping[str, Callable[[frozenset[str], frozenset[str]], bool]] = {
    "from": zones_hold,
    "to": zones_hold,
    "source": addresses.covers,
    "destination": addresses.covers,
    "services": services.covers,
    "listen": services.covers,
    "hours": hours_hold,
}


def is_over(resource: Resource, now: datetime) -> bool:
    """The device itself sees to `until`."""
    until = text(resource, "until")
    return bool(until) and until <= moment(now)


def widens(
    before: Resource | None,
    after: Resource | None,
    was: Sequence[Resource],
    will: Sequence[Resource],
    now: datetime | None = None,
) -> str:
    """
    Why a change opens something to anybody anywhere; "" where it does not. `was` and `will`: all that is there before
    and then. A zone that is outside in one of them is outside. What shut out until some time before `now` does not any
    more: that was agreed to before.
    """
    if before and now and not lets_through(before) and is_over(before, now):
        before = None
    resource = after or before
    found = _WIDENS.get(resource.id.kind) if resource else None
    return found(before, after, was, will) if found else ""


def opens(before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]) -> bool:
    """Whether a change lets through something that was not. `was` and `will` are all that is there before and then."""
    resource = after or before
    assert resource is not None, "a change has a before or an after"
    kind = resource.id.kind
    if kind == RAW:
        return True
    if kind == ORDER.kind:
        return any(overtaking(rules(was), rules(will)))
    if kind == ZONE:
        return bool(before and after and texts(after, "interfaces") - texts(before, "interfaces"))
    if kind == NAT:
        return after is not None
    lets, did = (r is not None and lets_through(r) for r in (after, before))
    if lets or did or kind != RULE:
        return lets and not (did and before and after and lets_all(before, after))
    return before is not None and not (after and lets_all(after, before))  # what was shut out, and is not


def _raw_widens(before: Resource | None, after: Resource | None, was: Any, will: Any) -> str:
    return "it is raw: nobody here understands what it lets through" if after else _RAW_GONE


def _order_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    if not (before and after):
        return ""
    if _raw_moved(before, after, will):
        return _RAW_MOVED
    inside = inside_of(was, will)
    for shut, rule in overtaking(rules(was), rules(will)):
        if lets_anybody(rule, inside) and addresses.is_everybody(texts(shut, "source")):
            return f"{rule.id.name} comes ahead of {shut.id.name}, and opens to everybody what that shut out"
    return ""


def _zone_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    old, new = outside(was), outside(will)
    if before and before.id.name in old:
        if after and after.id.name not in new:
            return _no_more(after.id.name)
        if lost := texts(before, "interfaces") - _interfaces_of(will, new):
            return f"{', '.join(sorted(lost))} is outside no more: another zone could have it without an approval"
    if after is None:
        return ""
    mine = texts(before, "interfaces") if before else frozenset[str]()
    gained = (texts(after, "interfaces") - mine) & _interfaces_of(was, old | new)
    if gained and (before or after.id.name not in new):  # rules of a zone that is new are told of themselves
        return f"everybody outside comes by {', '.join(sorted(gained))}: what is let through from there would be open"
    return _exposed(after, texts(after, "interfaces") - mine, was, will) if before else ""


def _exposed(zone: Resource, gained: frozenset[str], was: Sequence[Resource], will: Sequence[Resource]) -> str:
    """Why everybody reaches what is behind interfaces as soon as they are in a zone that was there before."""
    inside, name = inside_of(was, will), zone.id.name
    left = {r.id.name for r in was if r.id.kind == ZONE and texts(r, "interfaces") & gained}
    shut = {to for r in was if r.id.kind == RULE and not lets_through(r) for to in texts(r, "to")}
    for resource in will if gained else ():
        if resource.id.kind == POLICY:
            came, goes = zones_of(resource.id.name)
            opens_it = lets_through(resource) and came not in inside and goes == name
        elif resource.id.kind == RULE and addresses.is_everything(texts(resource, "destination")):
            to = texts(resource, "to")
            opens_it = lets_anybody(resource, inside) and (name in to or (ANY in to and bool(shut & left)))
        else:
            continue
        if opens_it:
            return f"{resource.id.name} lets everybody through to what is behind {', '.join(sorted(gained))}"
    return ""


def _interfaces_of(resources: Iterable[Resource], zones: frozenset[str]) -> frozenset[str]:
    held = (texts(r, "interfaces") for r in resources if r.id.kind == ZONE and r.id.name in zones)
    return frozenset[str]().union(*held)


def _masquerade_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    resource = after or before
    there = {r.id.name for r in will if r.id.kind == ZONE} & {*(zones_of(resource.id.name) if resource else ())}
    lost = sorted(there & (outside(was) - outside(will)))
    return _no_more(lost[0]) if lost else ""


def _no_more(zone: str) -> str:
    return f"{zone} is outside no more: what is opened to everybody there would need no approval"


def _policy_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    lets = after is not None and lets_through(after) and not (before and lets_through(before))
    return _OPENS if after and lets and zones_of(after.id.name)[0] not in inside_of(was, will) else ""


def _rule_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    more = after and lets_anybody(after) and not (before and lets_anybody(before) and lets_all(before, after))
    if after and more and not comes_from(after) <= inside_of(was, will):
        return _OPENS
    if before is None or lets_through(before) or (after and not lets_through(after) and lets_all(after, before)):
        return ""
    if not addresses.is_everybody(texts(before, "source")):
        return ""
    opened = _opened_behind(before, was, will)
    return f"it shut out everybody from what {opened.id.name} opens to them" if opened else ""


def _nat_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    """A host with an address outside is reached by whoever is let through to it, so far for nothing."""
    if after is None or (before and before.fields == after.fields):
        return ""
    zone, host, inside = text(after, "zone"), frozenset({text(after, "inside")}), inside_of(was, will)
    if zone in inside:
        return ""
    found = (r for r in will if r.id.kind == RULE and lets_anybody(r, inside) and _is_about(r, zone, host))
    policies = (r for r in will if r.id.kind == POLICY and lets_through(r) and zones_of(r.id.name)[0] == zone)
    return next(
        (f"everybody outside is let through to {text(after, 'inside')} by {r.id.name}" for r in chain(found, policies)),
        "",
    )


def _is_about(rule: Resource, zone: str, host: frozenset[str]) -> bool:
    goes = texts(rule, "from") & {zone, ANY} and texts(rule, "to") - {SELF}
    return bool(goes) and addresses.meet(texts(rule, "destination"), host)


def _opened_behind(shut: Resource, was: Sequence[Resource], will: Sequence[Resource]) -> Resource | None:
    """The first rule, or policy, behind one that shuts out, which lets everybody through to some of the same."""
    inside = inside_of(was, will)
    stays = {r.id: r for r in will}
    ordered = rules(was)
    at = next((n for n, each in enumerate(ordered) if each.id == shut.id), len(ordered))
    later = (stays[r.id] for r in ordered[at + 1 :] if r.id in stays and r.id.kind == RULE)
    found = (r for r in later if lets_anybody(r, inside) and meet(shut, r))
    policies = (r for r in will if r.id.kind == POLICY and lets_through(r) and zones_of(r.id.name)[0] not in inside)
    also = (r for r in policies if between(shut, *zones_of(r.id.name)))
    return next((each for group in (found, also) for each in group), None)  # forwards come before rules


_WIDENS: Mapping[str, Callable[..., str]] = {
    RAW: _raw_widens,
    ORDER.kind: _order_widens,
    ZONE: _zone_widens,
    MASQUERADE: _masquerade_widens,
    POLICY: _policy_widens,
    NAT: _nat_widens,
    RULE: _rule_widens,
    FORWARD: _rule_widens,
}
_OPENS = "it opens something to everybody, from anywhere"
_RAW_GONE = "it is raw: nobody here understands what it shut out"
_RAW_MOVED = "a raw rule and others change places, and nobody here understands what it lets through"


def _raw_moved(before: Resource, after: Resource, resources: Sequence[Resource]) -> bool:
    """Whether a raw rule that stays has come ahead of something or behind it, or has no place any more."""
    raw = {r.id.name for r in resources if r.id.kind == RAW}
    orders = [said if isinstance(said := each.fields["rules"], tuple) else () for each in (before, after)]
    if raw & ({*orders[0]} - {*orders[1]}):  # it would come last
        return True
    both = {*orders[0]} & {*orders[1]}
    was, will = ([name for name in names if name in both] for names in orders)
    return any({*was[: was.index(name)]} != {*will[: will.index(name)]} for name in raw & both)
