"""
What is let through a customer's firewall for somebody, and closed again: edits of `firewall/<site>.yaml`.

Who opens says who, to what, for which service, and for how long; which zones that is between, whether it is a rule or a
forward, and where in the order it has to stand follows from the rest of the file. What does not follow is asked for,
with the words to type. As in `people.py` nothing is written before it was loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mspctl.desired import Selection, declarations
from mspctl.desired.firewall.back import RULES, DeviceEditor
from mspctl.desired.firewall.spelling import Entry, Speller, one_or_list
from mspctl.edit import Bare, Edit, Keys
from mspctl.errors import InputError
from mspctl.explain_packet import asked, device
from mspctl.kinds import addresses, firewall, packets, services
from mspctl.kinds.firewall import ANY, SELF
from mspctl.kinds.firewall.words import in_words
from mspctl.kinds.packets import Packet
from mspctl.load import Estate
from mspctl.model.base import nearest
from mspctl.model.sections.firewall import FACET, Site
from mspctl.model.sections.firewall.names import Names, Unknown
from mspctl.model.sections.firewall.rules import Rule
from mspctl.model.sections.firewall.vpn import outside
from mspctl.moments import Moment
from mspctl.resource import Id, Resource
from mspctl.strict_yaml import find

LONGEST = 48  # characters of an id
# Networks that are nobody's on the Internet (RFC 1918, 6598, 4193, 3927, 4291).
INSIDE = frozenset(
    "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 fc00::/7 fe80::/10 ::1".split()
)
# What is wrong with an entry has the name of the option that it was typed for.
CALLED: Mapping[str, str] = {
    "from": "--from", "source": "--from", "only_from": "--from", "to": "--to", "destination": "--to",
    "services": "--service", "listen": "--service",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Door:
    """The firewall that is meant, and its file."""

    customer: str
    name: str
    site: Site
    editor: DeviceEditor

    section = FACET

    @property
    def file(self) -> str:
        return self.site.file

    @property
    def address(self) -> str:
        return f"firewall {self.name}"


@dataclass(frozen=True, slots=True)
class Wish:
    """Who may come in, as it was typed."""

    source: Sequence[str]
    destination: str
    services: Sequence[str]
    more: Mapping[str, Any]  # until, schedule, log, why, asked_by, ticket
    id: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """What is edited; nothing where it is open already."""

    edits: Sequence[Edit]
    entry: Keys
    words: Sequence[tuple[str, str]]


def door(estate: Estate, customer: str, name: str | None) -> Door:
    """The firewall of that name; without one, the only one. Raises InputError."""
    sites: Mapping[str, Site] = estate.customers[customer].files.get(FACET, {})
    if name is None and len(sites) != 1:
        which = f"which of {', '.join(sites)}?" if sites else "there is no firewall.yaml"
        raise InputError.at("SITE", f"{customer} has {len(sites) or 'no'} firewalls ({which})")
    name = name or next(iter(sites))
    site = device(estate, customer, name)
    text = (estate.root / site.file).read_bytes().decode()
    zone = estate.customers[customer].info.timezone
    return Door(customer, name, site, DeviceEditor(site, text, Speller(site.device, zone, estate.now)))


# -- open ---------------------------------------------------------------------------------------------------------


def opened(where: Door, wish: Wish) -> Opened:
    """The rule or forward that does it, placed where it counts. Raises InputError."""
    names = Names(where.site.device)
    _not_over(where, wish.more.get("until"))
    came, source = _from(where.site, names, wish.source)
    goes, destination, port = _to(where.site, names, wish.destination)
    found = _resolved(names.services, wish.services, "--service")
    made = _Made(where, names, wish, came, source, goes, destination, found)
    if _is_forwarded(where.site, names, came, goes, destination):
        return made.forward(port)
    if port:
        raise InputError.at("--to", f"{wish.destination}: only a forward leads to another port (say it with --service)")
    return made.rule()


@dataclass(frozen=True, slots=True)
class _Made:
    where: Door
    names: Names
    wish: Wish
    came: str
    source: Sequence[str]  # as typed; none: the whole zone
    goes: str
    destination: str  # as typed; "": the whole zone
    services: frozenset[str]

    def forward(self, port: int) -> Opened:
        (service, *others) = sorted(self.services)
        if others or services.ports(service) is None:
            text = f"{', '.join(self.wish.services)} is not one port (a forward has one, as tcp/8443: open one by one)"
            raise InputError.at("--service", text)
        host = f"[{self.destination}]" if port and ":" in self.destination else self.destination
        entry = {
            "id": self._id(),
            "listen": f"{self.came}:{service.removeprefix('tcp/')}",
            "to": f"{host}:{port}" if port else host,
            "only_from": one_or_list(self.source or [ANY]),
            **self.wish.more,
        }
        if same := self._same_forward(service, port):
            return self._already(same)
        return self._placed("forwards", entry, None)

    def _same_forward(self, service: str, port: int) -> Resource | None:
        """One that is there, without an end, and lets them in already."""
        for each in self.where.site.device.forwards:
            mine = self.names.addresses([each.host_and_port[0]]) == self.names.addresses([self.destination])
            wide = addresses.covers(self.names.addresses(each.only_from), self._source())
            whole = (each.zone, each.service) == (self.came, service) and (each.host_and_port[1] or port) == port
            if mine and wide and whole and not each.until and not each.schedule:
                return Resource(Id(firewall.FORWARD, each.id), {}, self._place("forwards", each.id))
        return None

    def rule(self) -> Opened:
        entry: Entry = {"id": self._id(), "from": self.came, "to": self.goes}
        entry |= {"source": one_or_list(self.source)} if self.source else {}
        entry |= {"destination": self.destination} if self.destination else {}
        entry |= {"services": one_or_list(self.wish.services), "action": "accept", **self.wish.more}
        first = next((found for found in self._rules() if self._decides(found[1])), None)
        if first is None:
            policy = self._policy()
            return self._already(policy) if policy else self._placed("rules", entry, None)
        kind, rule = first
        place = self._place(kind, rule.id)
        if rule.action == "accept":
            return self._already(Resource(Id(firewall.RULE, rule.id), {}, place))
        words = [("before", f"{rule.id} ({place}), which {rule.action}s it")]
        return self._placed("rules", entry, self._before(kind, rule, place), words)

    def _decides(self, rule: Rule) -> bool:
        """Whether a rule shuts out some of it, or lets all of it through for ever."""
        return self._meets(rule) and (rule.action != "accept" or self._covers(rule))

    def _policy(self) -> Resource | None:
        """What lets it through where no rule says anything."""
        for number, policy in enumerate(self.where.site.device.policies):
            pair = self.came in policy.source_zones and self.goes in policy.destination_zones
            if pair and policy.action == "accept":
                mark = find(self.where.site.data, ("policies", number))
                id_ = Id(firewall.POLICY, firewall.pair(self.came, self.goes))
                return Resource(id_, {}, f"{mark.file}:{mark.line}" if mark else self.where.file)
        return None

    def _rules(self) -> Iterator[tuple[str, Rule]]:
        """Those that come before a new one at the end of the own."""
        for kind in RULES[:2]:
            yield from ((kind, rule) for rule in getattr(self.where.site.device, kind))

    def _before(self, kind: str, rule: Rule, place: str) -> int:
        """Where in the own list it comes before a rule that would shut it out. Raises InputError."""
        held = [each.get("id") for each in self.where.editor.entries("rules")] if kind == "rules" else []
        if rule.id not in held:
            text = f"{rule.id} ({place}) {rule.action}s it before any rule of {self.where.file} (change that one)"
            raise InputError.at("--to", text)
        return held.index(rule.id)

    def _meets(self, rule: Rule) -> bool:
        zones = self.came in rule.source_zones or ANY in rule.source_zones
        zones &= self.goes in rule.destination_zones or (ANY in rule.destination_zones and self.goes != SELF)
        return (
            zones
            and addresses.meet(self.names.addresses(rule.source), self._source())
            and addresses.meet(self.names.addresses(rule.destination), self._away())
            and services.meet(self.names.services(rule.services), self.services)
        )

    def _covers(self, rule: Rule) -> bool:
        return (
            not (rule.until or rule.schedule)
            and addresses.covers(self.names.addresses(rule.source), self._source())
            and addresses.covers(self.names.addresses(rule.destination), self._away())
            and services.covers(self.names.services(rule.services), self.services)
        )

    def _source(self) -> frozenset[str]:
        return self.names.addresses(self.source or [ANY])

    def _away(self) -> frozenset[str]:
        return self.names.addresses([self.destination or ANY])

    def _place(self, kind: str, id_: str) -> str:
        number = next(n for n, each in enumerate(getattr(self.where.site.device, kind)) if each.id == id_)
        mark = find(self.where.site.data, (kind, number))
        return f"{mark.file}:{mark.line}" if mark else self.where.file

    def _already(self, by: Resource) -> Opened:
        what = by.id.kind.partition(".")[2]
        return Opened([], (), [("open", f"already, without an end: {what} {by.id.name} ({by.source}) lets it through")])

    def _placed(self, kind: str, entry: Entry, index: int | None, words: Sequence[tuple[str, str]] = ()) -> Opened:
        editor = self.where.editor
        if index is None:
            index = len(editor.entries(kind))
        editor.add(kind, entry, index)
        merged = len(getattr(self.where.site.device, kind)) - (len(editor.entries(kind)) - 1) + index
        return Opened(editor.edits, (kind, merged), [("id", entry["id"]), *words])

    def _id(self) -> str:
        """Of what it leads to; one that nobody has."""
        if self.wish.id:
            return self.wish.id
        said = [self.destination or self.goes, *(s.replace("/", "-") for s in self.wish.services[:1])]
        plain = re.sub(r"[^a-z0-9_.-]+", "-", "-".join(said).lower()).strip("-._")[: LONGEST - 3]
        held = self.where.site.device
        taken = {each.id for kind in (*RULES, "forwards", "static_nat") for each in getattr(held, kind)}
        return next(each for each in (plain, *(f"{plain}-{n}" for n in range(2, len(taken) + 3))) if each not in taken)


# -- zones and addresses, as typed --------------------------------------------------------------------------------


def _from(site: Site, names: Names, typed: Sequence[str]) -> tuple[str, Sequence[str]]:
    """One zone, and the places in it; none for all of it."""
    found = [_end(site, names, each, "--from") for each in typed]
    zones = {zone for zone, _ in found}
    if SELF in zones:
        raise InputError.at("--from", "what the device itself sends is always let through")
    if len(zones) != 1:
        raise InputError.at("--from", f"{', '.join(typed)} are in several zones ({', '.join(sorted(zones))}: one each)")
    places = [place for _, place in found]
    return zones.pop(), [] if "" in places else places


def _to(site: Site, names: Names, typed: str) -> tuple[str, str, int]:
    """A zone, a place in it ("": all of it), and the port there (0: the same)."""
    text, port = _with_port(typed)
    zone, place = _end(site, names, text, "--to")
    return zone, place, port


def _with_port(typed: str) -> tuple[str, int]:
    """`nvr:443` is a host and its port there, `lan:nvr:443` and `[2001:db8::1]:443` too."""
    host, colon, port = typed.rpartition(":")
    if (
        not colon
        or not (port.isascii() and port.isdigit())
        or _is_address(typed)
        or _is_address(typed.partition(":")[2])
    ):
        return typed, 0
    if not 0 < int(port) < 65536:
        raise InputError.at("--to", f"{typed}: {port} is no port (leave it out for the same)")
    return host.replace("[", "").replace("]", ""), int(port)


def _is_address(text: str) -> bool:
    try:
        addresses.fold(text)
    except ValueError:
        return False
    return not text.endswith(".")


def _end(site: Site, names: Names, typed: str, option: str) -> tuple[str, str]:
    """A zone and a place in it, as typed; the zone may follow from the place. Raises InputError."""
    zones = {*site.device.zones, SELF}
    if typed in zones:
        return typed, ""
    zone, colon, place = typed.partition(":")
    if colon and zone in zones and zone != SELF:
        _resolved(names.addresses, [place], option)
        return zone, place
    if colon and not _is_address(typed):
        raise InputError.at(option, f"{typed}: there is no zone {zone}{nearest(zone, zones)} (write zone:address)")
    found = _resolved(names.addresses, [typed], option)
    return _zone_of(site, typed, found, option), typed


def _zone_of(site: Site, typed: str, found: frozenset[str], option: str) -> str:
    """What is public is outside, what is private inside, if there is one such zone."""
    out = outside(site.device)
    inner = [z for z, said in site.device.zones.items() if z not in out and not said.guest]
    public = not addresses.meet(found, INSIDE)
    candidates = [z for z in site.device.zones if z in out] if public else inner if _is_private(found) else []
    if len(candidates) == 1:
        return candidates[0]
    which = " or ".join(f"{zone}:{typed}" for zone in candidates or site.device.zones)
    raise InputError.at(option, f"in which zone is {typed}? (write {which})")


def _is_private(found: frozenset[str]) -> bool:
    return addresses.covers(INSIDE, found)


def _resolved(resolve: Any, said: Sequence[str], option: str) -> frozenset[str]:
    try:
        found: frozenset[str] = resolve(said)
    except Unknown as error:
        raise InputError.at(option, str(error)) from None
    return found


def _is_forwarded(site: Site, names: Names, came: str, goes: str, destination: str) -> bool:
    """A private IPv4 host that is reached from outside has no address there, unless static NAT gives it one."""
    if came not in outside(site.device) or goes == SELF or not destination:
        return False
    found = names.addresses([destination])
    nat = {each for one in site.device.static_nat for each in names.addresses([one.inside])}
    return len(found) == 1 and not found <= nat and _is_private(found) and ":" not in next(iter(found))


# -- close --------------------------------------------------------------------------------------------------------


def closed(where: Door, name: str, until: str | None) -> list[Edit]:
    """A rule or forward goes; with `until`, it closes itself then. Raises InputError."""
    editor = where.editor
    known = [each.id for kind in (*RULES, "forwards") for each in getattr(where.site.device, kind)]
    try:
        found = editor.find((*RULES, "forwards"), name)
    except ValueError as error:
        raise InputError.at("ID", f"{name} {error}, and holds for others too (change it there)") from None
    if found is None:
        raise InputError.at("ID", f"{where.file} has no rule or forward {name}{nearest(name, known)}")
    if until is None:
        editor.remove(*found)
    else:
        _not_over(where, until)
        editor.change(*found, {"until": Bare(until)})
    return editor.edits


def _not_over(where: Door, until: str | None) -> None:
    """A slip in it is told with the rest of the file. Raises InputError."""
    try:
        over = until is not None and Moment.parse(until).ends(where.editor.speller.zone) <= where.editor.speller.now
    except ValueError:
        return
    if over:
        raise InputError.at("--until", f"{until} is over (write a day or a time that comes)")


def declared(estate: Estate, where: Door) -> Sequence[Resource]:
    """What Git says of the firewall."""
    made = declarations(estate, Selection([where.customer], [FACET]), {}, estate.now)
    return next(each.resources for each in made if each.scope.name == where.name)


def by_packet(where: Door, resources: Sequence[Resource], wish: Wish, at: datetime) -> str:
    """The id of what lets a packet through, if it lets through nothing else. Raises InputError."""
    packet = packet_of(where, wish, at)
    decision = packets.decide(resources, packet)
    if not decision.passes or decision.by is None:
        raise InputError.at("", f"it is closed: {_deciding(decision)} (mspctl firewall explain)")
    by = next(r for r in resources if r.id == decision.by)
    if by.id.kind not in (firewall.RULE, firewall.FORWARD):
        raise InputError.at("", f"{_deciding(decision)} lets it through ({by.source}): write a rule that drops it")
    if by.id.name == firewall.MANAGEMENT:
        raise InputError.at("", f"management lets it through ({by.source}), and lets us in")
    if not _is_all_of(by, packet):
        text = f"{by.id.name} ({by.source}) {in_words(by)}, which is more than that: close it by its id"
        raise InputError.at("", text)
    return by.id.name


def packet_of(where: Door, wish: Wish, at: datetime) -> Packet:
    """The packet that `opened` would let through for the same wish. Raises InputError."""
    names, site = Names(where.site.device), where.site
    (source,), (service,) = wish.source, wish.services
    came, sender = _end(site, names, source, "--from")
    goes, receiver, _ = _to(site, names, wish.destination)
    if _is_forwarded(site, names, came, goes, receiver):
        goes, receiver = SELF, ""
    return asked(site, f"{came}:{sender}", f"{goes}:{receiver}" if receiver else goes, service, at)


def still_open(later: Estate, where: Door, wish: Wish) -> list[tuple[str, str]]:
    """What else lets it through, once it is closed."""
    resources = declared(later, where)
    decision = packets.decide(resources, packet_of(where, wish, later.now))
    by = next((r for r in resources if r.id == decision.by), None)
    return [("but", f"{_deciding(decision)} ({by.source}) still lets it through")] if decision.passes and by else []


def _deciding(decision: packets.Decision) -> str:
    return f"{decision.by.kind.partition('.')[2]} {decision.by.name}" if decision.by else "nothing"


def _is_all_of(by: Resource, packet: Packet) -> bool:
    """Whether the rule is for this sender and this service only."""
    listened = firewall.texts(by, "listen") or firewall.texts(by, "services")
    source = firewall.texts(by, "source")
    return len(listened) == 1 and source == frozenset({str(packet.source)}) and listened == {packet.service}
