"""
Firewalls → one scope per device. Names become what they stand for, schedules hours in UTC, `until` a moment in UTC.

A schedule says hours on the wall, and devices know none: when clocks are set it comes to other hours, which is a change
that time made due, like the end of a rule.

Names of the DNS become the addresses that the device itself found for them when it was read; what it did not find
stays as it was found last, and a rule waits until all of its names were found once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mspctl.desired import Declaration, Outputs
from mspctl.desired.firewall.words import Words, ending
from mspctl.kinds import addresses, firewall
from mspctl.kinds import vpn as tunnels
from mspctl.kinds.firewall import ANY, times
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.firewall import FACET, Site, vpn
from mspctl.model.sections.firewall.names import Names
from mspctl.model.sections.firewall.rules import Forward, Rule, VpnSite, VpnUser
from mspctl.moments import Ending, Moment, Window, timezone
from mspctl.resource import UNKNOWN, Id, Resource, Scope, Value
from mspctl.strict_yaml import find

FACETS = (FACET,)
LATELY = timedelta(days=45)  # within it a device takes over that clocks were set; later, an hour's shift is an edit
SCOPES = {FACET: ("firewall:Firewall", {**firewall.FIELDS, **tunnels.FIELDS})}


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    for name, site in customer.files.get(FACET, {}).items():
        contacts = {contact.id: contact.name for contact in customer.info.contacts}
        scope = _scope(customer, name, site)
        words = Words(site.device, contacts, customer.info.timezone, now)
        left = leavers(customer, now)
        maker = _Maker(site, customer.info.timezone, now, words, outputs.get(scope, {}), left)
        maker.make()
        yield Declaration(
            scope,
            maker.resources,
            site.file,
            timed=maker.timed,
            shifted=maker.shifted,
            follows=frozenset(maker.follows),
            ends=maker.ends,
            words=maker.words,
        )


def scopes(customer: Customer) -> Iterator[Scope]:
    for name, site in customer.files.get(FACET, {}).items():
        yield _scope(customer, name, site)


def leavers(customer: Customer, now: datetime) -> frozenset[str]:
    """Mailboxes of people who have left by now."""
    known = vpn.mailboxes(customer)
    return frozenset(a for a, (who, _) in known.items() if who and who.left.begins(customer.info.timezone) <= now)


def of_device(site: Site, zone: str, now: datetime) -> list[Resource]:
    """What one device's YAML says at a moment, in a time zone."""
    maker = _Maker(site, zone, now, Words(site.device, {}, zone, now))
    maker.make()
    return maker.resources


def _scope(customer: Customer, name: str, site: Site) -> Scope:
    return Scope(site.device.target, FACET, name, customer.name, customer.info.engine)


@dataclass(slots=True)
class _Maker:
    """The resources of one device at one moment."""

    site: Site
    zone: str  # time zone
    now: datetime
    words: Words
    addresses: Mapping[str, Value] = field(default_factory=dict)  # of names, as far as they were found
    left: frozenset[str] = frozenset()  # mailboxes of people who are gone
    resources: list[Resource] = field(default_factory=list)
    timed: dict[Id, str] = field(default_factory=dict)
    ends: dict[Id, Ending] = field(default_factory=dict)
    shifted: dict[Id, list[Mapping[str, Value]]] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    follows: set[Id] = field(default_factory=set)

    def make(self) -> None:
        device, names = self.site.device, Names(self.site.device)
        for zone, said in device.zones.items():
            fields = firewall.fields(interfaces=frozenset(said.interfaces), outside=said.outside)
            self.resources.append(Resource(Id(firewall.ZONE, zone), fields, self._source("zones", zone)))
        order = [firewall.MANAGEMENT] if device.management else []
        if device.management:
            self._management(names)
        self._tunnel()
        left = frozenset(self.timed)  # rules of who has left the VPN
        for path, rule in self._rules():
            order += [raw.id for raw in device.raw if raw.before == rule.id]  # also before one that is no longer there
            if Id(firewall.RULE, rule.id) not in left and self._rule(names, rule, self._source(*path)):
                order.append(rule.id)
        order += [raw.id for raw in device.raw if not raw.before]
        self._raw()
        self.resources.append(firewall.order(order, self._source("rules")))
        for number, forward in enumerate(device.forwards):
            self._forward(names, forward, self._source("forwards", number))
        self._nat(names)
        for name in sorted(self.named):
            self.resources.append(Resource(Id(firewall.NAME, name), {}, self._source("objects")))

    def _rules(self) -> Iterator[tuple[vpn.Path, Rule]]:
        """From first to last."""
        device = self.site.device
        yield from ((("before", number), rule) for number, rule in enumerate(device.before))
        yield from vpn.rules(device)
        for kind in ("rules", "after"):
            yield from (((kind, number), rule) for number, rule in enumerate(getattr(device, kind)))

    def _tunnel(self) -> None:
        said = self.site.device.vpn
        if said is None:
            return
        key = f"{said.private_key} rev {said.rev}"
        fields = firewall.fields(port=said.port, addresses=frozenset(said.addresses), key=key, amiss=frozenset())
        self.resources.append(Resource(Id(tunnels.TUNNEL, said.interface), fields, self._source("vpn")))
        for path, peer in vpn.peers(self.site.device):
            self._user(peer, path) if isinstance(peer, VpnUser) else self._peer_site(peer, path)

    def _user(self, user: VpnUser, path: vpn.Path) -> None:
        id_ = Id(tunnels.USER, user.id)
        if user.mail in self.left:
            for each in (id_, firewall.ORDER, *(Id(firewall.RULE, name) for _, name, _ in vpn.reaches(user))):
                self.timed[each] = "follows from leavers"
            return
        if user.until is not None and self.now >= user.until.ends(self.zone):
            self.timed[id_] = f"expired {user.until}"
            return
        if user.until is not None:
            self.ends[id_] = self._closes(user.until)
        networks = addresses.joined(user.address)
        fields = firewall.fields(key=user.key, networks=networks, endpoint="", keepalive=0, preshared="")
        self.resources.append(made := Resource(id_, fields, self._source(*path)))
        self.words.add_peer(made, user)

    def _peer_site(self, site: VpnSite, path: vpn.Path) -> None:
        fields = firewall.fields(
            key=site.key,
            networks=addresses.joined(site.networks),
            endpoint=site.endpoint or "",
            keepalive=site.keepalive,
            preshared=f"{site.preshared} rev {site.rev}" if site.preshared else "",
        )
        self.resources.append(made := Resource(Id(tunnels.SITE, site.id), fields, self._source(*path)))
        self.words.add_peer(made, site)

    def _places(self, id_: Id, said: frozenset[str]) -> Value:
        """With addresses for names."""
        names = {each for each in said if each.endswith(".")}
        if not names:
            return said
        self.named |= names
        self.timed.setdefault(id_, "its names were resolved anew")
        self.follows.add(id_)
        found = [self.addresses.get(name) for name in sorted(names)]
        sets = [each for each in found if isinstance(each, frozenset)]
        return addresses.joined((said - names).union(*sets)) if len(sets) == len(found) else UNKNOWN

    def _management(self, names: Names) -> None:
        said = self.site.device.management
        assert said is not None, "it was asked for"
        fields = firewall.fields(
            from_=frozenset(said.zones),
            to=frozenset({firewall.SELF}),
            source=names.addresses(said.source),
            destination=frozenset({ANY}),
            services=names.services(said.services),
            action="accept",
            log=False,
            until="",
            hours=frozenset(),
        )
        self.resources.append(Resource(Id(firewall.RULE, firewall.MANAGEMENT), fields, self._source("management")))

    def _rule(self, names: Names, rule: Rule, source: str) -> bool:
        """Whether it is declared now."""
        id_ = Id(firewall.RULE, rule.id)
        limits = self._limits(id_, names, rule.schedule, rule.until)
        if limits is None:
            return False
        fields = firewall.fields(
            from_=frozenset(rule.source_zones),
            to=frozenset(rule.destination_zones),
            source=self._places(id_, names.addresses(rule.source)),
            destination=self._places(id_, names.addresses(rule.destination)),
            services=names.services(rule.services),
            action=rule.action,
            log=rule.log,
        )
        self.resources.append(made := Resource(id_, fields | limits, source))
        self.words.add(made, rule)
        return True

    def _forward(self, names: Names, forward: Forward, source: str) -> None:
        id_ = Id(firewall.FORWARD, forward.id)
        limits = self._limits(id_, names, forward.schedule, forward.until)
        if limits is None:
            return
        host, port = forward.host_and_port
        (to,) = names.addresses([host])
        fields = firewall.fields(
            zone=forward.zone,
            listen=frozenset({forward.service}),
            to=to,
            port=port,
            source=self._places(id_, names.addresses(forward.only_from)),
            log=forward.log,
        )
        self.resources.append(made := Resource(id_, fields | limits, source))
        self.words.add(made, forward)

    def _nat(self, names: Names) -> None:
        device = self.site.device
        for number, one in enumerate(device.static_nat):
            (outside,), (inside,) = names.addresses([one.outside]), names.addresses([one.inside])
            fields = firewall.fields(zone=one.zone, outside=outside, inside=inside)
            self.resources.append(Resource(Id(firewall.NAT, one.id), fields, self._source("static_nat", number)))
        for number, each in enumerate(device.masquerade):
            source = firewall.fields(source=names.addresses(each.source))
            for pair in _pairs(each.source_zones, each.destination_zones):
                self.resources.append(
                    Resource(Id(firewall.MASQUERADE, pair), source, self._source("masquerade", number))
                )
        for number, policy in enumerate(device.policies):
            said = firewall.fields(action=policy.action, log=policy.log)
            for pair in _pairs(policy.source_zones, policy.destination_zones):
                self.resources.append(Resource(Id(firewall.POLICY, pair), said, self._source("policies", number)))
        said = firewall.fields(action=device.default.action, log=device.default.log, amiss=frozenset())
        self.resources.append(Resource(firewall.DEFAULT, said, self._source("default")))

    def _raw(self) -> None:
        for number, raw in enumerate(self.site.device.raw):
            fields = firewall.fields(chain=raw.chain, text=raw.text)
            made = Resource(Id(firewall.RAW, raw.id), fields, self._source("raw", number))
            self.resources.append(made)
            self.words.add(made, raw)

    def _limits(self, id_: Id, names: Names, schedule: str | None, until: Moment | None) -> dict[str, Value] | None:
        """`until` and `hours`; None when it is over."""
        if until is not None:
            ends = until.ends(self.zone)
            if self.now >= ends:
                self.timed[id_] = self.timed[firewall.ORDER] = f"expired {until}"
                return None
            self.ends[id_] = self._closes(until)
        window = names.schedule(schedule) if schedule else None
        hours = week_of(window, self.zone, self.now) if window else frozenset()
        if window:
            self.timed.setdefault(id_, "clocks were set")
            before = week_of(window, self.zone, self.now - LATELY)
            self.shifted[id_] = [{"hours": before}] if before != hours else []
        return {"until": times.moment(until.ends(self.zone)) if until else "", "hours": hours}

    def _closes(self, until: Moment) -> Ending:
        return Ending(until.ends(self.zone), f"closes itself {ending(until, self.zone, self.now)}")

    def _source(self, *path: str | int) -> str:
        mark = find(self.site.data, path)
        return f"{mark.file}:{mark.line}" if mark else self.site.file


def _pairs(sources: Iterable[str], destinations: Iterable[str]) -> list[str]:
    return [firewall.pair(a, b) for a in sources for b in destinations]


def week_of(window: Window, zone: str, now: datetime) -> frozenset[str]:
    """The hours of a schedule in UTC, with the clock as it is set now."""
    return times.hours(_in_utc(window, zone, now))


def _in_utc(window: Window, zone: str, now: datetime) -> Iterator[tuple[int, int]]:
    """The hours of a week, in minutes since Monday 00:00 UTC, with the clock as it is set now."""
    offset = now.astimezone(timezone(zone)).utcoffset() or timedelta()
    for day in window.days:
        begin = (timedelta(days=day) + window.start - offset) // timedelta(minutes=1)
        yield begin, begin + window.length // timedelta(minutes=1)
