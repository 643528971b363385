"""
What is wrong with a device as a whole: names that stand for nothing, rules that never count or contradict each other,
doors that are open to everybody.

A slip that opens something is an error, one that does nothing a warning. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from mspctl.kinds import addresses, firewall, services
from mspctl.kinds.firewall.reach import zones_hold
from mspctl.kinds.probes import Shot
from mspctl.model.base import dotted, nearest
from mspctl.model.sections.firewall import vpn
from mspctl.model.sections.firewall.names import Names, Unknown
from mspctl.model.sections.firewall.proving import shot, unvouched
from mspctl.model.sections.firewall.rules import Device, Forward, Rule, VpnUser
from mspctl.model.sections.firewall.vpn import outside
from mspctl.moments import Clock, Moment
from mspctl.strict_yaml import Map, Problems, find

Path = tuple[str | int, ...]
ADMINISTRATION = frozenset({"tcp/22", "tcp/23", "tcp/80", "tcp/443", "tcp/8080", "tcp/8443", "tcp/3389", "udp/161"})
MOST_NAMED = 4  # rules in a sentence


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A rule with its names resolved."""

    rule: Rule
    path: Path
    source: frozenset[str]
    destination: frozenset[str]
    services: frozenset[str]
    hull: tuple[int, int, int, int]  # the first and the last source, and destination

    def is_apart(self, other: _Resolved) -> bool:
        """Whether no packet can be of both; quick, for all rules are asked about all others."""
        (a, b, c, d), (e, f, g, h) = self.hull, other.hull
        return b < e or f < a or d < g or h < c

    @property
    def is_limited(self) -> bool:
        return bool(self.rule.schedule or self.rule.until)

    @property
    def zones(self) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(self.rule.source_zones), frozenset(self.rule.destination_zones)

    def part(self, what: str) -> frozenset[str]:
        return self.zones[("from", "to").index(what)] if what in ("from", "to") else getattr(self, what)

    def leaves(self, other: _Resolved) -> Iterator[str]:
        """In what something is left for `other`, which comes later; in nothing: it never counts."""
        return (what for what, covers in _COVERS.items() if not covers(self.part(what), other.part(what)))


def _resolved(rule: Rule, path: Path, source: frozenset[str], away: frozenset[str], found: frozenset[str]) -> _Resolved:
    return _Resolved(rule, path, source, away, found, (*_hull(source), *_hull(away)))


def _hull(texts: frozenset[str]) -> tuple[int, int]:
    """The first and the last address of both families in one row; everywhere, where that is not known."""
    spans = [addresses.span(text) for text in texts]
    if not spans or None in spans:
        return 0, 1 << 136
    row = [(each.version << 128) + number for each in spans if each for number in (each.low, each.high)]
    return min(row), max(row)


_COVERS: dict[str, Callable[[frozenset[str], frozenset[str]], bool]] = {
    "from": zones_hold,
    "to": zones_hold,
    "services": services.covers,
    "source": addresses.covers,
    "destination": addresses.covers,
}
_JOINED: dict[str, Callable[[Iterable[str]], frozenset[str]]] = {
    "from": frozenset,
    "to": frozenset,
    "services": services.joined,
    "source": addresses.joined,
    "destination": addresses.joined,
}
_MEET: dict[str, Callable[[frozenset[str], frozenset[str]], bool]] = {
    "from": lambda zones, others: bool(zones & others) or firewall.ANY in zones,
    "to": lambda zones, others: bool(zones & others) or firewall.ANY in zones,
    "services": services.meet,
    "source": addresses.meet,
    "destination": addresses.meet,
}


def check(device: Device, data: Map, clock: Clock, problems: Problems) -> None:
    """Add every problem of one device."""
    _Checker(device, data, clock, problems).check()


class _Checker:
    def __init__(self, device: Device, data: Map, clock: Clock, problems: Problems) -> None:
        self.device = device
        self.data = data
        self.clock = clock
        self.problems = problems
        self.names = Names(device)
        self.outside = outside(device)

    def add(self, path: Path, text: str, *, at_value: bool = True, level: str = "error") -> None:
        self.problems.add(find(self.data, path), dotted(path), text, at_value=at_value, level=level)

    def place(self, path: Path) -> str:
        mark = find(self.data, path)
        return f"{mark.file}:{mark.line}" if mark else dotted(path)

    def check(self) -> None:
        self._interfaces()
        self._ids()
        self._objects()
        self._management()
        resolved = [r for path, rule in self._rules() if (r := self._rule(path, rule))]
        self._shadows([*self._lets_us_in(), *resolved])
        for number, forward in enumerate(self.device.forwards):
            self._forward(("forwards", number), forward)
        self._listens_once()
        self._pairs()
        self._static_nat()
        vpn.check(self.device, self.data, self.add)
        for path, peer in vpn.peers(self.device):
            self._limited(path, None, peer.until if isinstance(peer, VpnUser) else None)
        self._raw()
        self._proofs()
        self._unused()

    def _rules(self) -> Iterator[tuple[Path, Rule]]:
        for kind in ("before", "vpn", "rules", "after"):
            if kind == "vpn":
                yield from vpn.rules(self.device)
                continue
            for number, rule in enumerate(getattr(self.device, kind)):
                yield (kind, number), rule

    # -- zones, ids, names ------------------------------------------------------------------------------------

    def _interfaces(self) -> None:
        seen: dict[str, str] = {}
        for zone, said in self.device.zones.items():
            if not said.interfaces:
                self.add(("zones", zone), "has no interface")
            for interface in said.interfaces:
                first = seen.setdefault(interface, zone)
                if first != zone:
                    self.add(("zones", zone), f"{interface} is in zone {first} already")
            for interface in sorted({each for each in said.interfaces if said.interfaces.count(each) > 1}):
                self.add(("zones", zone), f"{interface} is in it twice (take one out)", level="warning")
            if said.guest and zone in self.outside:
                self.add(("zones", zone), "is a guest zone and the outside at once")

    def _ids(self) -> None:
        seen: dict[str, Path] = {}
        many = [("forwards", n, f.id) for n, f in enumerate(self.device.forwards)]
        many += [("static_nat", n, f.id) for n, f in enumerate(self.device.static_nat)]
        many += [("raw", n, each.id) for n, each in enumerate(self.device.raw)]
        for path, name in [*((p, r.id) for p, r in self._rules()), *(((kind, n), id_) for kind, n, id_ in many)]:
            first = seen.setdefault(name, path)
            if first is not path:
                self.add((*path, "id"), f"{name} is the id of {self.place((*first, 'id'))} already")

    def _objects(self) -> None:
        for kind, resolve in (("objects", self.names.addresses), ("services", self.names.services)):
            for name, said in getattr(self.device, kind).items():
                if not said:
                    self.add((kind, name), "is empty")
                self._resolved((kind, name), said, resolve)
        self.names.used.clear()  # that they are defined is no use of them
        for name, said in self.device.objects.items():
            for member in said:
                if member in self.device.objects and member != name:
                    self.names.used.add(("objects", member))
        for name, said in self.device.services.items():
            for member in said:
                if member in self.device.services and member != name:
                    self.names.used.add(("services", member))

    def _resolved(
        self, path: Path, said: Iterable[str], resolve: Callable[[Iterable[str]], frozenset[str]]
    ) -> frozenset[str] | None:
        try:
            return resolve(said)
        except Unknown as error:
            self.add(path, str(error))
            return None

    def _zones_known(self, path: Path, zones: Iterable[str], *special: str) -> bool:
        known = {*self.device.zones, *special}
        for zone in zones:
            if zone not in known:
                self.add(path, f"there is no zone {zone}{nearest(zone, known)}")
                return False
        return True

    def _management(self) -> None:
        said = self.device.management
        if said is None:
            self.problems.add(
                find(self.data, ["target"]),
                "management",
                "is missing: from where is the device administered? (write management: {from: 198.51.100.0/24})",
            )
            return
        self._zones_known(("management", "zones"), said.zones, firewall.ANY)
        for zone in filter(self._is_guest, said.zones):
            self.add(("management", "zones"), f"{zone} is a guest zone: strangers are there")
        found = self._resolved(("management", "from"), said.source, self.names.addresses)
        if found and addresses.is_everybody(found):
            self.add(("management", "from"), "is open to the world (write the addresses that we come from)")
        self._no_names(("management", "from"), found, "who cannot resolve it would be locked out")
        self._resolved(("management", "services"), said.services, self.names.services)

    def _lets_us_in(self) -> Iterator[_Resolved]:
        """As a rule, which comes before all others."""
        said = self.device.management
        if said is None:
            return
        rule = Rule.model_construct(
            id=firewall.MANAGEMENT, source_zones=said.zones, destination_zones=(firewall.SELF,), action="accept"
        )
        with suppress(Unknown):  # it is told elsewhere
            source, found = self.names.addresses(said.source), self.names.services(said.services)
            yield _resolved(rule, ("management",), source, addresses.ANY, found)

    def _no_names(self, path: Path, found: frozenset[str] | None, why: str) -> None:
        for name in sorted(each for each in found or () if each.endswith(".")):
            self.add(path, f"{name.rstrip('.')} is a name ({why}: write addresses)")

    def _unused(self) -> None:
        for kind in ("objects", "services", "schedules"):
            mine = find(self.data, ["target"])
            for name in getattr(self.device, kind):
                mark = find(self.data, (kind, name))
                # What devices have in common is there for all of them.
                if (kind, name) not in self.names.used and mark and mine and mark.file == mine.file:
                    self.add((kind, name), "is used nowhere", at_value=False, level="warning")

    # -- rules ------------------------------------------------------------------------------------------------

    def _rule(self, path: Path, rule: Rule) -> _Resolved | None:
        known = self._zones_known((*path, "from"), rule.source_zones, firewall.ANY)
        known &= self._zones_known((*path, "to"), rule.destination_zones, firewall.ANY, firewall.SELF)
        source = self._resolved((*path, "source"), rule.source, self.names.addresses)
        away = self._resolved((*path, "destination"), rule.destination, self.names.addresses)
        found = self._resolved((*path, "services"), rule.services, self.names.services)
        self._limited(path, rule.schedule, None if path[0] == "vpn" else rule.until)
        if not known or source is None or away is None or found is None:
            return None
        resolved = _resolved(rule, path, source, away, found)
        if not addresses.families(source) & addresses.families(away) & services.families(found):
            self.add(path, f"never holds: source, destination and services of {rule.id} are not of one family")
        if rule.action == "accept":
            self._opens(resolved)
        return resolved

    def _limited(self, path: Path, schedule: str | None, until: Moment | None) -> None:
        if schedule is not None:
            try:
                self.names.schedule(schedule)
            except Unknown as error:
                self.add((*path, "schedule"), str(error))
        if until is not None:
            try:
                if until.ends(self.clock.zone) <= self.clock.now:
                    self.add((*path, "until"), f"{until} is over (take the line out)", level="warning")
            except ValueError as error:
                self.add((*path, "until"), str(error))

    def _opens(self, resolved: _Resolved) -> None:
        """What lets in too much is never meant."""
        rule, path = resolved.rule, resolved.path
        sources = {*self.device.zones} if firewall.ANY in rule.source_zones else {*rule.source_zones}
        reached = {*self.device.zones} if firewall.ANY in rule.destination_zones else {*rule.destination_zones}
        from_anywhere = bool(sources & self.outside) and addresses.is_everybody(resolved.source)
        everywhere = services.is_everything(resolved.services) and addresses.is_everything(resolved.destination)
        inside = reached - self.outside
        if from_anywhere and inside and everywhere:
            self.add(
                path, f"lets everybody outside reach everything ({rule.id}: name services, a source or a destination)"
            )
        elif from_anywhere and firewall.SELF in reached and self._administers(resolved.services):
            self.add(path, f"opens the device's administration to the world ({rule.id}: name a source)")
        guests = {zone for zone in sources if self._is_guest(zone)}
        named = ", ".join(sorted(guests & {*rule.source_zones}))
        if named and firewall.SELF in reached and self._is_ours(resolved.services):
            self.add(path, f"opens the device's administration to guests ({rule.id}: {named})")
        if guests and inside - {firewall.SELF} - guests:
            behind = ", ".join(sorted(inside - {firewall.SELF} - guests))
            nobody = "" if self.outside else " (no zone says outside: true)"
            self.add(path, f"lets guests ({', '.join(sorted(guests))}) into {behind}{nobody}")

    def _is_guest(self, zone: str) -> bool:
        return zone in self.device.zones and self.device.zones[zone].guest

    def _is_ours(self, found: frozenset[str]) -> bool:
        """Whether the device is administered by it, and not only seen: guests may have its portal."""
        return any(services.meet(found, each.services) for each in self._lets_us_in())

    def _administers(self, found: frozenset[str]) -> bool:
        said = self.device.management
        ours = services.joined(ADMINISTRATION)
        with suppress(Unknown):  # it is told elsewhere
            ours |= self.names.services(said.services) if said else frozenset()
        return services.meet(found, frozenset(ours))

    def _shadows(self, resolved: Sequence[_Resolved]) -> None:
        """A rule for which earlier ones leave nothing: the same said twice, or a contradiction."""
        broad: list[_Resolved] = []  # they may cover any service
        by_service: dict[str, list[_Resolved]] = {}
        for one in resolved:
            mine = [by_service.get(text, ()) for text in one.services]
            some = mine[0] if len(mine) == 1 else {id(each): each for those in mine for each in those}.values()
            self._shadow(one, [each for each in chain(broad, some) if not each.is_apart(one)])
            if not one.is_limited:
                wide = one.services == services.ANY or any(_is_wide(text) for text in one.services)
                for place in [broad] if wide else [by_service.setdefault(text, []) for text in one.services]:
                    place.append(one)

    def _shadow(self, one: _Resolved, earlier: Iterable[_Resolved]) -> None:
        near: dict[str, list[_Resolved]] = {}  # those that leave something in one respect only
        for each in earlier:
            left = [*islice(each.leaves(one), 2)]
            if not left:
                self._shadowed(one, each)
                return
            if len(left) == 1 and _MEET[left[0]](each.part(left[0]), one.part(left[0])):
                near.setdefault(left[0], []).append(each)
        for what, some in near.items():
            whole = _JOINED[what](text for each in some for text in each.part(what))
            if len(some) > 1 and _COVERS[what](whole, one.part(what)):
                self._shadowed_together(one, some)
                return
        for each in near.get("services", ()):
            both = {text for text in one.services if services.covers(each.services, frozenset({text}))}
            if each.rule.action != one.rule.action and both and not any(map(_is_wide, one.services)):
                said = f"{each.rule.id} ({self.place((*each.path, 'id'))}) says the contrary of it before"
                text = f"{services.spoken(frozenset(both))} is decided already: {said} (take it out of one)"
                self.add((*one.path, "services"), text, level="warning")

    def _shadowed(self, one: _Resolved, first: _Resolved) -> None:
        place = self.place((*first.path, "id"))
        if first.rule.action == one.rule.action:
            text = f"{one.rule.id} never counts: {first.rule.id} ({place}) has said the same (take one out)"
            self.add(one.path, text, level="warning")
        else:
            text = (
                f"{one.rule.id} never counts: {first.rule.id} ({place}) says the contrary before (move or remove one)"
            )
            self.add(one.path, text)

    def _shadowed_together(self, one: _Resolved, some: Sequence[_Resolved]) -> None:
        named = [f"{each.rule.id} ({self.place((*each.path, 'id'))})" for each in some]
        who = f"{', '.join(named[:MOST_NAMED])}{' and others' if len(named) > MOST_NAMED else ''}"
        if any(each.rule.action == one.rule.action for each in some):
            text = f"{one.rule.id} never counts: {who} have decided about all of it before (take it out)"
            self.add(one.path, text, level="warning")
        else:
            text = f"{one.rule.id} never counts: {who} say the contrary before (move it or take it out)"
            self.add(one.path, text)

    # -- NAT --------------------------------------------------------------------------------------------------

    def _forward(self, path: Path, forward: Forward) -> None:
        self._zones_known((*path, "listen"), [forward.zone])
        host, _ = forward.host_and_port
        found = self._resolved((*path, "to"), [host], self.names.addresses)
        if found is not None and _only_host(found) is None:
            self.add((*path, "to"), f"{host} is not one host")
        source = self._resolved((*path, "only_from"), forward.only_from, self.names.addresses)
        self._limited(path, forward.schedule, forward.until)
        if self._is_guest(forward.zone):
            self.add((*path, "listen"), f"lets guests ({forward.zone}) into {host}")
        if found and source and not addresses.families(source) & addresses.families(found):
            self.add(path, f"never holds: {host} and only_from are not of one family")
        self._takes_us(path, forward, source or frozenset())

    def _takes_us(self, path: Path, forward: Forward, source: frozenset[str]) -> None:
        """Forwards come before the rule that lets us in."""
        for us in self._lets_us_in():
            ours = forward.zone in us.rule.source_zones or firewall.ANY in us.rule.source_zones
            taken = services.meet(us.services, frozenset({forward.service})) and addresses.meet(us.source, source)
            if ours and taken:
                text = f"takes what lets us in: management ({self.place(('management',))}) is by {forward.service}, too"
                self.add((*path, "listen"), text, level="warning")

    def _listens_once(self) -> None:
        seen: list[tuple[Path, Forward]] = []
        for number, forward in enumerate(self.device.forwards):
            for path, first in seen:
                same = first.zone == forward.zone
                if same and services.meet(frozenset({first.service}), frozenset({forward.service})):
                    self.add(
                        ("forwards", number, "listen"), f"is taken by {first.id} ({self.place((*path, 'listen'))})"
                    )
                    break
            seen.append((("forwards", number), forward))

    def _static_nat(self) -> None:
        seen: dict[tuple[str, str, frozenset[str]], Path] = {}
        for number, one in enumerate(self.device.static_nat):
            path: Path = ("static_nat", number)
            self._zones_known((*path, "zone"), [one.zone])
            hosts: list[str] = []
            for name in ("outside", "inside"):
                found = self._resolved((*path, name), [getattr(one, name)], self.names.addresses)
                if found is not None:
                    host = _only_host(found)
                    hosts += [host] if host else []
                    if host is None:
                        self.add((*path, name), f"{getattr(one, name)} is not one host")
                first = seen.setdefault((one.zone, name, found or frozenset()), path)
                if found and first is not path:
                    self.add((*path, name), f"{getattr(one, name)} is at {self.place((*first, name))} already")
            if len({":" in host for host in hosts}) > 1:
                self.add((*path, "inside"), f"{one.inside} is of another family than {one.outside}")

    def _raw(self) -> None:
        known = {rule.id for _, rule in self._rules()}
        for number, each in enumerate(self.device.raw):
            if each.before and each.before not in known:
                self.add(("raw", number, "before"), f"there is no rule {each.before}{nearest(each.before, known)}")

    def _proofs(self) -> None:
        shots: dict[str, tuple[Path, Shot]] = {}
        for number, packet in enumerate(self.device.proofs.packets):
            path: Path = ("proofs", "packets", number)
            if packet.id in shots:
                first = self.place((*shots[packet.id][0], "id"))
                self.add((*path, "id"), f"{packet.id} is the id of {first} already")
                continue
            try:
                shots[packet.id] = path, shot(packet, self.names)
            except ValueError as error:
                self.add(path, str(error))
        for each in unvouched([made for _, made in shots.values()]):
            text = f"nothing from {each.probe} by IPv{each.family} is expected open, so nothing shows that it works"
            self.add((*shots[each.id][0], "from"), f"{text} (add a packet that is: expect: open)")

    def _pairs(self) -> None:
        seen: dict[tuple[str, str, str], Path] = {}
        for kind in ("masquerade", "policies"):
            for number, one in enumerate(getattr(self.device, kind)):
                special = (firewall.SELF,) if kind == "policies" else ()
                for name, zones, more in (("from", one.source_zones, ()), ("to", one.destination_zones, special)):
                    if firewall.ANY in zones:
                        self.add((kind, number, name), "any is of rules: here each zone is named")
                    else:
                        self._zones_known((kind, number, name), zones, *more)
                if kind == "masquerade":
                    found = self._resolved((kind, number, "source"), one.source, self.names.addresses)
                    self._no_names((kind, number, "source"), found, "who is behind it is no question of the DNS")
                    if found and 4 not in addresses.families(found):
                        self.add((kind, number, "source"), "is of IPv6, and a masquerade is for IPv4 only")
                for pair in _each_pair(one):
                    path: Path = (kind, number)
                    first = seen.setdefault((kind, *pair), path)
                    if first is not path:
                        self.add(path, f"{firewall.pair(*pair)} is said at {self.place((*first, 'from'))} already")
                    elif kind == "policies" and one.action == "accept":
                        self._opens_policy(path, pair)

    def _opens_policy(self, path: Path, pair: tuple[str, str]) -> None:
        came, goes = pair
        zone = self.device.zones.get(came)
        if came in self.outside and goes not in self.outside:
            self.add(path, f"lets everybody outside into {goes} (write rules for what is meant)")
        elif zone and zone.guest and goes not in self.outside:
            self.add(path, f"lets guests ({came}) into {goes}")


def _each_pair(one: Any) -> list[tuple[str, str]]:
    return [(a, b) for a in one.source_zones for b in one.destination_zones]


def _is_wide(text: str) -> bool:
    found = services.ports(text)
    return found is None or found[1] != found[2]


def _only_host(found: frozenset[str]) -> str | None:
    (one, *more) = found
    span = addresses.span(one)
    return one if not more and span is not None and span.low == span.high else None
