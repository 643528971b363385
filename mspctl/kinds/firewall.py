"""
A firewall's policy, as kinds of resources in the scope of one device.

* `firewall.zone` "lan": `interfaces`, and whether everybody else is `outside` there.
* `firewall.rule` "browse": `from` and `to` (zones; `any`, and `self` for the device), `source` and `destination`
  (`addresses.py`), `services` (`services.py`), `action` (accept, drop, reject), `log`, `until` and `hours`.
* `firewall.forward` "nvr": what comes to the device from `zone` for one of the services `listen` goes to the host `to`,
  there to `port` (0: to the same); `source`, `log`, `until`, `hours` as in a rule.
* `firewall.nat` "mail": one host's two addresses, `inside` and, in `zone`, `outside`.
* `firewall.masquerade` "lan > wan": who of `source` goes from the one to the other has the device's address there.
* `firewall.policy` "lan > wan": `action` and `log` where no rule decides.
* `firewall.default` "default": `action` (drop or reject) and `log` of what nothing else decides; and `amiss`, sentences
  why all of this is not there after the device's next start. Git always says that there are none.
* `firewall.name` "updates.vendor.example.": a name of the DNS that something speaks of. It has no fields; its
  addresses, as the device sees them, are an output of the scope. Rules hold the addresses.
* `firewall.raw` "slow-syn": a rule in the device's own language, as `text`, in one of its chains: `chain` is input,
  forward, output, prerouting or postrouting. Nobody here understands what it does.
* `firewall.order` "rules": `rules`, the names of rules and raw rules from first to last; a move is a change of it.

What answers to something that was let through is let through, and so is what the device itself sends. First come
forwards, then rules in their order, then policies, then the default.

What is measured of a device (`DEVICE`), where it can be: `release` ("debian 12"), `support` (until when), the version
of what filters that is `installed` and the `newest` known, `pending` updates and `security` ones of them, when its
archive was `asked`, `reboot` (1: it waits for one), `saved` (1: the next start loads what is loaded), when it was
`booted`, and when its rules were `loaded`. Of a rule, forward, policy or default: `packets` since both of the latter.

`until` is a moment in UTC ("2027-03-12 17:00"), or "" for what has no end. `hours` are those of the week in UTC ("mon
05:30-16:30"); none means always. Devices know no time zones, so a schedule comes to other hours when clocks are set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from mspctl.kinds import addresses, services, shown
from mspctl.resource import Id, Resource, Scope, Value

FACET = "firewall"
ZONE, RULE, FORWARD, NAT = "firewall.zone", "firewall.rule", "firewall.forward", "firewall.nat"
MASQUERADE, POLICY, NAME = "firewall.masquerade", "firewall.policy", "firewall.name"
RAW = "firewall.raw"
CHAINS = ("input", "forward", "output", "prerouting", "postrouting")  # in which a raw rule can stand
ORDERED = ("input", "forward")  # chains in which a raw rule stands among rules; in others it comes first
ORDER, DEFAULT = Id("firewall.order", "rules"), Id("firewall.default", "default")
DEVICE = Id("firewall.device", "device")  # nobody declares it; what is measured of it is
RELEASE, SUPPORT, INSTALLED, NEWEST, PENDING = "release", "support", "installed", "newest", "pending"
SECURITY, ASKED, REBOOT, SAVED, BOOTED, LOADED = "security", "asked", "reboot", "saved", "booted", "loaded"
PACKETS = "packets"
ANY, SELF = "any", "self"
MANAGEMENT = "management"  # the rule that lets us in; it is always the first
BY_HAND = "changed by hand"  # in place of what is not understood
WEEK = 7 * 24 * 60  # minutes
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_LIMITS: Mapping[str, type] = {"log": bool, "until": str, "hours": frozenset}
_DECIDES: Mapping[str, type] = {"action": str, "log": bool}
FIELDS: Mapping[str, Mapping[str, type]] = {
    ZONE: {"interfaces": frozenset, "outside": bool},
    RULE: {
        **dict.fromkeys(("from", "to", "source", "destination", "services"), frozenset),
        "action": str,
        **_LIMITS,
    },
    FORWARD: {"zone": str, "listen": frozenset, "to": str, "port": int, "source": frozenset, **_LIMITS},
    NAT: {"zone": str, "outside": str, "inside": str},
    MASQUERADE: {"source": frozenset},
    POLICY: _DECIDES,
    DEFAULT.kind: {**_DECIDES, "amiss?": frozenset},
    NAME: {},
    RAW: {"chain": str, "text": str},
    ORDER.kind: {"rules": tuple},
}
_HOURS = re.compile(r"([a-z]{3}) (\d\d):(\d\d)-(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class ArchiveQuestion:
    """When the configuration of a device was archived last."""

    scope: Scope


def pair(source: str, destination: str) -> str:
    """The name of what is said of two zones."""
    return f"{source} > {destination}"


def zones_of(name: str) -> tuple[str, str]:
    source, _, destination = name.partition(" > ")
    return source, destination


def order(names: Iterable[str], source: str = "") -> Resource:
    return Resource(ORDER, {"rules": tuple(names)}, source)


def texts(resource: Resource, name: str) -> frozenset[str]:
    """A field that is a set; empty where it is not there."""
    value = resource.fields.get(name)
    return value if isinstance(value, frozenset) else frozenset()


def text(resource: Resource, name: str) -> str:
    value = resource.fields.get(name)
    return value if isinstance(value, str) else ""


def rules(resources: Sequence[Resource]) -> list[Resource]:
    """Rules and raw rules in their order; those that it does not name come last."""
    by_name = {r.id.name: r for r in resources if r.id.kind in (RULE, RAW)}
    said = next((r.fields["rules"] for r in resources if r.id == ORDER), ())
    first = [by_name.pop(name) for name in said if name in by_name] if isinstance(said, tuple) else []
    return [*first, *by_name.values()]


# -- time -------------------------------------------------------------------------------------------------------


def moment(at: datetime) -> str:
    """As `until` has it; seconds are rounded up, so that nothing ends too early."""
    whole = at.astimezone(UTC)
    return f"{whole:%Y-%m-%d %H:%M}"


def hours(spans: Iterable[tuple[int, int]]) -> frozenset[str]:
    """Of spans in minutes since Monday 00:00 UTC, which may go over the week's end; within a day each."""
    days: list[tuple[int, int]] = []
    for begin, end in spans:
        for low, high in _within_a_week(begin, end):
            while low < high:
                stop = min(high, (low // 1440 + 1) * 1440)
                days.append((low, stop))
                low = stop
    return frozenset(_spoken(low, high) for low, high in _joined(days))


def _within_a_week(begin: int, end: int) -> Iterator[tuple[int, int]]:
    if end - begin >= WEEK:
        yield 0, WEEK
        return
    low, high = begin % WEEK, begin % WEEK + end - begin
    yield low, min(high, WEEK)
    if high > WEEK:
        yield 0, high - WEEK


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same time in as few spans as can be, none of them over midnight."""
    last: tuple[int, int] | None = None
    for low, high in sorted(spans):
        if last and low <= last[1] and low // 1440 == last[0] // 1440:
            last = (last[0], max(last[1], high))
            continue
        if last:
            yield last
        last = (low, high)
    if last:
        yield last


def _spoken(low: int, high: int) -> str:
    day, begin = divmod(low, 1440)
    end = high - day * 1440
    return f"{DAYS[day]} {begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}"


def span_of(spoken: str) -> tuple[int, int]:
    """Minutes since Monday 00:00 UTC, from one of `hours`. Raises ValueError."""
    found = _HOURS.fullmatch(spoken)
    if not found or found[1] not in DAYS:
        raise ValueError(f"{spoken} is not hours of a day")
    day = DAYS.index(found[1]) * 1440
    return day + int(found[2]) * 60 + int(found[3]), day + int(found[4]) * 60 + int(found[5])


def holds_at(resource: Resource, at: datetime) -> bool:
    """Whether a rule or forward counts at a moment."""
    until, week = text(resource, "until"), texts(resource, "hours")
    now = at.astimezone(UTC)
    minute = now.weekday() * 1440 + now.hour * 60 + now.minute
    return (not until or moment(now) < until) and (
        not week or any(low <= minute < high for low, high in map(span_of, week))
    )


def is_limited(resource: Resource) -> bool:
    """Whether it counts at some times only."""
    return bool(text(resource, "until") or texts(resource, "hours"))


# -- what takes away, and what opens ----------------------------------------------------------------------------


def precious(resource: Resource) -> str:
    """Without it we cannot reach the device any more."""
    return "rule that lets us in" if resource.id == Id(RULE, MANAGEMENT) else ""


def lost(kind: str, name: str, before: Value | None, after: Value) -> int | None:
    """
    Sets of addresses, services and hours lose nothing to a shorter one that holds them all; rules that are in the order
    no more are lost themselves.
    """
    if kind == ORDER.kind:
        return 0
    covers = _HOLDS_ALL.get(name)
    if not (covers and isinstance(before, frozenset) and isinstance(after, frozenset)):
        return None
    return 0 if covers(after, before) else 1 if name == "hours" else None  # hours of days are one thing


def _hours_hold(week: frozenset[str], other: frozenset[str]) -> bool:
    """Whether it is open whenever another is; none is always."""
    if not (week and other):
        return not week
    try:
        spans = [*map(span_of, week)]
        return all(any(low <= begin and end <= high for low, high in spans) for begin, end in map(span_of, other))
    except ValueError:
        return False


_HOLDS_ALL: Mapping[str, Callable[[frozenset[str], frozenset[str]], bool]] = {
    "source": addresses.covers,
    "destination": addresses.covers,
    "services": services.covers,
    "listen": services.covers,
    "hours": _hours_hold,
}


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
    until = text(before, "until") if before and not _lets_through(before) else ""
    if until and now and until <= moment(now):
        before = None
    resource = after or before
    found = _WIDENS.get(resource.id.kind) if resource else None
    return found(before, after, was, will) if found else ""


def outside(resources: Iterable[Resource]) -> frozenset[str]:
    """Zones in which everybody else is: they say so, or others have the device's address there."""
    held = [*resources]
    said = frozenset(r.id.name for r in held if r.id.kind == ZONE and r.fields["outside"])
    return said | beyond(zones_of(r.id.name) for r in held if r.id.kind == MASQUERADE)


def beyond(pairs: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Where others have the device's address, and nobody from there has it elsewhere; within a zone is no matter."""
    there = [(came, goes) for came, goes in pairs if came != goes]
    return frozenset(goes for _, goes in there) - {came for came, _ in there}


def _raw_widens(before: Resource | None, after: Resource | None, was: Any, will: Any) -> str:
    return "it is raw: nobody here understands what it lets through" if after else _RAW_GONE


def _order_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    if not (before and after):
        return ""
    if _raw_moved(before, after, will):
        return _RAW_MOVED
    inside = _inside(was, will)
    for shut, rule in _overtaking(rules(was), rules(will)):
        if _lets_anybody(rule, inside) and addresses.is_everybody(texts(shut, "source")):
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
    lets = after is not None and _lets_through(after) and not (before and _lets_through(before))
    return _OPENS if after and lets and zones_of(after.id.name)[0] not in _inside(was, will) else ""


def _rule_widens(
    before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]
) -> str:
    more = after and _lets_anybody(after) and not (before and _lets_anybody(before) and _lets_all(before, after))
    if after and more and not _comes_from(after) <= _inside(was, will):
        return _OPENS
    if before is None or _lets_through(before) or (after and not _lets_through(after) and _lets_all(after, before)):
        return ""
    if not addresses.is_everybody(texts(before, "source")):
        return ""
    opened = _opened_behind(before, was, will)
    return f"it shut out everybody from what {opened.id.name} opens to them" if opened else ""


def _opened_behind(shut: Resource, was: Sequence[Resource], will: Sequence[Resource]) -> Resource | None:
    """The first rule, or policy, behind one that shuts out, which lets everybody through to some of the same."""
    inside = _inside(was, will)
    stays = {r.id: r for r in will}
    ordered = rules(was)
    at = next((n for n, each in enumerate(ordered) if each.id == shut.id), len(ordered))
    later = (stays[r.id] for r in ordered[at + 1 :] if r.id in stays and r.id.kind == RULE)
    found = (r for r in later if _lets_anybody(r, inside) and _meet(shut, r))
    policies = (r for r in will if r.id.kind == POLICY and _lets_through(r) and zones_of(r.id.name)[0] not in inside)
    also = (r for r in policies if _between(shut, *zones_of(r.id.name)))
    return next((each for group in (found, also) for each in group), None)  # forwards come before rules


def _between(rule: Resource, came: str, goes: str) -> bool:
    """Whether a rule is about what goes from one zone to another; `any` is not the device itself."""
    to = texts(rule, "to")
    return bool(texts(rule, "from") & {came, ANY}) and bool(to & ({goes} if goes == SELF else {goes, ANY}))


_WIDENS: Mapping[str, Callable[..., str]] = {
    RAW: _raw_widens,
    ORDER.kind: _order_widens,
    ZONE: _zone_widens,
    MASQUERADE: _masquerade_widens,
    POLICY: _policy_widens,
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


def _comes_from(resource: Resource) -> frozenset[str]:
    return frozenset({text(resource, "zone")}) if resource.id.kind == FORWARD else texts(resource, "from")


def _inside(was: Iterable[Resource], will: Sequence[Resource]) -> frozenset[str]:
    """Zones that are inside before and then; of what is not known, nothing is."""
    return frozenset(r.id.name for r in will if r.id.kind == ZONE) - outside(was) - outside(will)


def _lets_anybody(resource: Resource, inside: frozenset[str] = frozenset()) -> bool:
    """Whether it lets through whoever comes from elsewhere than `inside`."""
    if not _lets_through(resource) or _comes_from(resource) <= inside:
        return False
    return addresses.is_everybody(texts(resource, "source"))


def opens(before: Resource | None, after: Resource | None, was: Sequence[Resource], will: Sequence[Resource]) -> bool:
    """Whether a change lets through something that was not. `was` and `will` are all that is there before and then."""
    resource = after or before
    assert resource is not None, "a change has a before or an after"
    kind = resource.id.kind
    if kind == RAW:
        return True
    if kind == ORDER.kind:
        return any(_overtaking(rules(was), rules(will)))
    if kind == ZONE:
        return bool(before and after and texts(after, "interfaces") - texts(before, "interfaces"))
    if kind == NAT:
        return after is not None
    lets, did = (r is not None and _lets_through(r) for r in (after, before))
    if lets or did or kind != RULE:
        return lets and not (did and before and after and _lets_all(before, after))
    return before is not None and not (after and _lets_all(after, before))  # what was shut out, and is not


def _overtaking(was: Sequence[Resource], will: Sequence[Resource]) -> Iterator[tuple[Resource, Resource]]:
    """What shuts out, with what lets the same through and has come before it."""
    old = {r.id: n for n, r in enumerate(was)}
    shut: list[Resource] = []
    for rule in reversed(will):
        if rule.id not in old or rule.id.kind == RAW:
            continue
        if not _lets_through(rule):
            shut.append(rule)
        else:
            yield from ((each, rule) for each in shut if old[each.id] < old[rule.id] and _meet(each, rule))


def _meet(one: Resource, other: Resource) -> bool:
    """Whether both can decide about the same packet."""
    return (
        all(texts(one, n) & texts(other, n) or ANY in texts(one, n) | texts(other, n) for n in ("from", "to"))
        and all(addresses.meet(texts(one, n), texts(other, n)) for n in ("source", "destination"))
        and services.meet(texts(one, "services"), texts(other, "services"))
    )


def _lets_through(resource: Resource) -> bool:
    return resource.id.kind == FORWARD or resource.fields.get("action") == "accept"


def _lets_all(one: Resource, other: Resource) -> bool:
    """Whether one rule, forward or policy decides about all that another does, whenever that does."""
    if not (_as_long(one, other) and addresses.covers(_source(one), _source(other))):
        return False
    if one.id.kind == FORWARD:
        return all(one.fields[name] == other.fields[name] for name in ("zone", "listen", "to", "port"))
    if one.id.kind == POLICY:
        return True
    return (
        all(texts(one, n) >= texts(other, n) or texts(one, n) == {ANY} for n in ("from", "to"))
        and addresses.covers(texts(one, "destination"), texts(other, "destination"))
        and services.covers(texts(one, "services"), texts(other, "services"))
    )


def _source(resource: Resource) -> frozenset[str]:
    return texts(resource, "source") or addresses.ANY


def _as_long(one: Resource, other: Resource) -> bool:
    until, ends = text(one, "until"), text(other, "until")
    long_enough = not until or bool(ends and ends <= until)
    return long_enough and _hours_hold(texts(one, "hours"), texts(other, "hours"))


Called = Mapping[frozenset[str], str]  # what people call addresses


def in_words(resource: Resource, called: Called = MappingProxyType({}), when: str | None = None) -> str:
    """
    What a rule or forward does: `opens tcp/8443 on wan from 198.51.100.24 only → 10.20.1.60 port 443`.

    `when` says at which times, in the words of whoever wrote them; else it is told as the device knows it.
    """
    if resource.id.kind in _SAID:
        return _SAID[resource.id.kind](resource, called)
    source = _places(texts(resource, "source"), "only", called)
    if resource.id.kind not in (RULE, FORWARD) or str(resource.fields.get("action", "accept")) not in _VERBS:
        return ""
    if resource.id.kind == FORWARD:
        port = resource.fields.get("port") or ""
        to = f"{_places(frozenset({text(resource, 'to')}), '', called)}{f' port {port}' if port else ''}"
        what = f"opens {services.spoken(texts(resource, 'listen'))} on {text(resource, 'zone')} from {source} → {to}"
    else:
        away = _places(texts(resource, "destination"), "", called)
        zones = f"{', '.join(sorted(texts(resource, 'from')))} → {', '.join(sorted(texts(resource, 'to')))}"
        what = f"{_VERBS[str(resource.fields['action'])]} {services.spoken(texts(resource, 'services'))} {zones}"
        what += f" from {source}" if source != "anywhere" else ""
        what += f" to {away}" if away != "anywhere" else ""
    return what + (_when(resource) if when is None else when)


def _nat_said(resource: Resource, called: Called) -> str:
    inside = _places(frozenset({text(resource, "inside")}), "", called)
    return f"{text(resource, 'outside')} on {text(resource, 'zone')} is {inside}"


def _raw_said(resource: Resource, called: Called) -> str:
    return f"in {text(resource, 'chain')}, which nobody here understands: {text(resource, 'text')}"


def _masquerade_said(resource: Resource, called: Called) -> str:
    source = _places(texts(resource, "source"), "only", called)
    return f"has the device's own address there{f': {source}' if source != 'anywhere' else ''}"


def _action_said(resource: Resource, called: Called) -> str:
    what = "what nothing else decides" if resource.id == DEFAULT else "what no rule decides"
    verb = _VERBS.get(text(resource, "action"))
    return f"{verb} {what}{', and logs it' if resource.fields.get('log') else ''}" if verb else ""


_SAID: Mapping[str, Callable[[Resource, Called], str]] = {
    NAT: _nat_said,
    RAW: _raw_said,
    MASQUERADE: _masquerade_said,
    POLICY: _action_said,
    DEFAULT.kind: _action_said,
}


def _when(resource: Resource) -> str:
    until = text(resource, "until")
    return (f", until {until} UTC" if until else "") + (", at some hours only" if texts(resource, "hours") else "")


_VERBS = {"accept": "lets through", "drop": "drops", "reject": "rejects"}
MOST_NAMED = 4  # addresses in a sentence


def _places(found: frozenset[str], only: str, called: Called) -> str:
    if found == addresses.ANY:
        return "anywhere"
    named = addresses.in_order(found)
    if name := called.get(found):
        named = [f"{name} {named[0]}" if len(named) == 1 else name]
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    return f"{', '.join(named[:MOST_NAMED])}{more}{f' {only}' if only else ''}"


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
            if _lets_all(earlier, rule):
                yield rule, earlier
                break
        if not is_limited(rule):
            one = len(found) == 1 and all(services.ports(s) and "-" not in s for s in found)
            (by_service.setdefault(found, []) if one else broad).append(rule)


def fields(**said: Value) -> dict[str, Value]:
    """Fields by name; a trailing _ is there for words of Python's."""
    return {name.rstrip("_"): value for name, value in said.items()}


# -- what a program says ----------------------------------------------------------------------------------------

_OWN_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,47}")
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,14}")
_UNTIL = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d", re.ASCII)


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """
    As programs may spell it. Nothing passes that a device could take for something else: what is written here becomes
    part of its configuration. Raises ValueError.
    """
    made = _NORMAL.get(field)
    return made(id_, value) if made else None


def _normal_name(id_: Id, value: Value) -> Value:
    if id_.kind == NAME:
        raise ValueError("names of the DNS are found by the device while it is read, which Pulumi cannot wait for")
    one = {DEFAULT.kind: DEFAULT.name, ORDER.kind: ORDER.name}.get(id_.kind)
    if one and id_.name != one:
        raise ValueError(f"write {one}: there is one of them")
    parts = zones_of(id_.name) if id_.kind in (MASQUERADE, POLICY) else (id_.name,)
    for part in parts:
        _like(_OWN_NAME, part, "a name (lower-case letters, digits, . _ and -)")
    return value


def _like(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{shown(text)} is not {what}")
    return text


def _names(id_: Id, value: Value) -> Value:
    """Of zones or of rules: one, several in their order, or a set; a forward's `to` is a host."""
    if id_.kind == FORWARD and isinstance(value, str):
        return _host(id_, value)
    for each in (value,) if isinstance(value, str) else value if isinstance(value, frozenset | tuple) else ():
        _like(_OWN_NAME, each, "a name (lower-case letters, digits, . _ and -)")
    return value


def _zone(id_: Id, value: Value) -> Value:
    return value if not isinstance(value, str) else _like(_OWN_NAME, value, "the name of a zone")


def _interfaces(id_: Id, value: Value) -> Value:
    for each in value if isinstance(value, frozenset) else ():
        _like(_INTERFACE, each, "an interface (write eth0)")
    return value


def _addresses(id_: Id, value: Value) -> Value:
    folded = [addresses.fold(each) for each in value] if isinstance(value, frozenset) else []
    if any(each.endswith(".") for each in folded):
        raise ValueError("names of the DNS are found by the device while it is read, which Pulumi cannot wait for")
    return addresses.joined(folded)


def _host(id_: Id, value: Value) -> Value:
    folded = addresses.fold(value) if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f.:]+", folded):
        raise ValueError(f"{shown(value)} is not the address of one host")
    return folded


def _services(id_: Id, value: Value) -> Value:
    return services.joined(one for each in value for one in services.fold(each)) if isinstance(value, frozenset) else ()


def _action(id_: Id, value: Value) -> Value:
    allowed = ("drop", "reject") if id_ == DEFAULT else ("accept", "drop", "reject")
    if value not in allowed:
        raise ValueError(f"{shown(value)} is no action (write {', '.join(allowed)})")
    return value


def _until(id_: Id, value: Value) -> Value:
    return (
        _like(_UNTIL, value, "a moment in UTC (write 2027-03-12 17:00)") if isinstance(value, str) and value else value
    )


def _hours(id_: Id, value: Value) -> Value:
    for each in value if isinstance(value, frozenset) else ():
        span_of(each)
    return value


def _chain(id_: Id, value: Value) -> Value:
    if value not in CHAINS:
        raise ValueError(f"{shown(value)} is no chain (write {', '.join(CHAINS)})")
    return value


def _port(id_: Id, value: Value) -> Value:
    if not (isinstance(value, int) and 0 <= value < 65536):
        raise ValueError(f"{shown(value)} is no port (0: the same)")
    return value


_NORMAL: Mapping[str, Callable[[Id, Value], Value]] = {
    "": _normal_name,
    "from": _names,
    "to": _names,
    "rules": _names,
    "zone": _zone,
    "interfaces": _interfaces,
    "source": _addresses,
    "destination": _addresses,
    "services": _services,
    "listen": _services,
    "outside": lambda id_, value: _host(id_, value) if id_.kind == NAT else value,
    "inside": _host,
    "action": _action,
    "until": _until,
    "hours": _hours,
    "port": _port,
    "chain": _chain,
}
