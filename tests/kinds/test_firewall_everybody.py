"""
Of changes that were made up: what lets everybody in who was kept out is never carried out without a name.

Whether somebody gets in is what `packets.decide` says, which is held against the kernel elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from random import Random

import pytest

from mspctl import guards
from mspctl.kinds import firewall, packets
from mspctl.kinds.firewall import reach
from mspctl.kinds.packets import Packet
from mspctl.resource import Change, Id, Resource
from tests.drivers.nftables_rig import ANY, default, forward, masquerade, policy, rule, several, zone

NOW = datetime(2027, 3, 4, 12, tzinfo=UTC)
ANYBODY = ("8.8.8.8", "151.5.6.7", "203.0.113.200", "91.2.3.4")  # who all get in where everybody does
SOURCES = (
    ANY, ANY, several("0.0.0.0/0"), several("198.51.100.0/24"), several("10.0.0.0/8"),
    several("0.0.0.0-127.255.255.255", "128.0.0.0-255.255.255.255"),
)  # fmt: skip
SERVICES = (several("tcp/443"), several("tcp/22"), several("tcp/1-1000"), several("udp/53"), ANY)
CAME = (several("wan"), several("lan"), several("any"), several("wan", "dmz"), several("dmz"))
GOES = (*CAME[:3], several("dmz"), several("self"), several("any", "self"))
BEHIND = {"l0": "10.20.0.9", "d0": "10.40.0.1"}  # interface → a host
ASKED = ("tcp/443", "tcp/22", "tcp/8443", "tcp/999", "udp/53")
OTHERS = [rule(f"x{n}", source=several("10.9.9.9")) for n in range(60)]  # so that a few losses are everyday work

Held = dict[Id, Resource]


def made_up(chance: Random, before: Held | None = None) -> Held:
    """Some rules and all around them; mostly those that were there `before`."""
    names = [f"r{n}" for n in range(chance.randint(0, 4))]
    chance.shuffle(names)
    found = []
    for name in names:
        old, kept = (before or {}).get(Id(firewall.RULE, name)), chance.random()
        found.append(a_rule(chance, name) if not old or kept > 0.9 else old if kept > 0.3 else another(chance, old))
    interfaces = ["w0", *BEHIND]
    if before and chance.random() < 0.5:
        chance.shuffle(interfaces)
    outside = chance.random() < 0.85
    found += [zone(name, each, outside=outside and name == "wan") for name, each in zip(ZONES, interfaces, strict=True)]
    found += [masquerade("lan > wan")] if chance.random() < 0.4 else []
    for pair in ("wan > lan", "dmz > lan", "wan > self", "lan > wan"):
        found += [policy(pair, action=chance.choice(["accept", "drop"]))] if chance.random() < 0.15 else []
    if chance.random() < 0.3:
        found.append(forward("f", zone=chance.choice(["wan", "dmz"]), source=chance.choice(SOURCES), to="10.20.0.9"))
    return {each.id: each for each in (*found, firewall.order(names), default())}


ZONES = ("wan", "lan", "dmz")


def a_rule(chance: Random, name: str) -> Resource:
    said = {"from_": CAME, "to": GOES, "source": SOURCES, "services": SERVICES}
    action = chance.choice(["accept", "accept", "drop", "reject"])
    return rule(name, action=action, **{key: chance.choice(values) for key, values in said.items()})


def another(chance: Random, old: Resource) -> Resource:
    """With one field otherwise, perhaps."""
    name = chance.choice(["from", "to", "source", "services", "action"])
    return replace(old, fields={**old.fields, name: a_rule(chance, old.id.name).fields[name]})


def opened(held: Held, interface: str) -> set[tuple[str, str]]:
    """What everybody reaches who comes by an interface."""
    of = {each: r.id.name for r in held.values() for each in firewall.texts(r, "interfaces")}
    ends = [(of[each], address) for each, address in BEHIND.items() if each != interface] + [("self", "192.0.2.1")]
    return {
        (address, service)
        for goes, address in ends
        for service in ASKED
        if all(
            packets.decide(
                [*held.values()],
                Packet(of[interface], goes, ip_address(source), ip_address(address), service, NOW),
            ).passes
            for source in ANYBODY
        )
    }


@pytest.mark.parametrize(
    "seeds", [range(80), pytest.param(range(80, 6000), marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_nobody_opens_to_everybody_in_passing(seeds: range) -> None:
    opening = 0
    for seed in seeds:
        chance = Random(seed)  # noqa: S311
        was = made_up(chance)
        will = made_up(chance, was)
        changes = [Change(was.get(i), will.get(i)) for i in sorted({*was, *will}) if was.get(i) != will.get(i)]
        named = guards.judge(changes, [*was.values(), *OTHERS], [], now=NOW)
        outside = reach.outside(was.values())
        wires = {each for r in was.values() if r.id.name in outside for each in firewall.texts(r, "interfaces")}
        if any(opened(will, each) - opened(was, each) for each in wires):
            opening += 1
            assert named, seed
    assert opening > len(seeds) / 20, opening
