"""
Our evaluator against the kernel: rules made at random are loaded, real packets are sent, and what becomes of each is
what `packets.decide` says of the declared rules, and of those that are read back.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from typing import Any

import pytest

from mspctl import explain_packet
from mspctl.desired.firewall import of_device
from mspctl.drivers.nftables import foreign, native
from mspctl.drivers.nftables.live import Table
from mspctl.kinds import firewall, packets, services
from mspctl.kinds.packets import Packet
from mspctl.kinds.services import ALONE
from mspctl.model.sections.firewall import Site
from mspctl.model.sections.firewall.rules import Device
from mspctl.resource import Resource
from mspctl.strict_yaml import Map
from tests.servers import wires
from tests.servers.wires import HOSTS, NETS, OUTSIDE, Seen, Shot, Wires

QUICK, ALL, SHOTS = 40, 240, 120
TABLE = "mspctl-sede"
ZONES = (*NETS,)
SERVICES = (
    *("ssh", "dns", "http", "https", "ping", "icmp", "esp", "gre", "ospf", "any", "tcp/8000-8010", "udp/500"),
    *("sctp/9", "udp/1-65535", "icmp/timestamp-request", "icmpv6/any", "icmp/echo-reply", "web", "voice", "tcp/1-1023"),
)
_BOTH = "tcp/22 tcp/80 tcp/443 tcp/8005 tcp/8443 udp/53 udp/500 sctp/9 esp gre ospf".split()
SENT = {
    4: [*_BOTH, *"tcp/8444 udp/5000 udp/5060 icmp/echo-request icmp/echo-reply icmp/timestamp-request".split()],
    6: [*_BOTH, "icmpv6/echo-request", "icmpv6/echo-reply"],
}


class Rules:
    """A firewall's YAML at random, always the same for a number."""

    def __init__(self, number: int, now: datetime) -> None:
        self.random = random.Random(number)  # noqa: S311  # the same for all
        self.now = now
        self.ids = (f"r{n}" for n in count())

    def some(self, pool: Sequence[str], most: int = 3) -> list[str]:
        return self.random.sample([*pool], self.random.randint(1, most))

    def maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def device(self) -> dict[str, Any]:
        zones: dict[str, Any] = {zone: {"interfaces": [f"{zone}0"]} for zone in ZONES}
        zones["wan"]["outside"] = zones["guest"]["guest"] = "true"
        return {
            "target": "fw",
            "zones": zones,
            "objects": {"few": self.places(), "many": [*self.places(), "few"], "nvr": ["10.20.0.60"]},
            "services": {"web": ["http", "https", "tcp/8005"], "voice": ["udp/5060", "udp/5000-5005"]},
            "schedules": {"open": self.week(0), "shut": self.week(2)},
            "management": {"from": ["198.51.100.0/24"]},
            "before": [self.rule() for _ in range(self.random.randint(0, 2))],
            "rules": [self.rule() for _ in range(self.random.randint(0, 9))],
            "after": [self.rule() for _ in range(self.random.randint(0, 1))],
            "forwards": [*self.forwards()],
            "static_nat": [*self.nat()],
            "masquerade": [*self.masquerade()],
            "policies": [*self.policies()],
            "default": {"action": self.random.choice(("drop", "reject"))},
        }

    def week(self, ahead: int) -> str:
        """Hours on the wall that begin so many days from now, three before and last six."""
        at = self.now + timedelta(days=ahead, hours=-3)
        return f"{firewall.DAYS[at.weekday()]} {at:%H:%M}-{at + timedelta(hours=6):%H:%M}"

    def places(self) -> list[str]:
        net4, net6 = NETS[self.random.choice(ZONES)]
        low, high = sorted(self.random.sample([int(host) for host in HOSTS], 2))
        pool = [f"{net4}{low}", f"{net4}0/24", f"{net4}{low}-{net4}{high}", f"{net6}{low}", f"{net6}/64", f"{net4}1"]
        return self.some([*pool, "10.0.0.0/8", "2001:db8::/32", f"{net6}1"])

    def anywhere_or(self) -> list[str]:
        return ["any"] if self.maybe(0.6) else self.random.choice((self.places(), ["few"], ["many"], ["nvr"]))

    def limits(self) -> dict[str, str]:
        if self.maybe(0.7):
            return {}
        ends = {"until": f"{self.now + timedelta(days=self.random.choice((-1, 1))):%Y-%m-%d %H:%M}"}
        return self.random.choice((ends, {"schedule": "open"}, {"schedule": "shut"}))

    def rule(self) -> dict[str, Any]:
        return {
            "id": next(self.ids),
            "from": self.random.choice((["any"], self.some(ZONES))),
            "to": self.random.choice((["any"], ["self"], self.some((*ZONES, "self")))),
            "source": self.anywhere_or(),
            "destination": self.anywhere_or(),
            "services": self.some(SERVICES),
            "action": self.random.choice(("accept", "accept", "drop", "reject")),
            "log": "false",
            **self.limits(),
        }

    def forwards(self) -> Iterator[dict[str, Any]]:
        for listen in self.random.sample(
            ["8443", "8444", "udp/5060", "udp/5000-5005", "80"], self.random.randint(0, 3)
        ):
            zone = self.random.choice(("wan", "wan", "lan", "guest"))
            host = self.random.choice(("nvr", "10.40.0.9", "[2001:db8:40::60]", "10.20.0.60"))
            port = "" if "-" in listen or self.maybe(0.4) else ":443"
            only = self.random.choice((["any"], self.places(), [f"{NETS[zone][0]}60", f"{NETS[zone][1]}60"]))
            said = {"id": next(self.ids), "listen": f"{zone}:{listen}", "to": f"{host}{port}", "only_from": only}
            yield said | self.limits()

    def nat(self) -> Iterator[dict[str, str]]:
        for host in OUTSIDE if self.maybe(0.5) else ():
            inside, version = self.random.choice((("dmz", 0), ("dmz", 1), ("lan", 0)))
            outside = f"{NETS['wan'][version]}{host}"
            there = f"{NETS[inside][version]}{HOSTS[OUTSIDE.index(host) + 1]}"
            yield {"id": next(self.ids), "zone": "wan", "outside": outside, "inside": there}

    def masquerade(self) -> Iterator[dict[str, Any]]:
        if self.maybe(0.8):
            came = self.some(("lan", "guest", "dmz"), 2)
            yield {"from": came, "to": ["wan"], "source": self.random.choice((["any"], ["any"], ["few"], ["nvr"]))}

    def policies(self) -> Iterator[dict[str, Any]]:
        pairs = [(a, b) for a in ZONES for b in (*ZONES, "self") if a != b]
        for came, goes in self.random.sample(pairs, self.random.randint(0, 8)):
            yield {"from": [came], "to": [goes], "action": self.random.choice(("accept", "accept", "drop", "reject"))}

    def shots(self, resources: Sequence[Resource]) -> Iterator[tuple[Shot, str]]:
        """Each with the zone that it goes to; none that belongs to the connection of another one."""
        nats = {str(r.fields["outside"]): str(r.fields["inside"]) for r in resources if r.id.kind == firewall.NAT}
        forwards = [r for r in resources if r.id.kind == firewall.FORWARD]
        known: set[tuple[str, str]] = set()
        for number in range(20_000, 20_000 + SHOTS):
            version, came = self.random.choice((4, 4, 6)), self.random.choice(ZONES)
            goes = self.random.choice([zone for zone in (*ZONES, "self", "self") if zone != came])
            zone = came if goes == "self" and self.maybe(0.7) else self.random.choice(ZONES) if goes == "self" else goes
            away = _net(zone, version) + ("1" if goes == "self" else self.random.choice(HOSTS))
            service = self.random.choice(SENT[version])
            if forwards and self.maybe(0.2):
                forward = self.random.choice(forwards)
                came, goes, version = str(forward.fields["zone"]), "self", ip_address(str(forward.fields["to"])).version
                away, service = f"{_net(came, version)}1", self.one_of(forward)
            elif came == "wan" and nats and self.maybe(0.3):
                away, inside = self.random.choice([*nats.items()])
                version = ip_address(away).version
                goes = next(zone for zone, nets in NETS.items() if inside.startswith(nets))
                service = self.random.choice([each for each in SENT[version] if each not in ALONE])
            source = _net(came, version) + self.random.choice(HOSTS)
            # Without a port, all between two hosts is one connection, whoever began it and whatever it is seen as.
            keys = [(service, end) for end in (source, away) if not end.endswith((".1", ":1"))]
            keys = keys if service in ALONE else [(service, f"{source} {away}")]
            if known.isdisjoint(keys):
                known.update(keys)
                yield Shot(number, came, source, away, service), goes

    def one_of(self, forward: Resource) -> str:
        (listen,) = firewall.texts(forward, "listen")
        protocol, low, high = services.ports(listen) or ("", 0, 0)
        return f"{protocol}/{self.random.randint(low, high)}"


def _net(zone: str, version: int) -> str:
    return NETS[zone][0 if version == 4 else 1]


@pytest.fixture(scope="module")
def net() -> Iterator[Wires]:
    with wires.running() as running:
        yield running


def loaded(net: Wires, number: int, now: datetime) -> tuple[Rules, list[Resource], list[Resource]]:
    """Rules at random, what they declare, and what was read back."""
    made = Rules(number, now)
    device = Device.model_validate(_as_yaml(made.device()))
    declared = of_device(Site("sede.yaml", device, Map()), "UTC", now)
    held = [native.held(r) for r in declared if r.id.kind not in native.PREFIXES or any(native.made_of(r))]
    net.nft("-j", "-f", "-", given=json.dumps({"nftables": native.commands(TABLE, held, Table())}))
    return made, declared, Table.read(listed(net, "inet", TABLE)).resources


def listed(net: Wires, family: str, name: str) -> Any:
    return json.loads(net.nft("-j", "list", "table", family, name))


def checked(net: Wires, number: int) -> Counter[str]:
    """One set of rules, and what became of the packets, counted."""
    now = datetime.now(UTC)
    made, declared, live = loaded(net, number, now)
    shots, says = [], {}
    for shot, goes in made.shots(declared):
        packet = Packet(shot.zone, goes, ip_address(shot.source), ip_address(shot.destination), shot.service, now)
        decided = [packets.decide(each, packet) for each in (declared, live)]
        assert decided[0] == decided[1], (number, shot, decided)
        shots.append(shot)
        says[shot.number] = decided[0], goes
    net.forget()
    seen = net.shoot(shots, [n for n, (decision, _) in says.items() if decision.passes])
    told = Counter[str]()
    wrong = []
    for shot in shots:
        decision, goes = says[shot.number]
        if not _agrees(decision, goes, shot, seen[shot.number]):
            wrong.append((shot, goes, decision, seen[shot.number]))
        kinds = [decision.by.kind if decision.by else "none", decision.action, f"to {goes}", shot.service]
        told.update([*kinds, *(["moved"] if decision.to else []), *(["seen as"] if decision.seen_as else [])])
    assert not wrong, (number, wrong)
    return told


def _as_yaml(said: Any) -> Any:
    """Mappings as the reader of YAML makes them."""
    if isinstance(said, dict):
        found = Map()
        found.update({key: _as_yaml(value) for key, value in said.items()})
        return found
    return [*map(_as_yaml, said)] if isinstance(said, list) else said


def _agrees(decision: packets.Decision, goes: str, shot: Shot, seen: Sequence[Seen]) -> bool:
    arrived = [each for each in seen if each.zone]
    answers = {each.answer for each in seen if each.answer}
    if decision.action == "drop":
        return not seen
    if decision.action == "reject":
        return not arrived and answers == {"prohibited"}
    if goes == "self" and not decision.to:
        return not arrived and (answers == {"itself"} or (shot.service.endswith("echo-reply") and not seen))
    if len(arrived) != 1 or "prohibited" in answers:
        return False
    to, _, service = decision.to.partition(" ")
    port = service.partition("/")[2]
    (one,) = arrived
    sent_there = one.destination == (to or shot.destination) and (not port.isdigit() or one.port == int(port))
    if decision.by and decision.by.kind == firewall.FORWARD:
        return sent_there
    source = {"": shot.source, "the device": f"{NETS[goes][0]}1"}.get(decision.seen_as, decision.seen_as)
    return sent_there and one.zone == goes and one.source == source


def _each(net: Wires, numbers: range) -> Counter[str]:
    told = sum((checked(net, number) for number in numbers), Counter[str]())
    for each in (
        *firewall_kinds(),
        "accept",
        "drop",
        "reject",
        "moved",
        "seen as",
        *(f"to {z}" for z in (*ZONES, "self")),
    ):
        assert told[each] > len(numbers) / 10, (each, told)
    return told


def firewall_kinds() -> tuple[str, ...]:
    return (firewall.RULE, firewall.FORWARD, firewall.POLICY, firewall.DEFAULT.kind)


def test_the_kernel_does_what_we_say(net: Wires) -> None:
    _each(net, range(QUICK))


# -- tables that are not ours -------------------------------------------------------------------------------------

WHAT = (
    *("", "", "ip saddr 10.20.0.0/24", "ip daddr != 10.20.0.60", "ip daddr 203.0.113.1-203.0.113.99", "ip saddr @bad"),
    *("ip daddr 10.40.0.9", "ip6 saddr 2001:db8:20::/64", "ip6 daddr & ffff:: == 2001::", "meta nfproto ipv6"),
    *("tcp dport { 22, 80, 8000-8010 }", "udp dport != 53", "th dport 443", "tcp sport 1-100"),
    *("meta l4proto { tcp, udp }", "ip protocol icmp", "icmp type echo-request", "icmpv6 type echo-request"),
)
WHERE = (
    *("", "", 'iifname "lan0"', 'iifname "gu*"', 'iif "wan0"', 'oifname != "wan0"', 'oifname { "dmz0", "lan0" }'),
    *("iifname @in", "ct state established,related", "ct state new", "meta mark 5", "limit rate 1000/second"),
)
ENDS = (
    *("accept", "drop", "reject with icmpx admin-prohibited", "return", "jump sub", "goto sub", "counter"),
    *("accept", "drop", "jump sub"),
)


class Foreign:
    """What other people put on a firewall, at random."""

    def __init__(self, number: int) -> None:
        self.random = random.Random(number)  # noqa: S311  # the same for all
        self.said = self._table()

    def _table(self) -> str:
        hook, priority = self.random.choice(
            [
                *(("forward", -10), ("forward", 10), ("input", -10), ("input", 5), ("prerouting", -300)),
                *(("prerouting", -50), ("postrouting", 50), ("postrouting", 150)),
            ]
        )
        policy = self.random.choice(("accept", "accept", "drop"))
        sub = "\n".join(self.rule(hook, ("accept", "drop", "return")) for _ in range(self.random.randint(0, 3)))
        main = "\n".join(self.rule(hook, ENDS) for _ in range(self.random.randint(1, 5)))
        sets = "set bad { type ipv4_addr; flags interval; elements = { 10.30.0.0/24, 203.0.113.9 }; }"
        sets += '\nset in { type ifname; elements = { "wan0", "dmz0" }; }'
        base = f"type filter hook {hook} priority {priority}; policy {policy};"
        return f"table inet theirs {{\n{sets}\nchain sub {{\n{sub}\n}}\nchain main {{\n{base}\n{main}\n}}\n}}\n"

    def rule(self, hook: str, ends: Sequence[str]) -> str:
        end = self.random.choice(ends)
        end = "drop" if "reject" in end and hook in ("prerouting", "postrouting") else end
        return f"{self.random.choice(WHERE)} {self.random.choice(WHAT)} {end}"

    def by_hand(self) -> tuple[str, str]:
        """A rule, and the chain of ours that it is put in front of."""
        chain = self.random.choice(("input", "forward"))
        match = self.random.choice([each for each in WHERE + WHAT if "@" not in each])
        return chain, f"{match} {self.random.choice(('accept', 'accept', 'drop'))}"


def foreign_checked(net: Wires, number: int) -> Counter[str]:
    """Their table, a rule of theirs in ours, and what becomes of packets in the end."""
    now = datetime.now(UTC)
    made, _, live = loaded(net, number, now)
    theirs = Foreign(number)
    net.nft("-f", "-", given=theirs.said)
    if number % 2:
        chain, rule = theirs.by_hand()
        net.nft("-f", "-", given=f"insert rule inet {TABLE} {chain} {rule}\n")
    told = Counter[str]()
    try:
        table = foreign.Whole.read("inet", "theirs", listed(net, "inet", "theirs"))
        ours = foreign.Whole.read("inet", TABLE, listed(net, "inet", TABLE))
        shots, says = [], {}
        for shot, goes in made.shots(live):
            packet = Packet(shot.zone, goes, ip_address(shot.source), ip_address(shot.destination), shot.service, now)
            decision = packets.decide(live, packet)
            way = foreign.Way(packet, frozenset({f"{shot.zone}0"}), frozenset({f"{goes}0"}), decision)
            others = [*foreign.decided_by_hand(ours, way), *foreign.judged([table], way)]
            shots.append(shot)
            says[shot.number] = explain_packet.in_the_end(decision.action, others)
        net.forget()
        seen = net.shoot(shots, [n for n, end in says.items() if end == "accept"])
        for shot in shots:
            end, came = says[shot.number], seen[shot.number]
            passed = any(each.zone or each.answer == "itself" for each in came)
            told[end] += 1
            # What the device answers leaves by postrouting, and is dropped there too.
            quiet = not came and (shot.service.endswith("echo-reply") or "hook postrouting" in theirs.said)
            assert end == "unknown" or passed is (end == "accept") or quiet, (number, shot, end, came)
    finally:
        net.nft("delete", "table", "inet", "theirs")
    return told


def test_what_others_do_is_what_we_say(net: Wires) -> None:
    told = sum((foreign_checked(net, number) for number in range(1000, 1000 + QUICK // 2)), Counter[str]())
    assert min(told[end] for end in ("accept", "drop", "unknown")) > QUICK, told


@pytest.mark.soak
def test_what_many_others_do_is_what_we_say(net: Wires) -> None:
    for number in range(1000 + QUICK // 2, 1000 + ALL):
        foreign_checked(net, number)


@pytest.mark.soak
def test_the_kernel_does_what_we_say_of_many_rules(net: Wires) -> None:
    _each(net, range(QUICK, ALL))
