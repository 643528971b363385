"""
Rules that other people might have written, imported: real packets find the same before and after.

Each set of tests/rules is loaded, packets are sent, and what becomes of them is seen. Then it is imported, what was
written is loaded in its place, and the same packets are sent again.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.desired.firewall import of_device
from mspctl.driver import Access
from mspctl.drivers import nftables
from mspctl.drivers.nftables import native, raw
from mspctl.drivers.nftables.live import Table
from mspctl.imports import firewall as imports
from mspctl.kinds import firewall
from mspctl.load import load
from mspctl.model.sections.firewall import FACET
from mspctl.secrets import Secrets
from tests.drivers.nftables_rig import Inside
from tests.drivers.test_nftables_kernel import SENT
from tests.estate import estate
from tests.servers import wires
from tests.servers.wires import HOSTS, NETS, Shot, Wires

FOLDER = Path(__file__).parents[1] / "rules"
TABLE = "mspctl-main"
TARGETS = "targets:\n  fw-sede: {facets: {firewall: {driver: zonefile, directory: zones}}}\n"
QUICK, MANY = 250, 1500
_INSIDE = tuple(net for zone, nets in NETS.items() for net in nets if zone != "wan")
ONLY_IPV4 = ("ufw",)
MANAGEMENT = {"sets": ["198.51.100.0/28"]}


@pytest.fixture(scope="module")
def net() -> Iterator[Wires]:
    with wires.running() as running:
        yield running


def shots(name: str, number: int, seed: int) -> list[Shot]:
    """From everybody to everybody; where a protocol has no ports, each pair of hosts once."""
    dice = random.Random(f"{name} {seed}")  # noqa: S311  # the same for all
    found: list[Shot] = []
    known: set[tuple[str, str, str]] = set()
    for shot in range(20_000, 20_000 + number):
        version, came = dice.choice((4,) if name in ONLY_IPV4 else (4, 4, 4, 6)), dice.choice([*NETS])
        goes = dice.choice([zone for zone in NETS if zone != came])
        there = came if came == "wan" or dice.random() < 0.2 else goes
        net, there = (NETS[zone][version == 6] for zone in (came, there))
        away = there + (dice.choice(HOSTS) if there != net and dice.random() < 0.7 else "1")
        service = dice.choice([*SENT[version], "tcp/25", "udp/67", "udp/123", "tcp/8000"])
        if service.endswith("echo-reply"):
            continue  # it belongs to no connection, so ours drops it; that is told

        source = net + dice.choice(HOSTS)
        if came == "wan" and away.startswith(_INSIDE):
            continue  # no host in the world reaches these; forwards listen on every address of the device
        key = (source, away, service if "/" in service and "icmp" not in service else service.partition("/")[0])
        if key not in known or service.startswith(("tcp", "udp")):
            known.add(key)
            found.append(Shot(shot, came, source, away, service))
    return found


def became(net: Wires, sent: Sequence[Shot]) -> dict[int, list[tuple[str, ...]]]:
    """Where each arrived and as what, and whether the device took it itself."""
    net.forget()
    seen = net.shoot(sent, [shot.number for shot in sent])
    found: dict[int, list[tuple[str, ...]]] = {}
    for shot in sent:
        each = seen[shot.number]
        arrived = {(s.zone, s.source, s.destination, str(s.port)) for s in each if s.zone}
        itself = shot.destination.endswith((".1", ":1")) and any(s.answer == "itself" for s in each)
        found[shot.number] = [*sorted(arrived), *([("itself",)] if itself and not arrived else [])]
    return found


def told_apart(text: str) -> str:
    """A port that is closed and one that is rejected look the same from outside, unless it is rejected otherwise."""
    family = ""
    lines = []
    for line in text.splitlines():
        family = line.split()[1] if line.startswith("table ") else family
        kind = "icmp type admin-prohibited" if family == "ip" else "icmpx admin-prohibited"
        lines.append(re.sub(r"(?<![-\w])reject(?![-\w])( with (tcp reset|icmpx \S+))?", f"reject with {kind}", line))
    return "\n".join(lines) + "\n"


def imported(net: Wires, root: Path, management: Sequence[str]) -> imports.Imported:
    """What is loaded on the device becomes YAML, and that takes its place."""
    settings = nftables.Settings.model_validate({"via": "local"})
    reader = nftables.Reader(Access("fw-sede", "", settings, Secrets({}), root))
    reader.machine = Inside(net.names["fw"], settings)
    told = imports.write(root, "brenta", "fw-sede", "main", reader.grown(), management)
    site = load(root).customers["brenta"].files[FACET]["main"]
    declared = [native.held(r) for r in of_device(site, "UTC", datetime.now(UTC))]
    with reader.machine.session() as session:
        rules = raw.spelled(session, TABLE, declared, [r for r in declared if r.id.kind == firewall.RAW])
    net.nft("flush", "ruleset")
    net.nft("-j", "-f", "-", given=json.dumps({"nftables": native.commands(TABLE, declared, Table(), rules)}))
    return told


def same(net: Wires, tmp_path: Path, name: str, number: int, seed: int = 0) -> tuple[imports.Imported, str]:
    root = estate(tmp_path, {"inventory/targets.yaml": TARGETS, "customers/brenta/customer.yaml": "name: Brenta\n"})
    net.nft("flush", "ruleset")
    grown = (FOLDER / f"{name}.nft").read_text()
    net.nft("-f", "-", given=told_apart(grown))
    sent = shots(name, number, seed)
    before = became(net, sent)
    net.nft("-f", "-", given=f"flush ruleset\n{grown}")
    told = imported(net, root, MANAGEMENT.get(name, ()))
    after = became(net, sent)
    text = (root / "customers/brenta/firewall.yaml").read_text()
    wrong = [
        (shot, before[shot.number], after[shot.number]) for shot in sent if before[shot.number] != after[shot.number]
    ]
    assert not wrong, (len(wrong), wrong[:6], text)
    passed = sum(bool(each) for each in before.values())
    assert number / 20 < passed < number, passed
    return told, text


SAID = {  # words of the YAML and of what is told
    "wiki": (
        "management: {from: [198.51.100.0/28, 203.0.113.200], zones: wan}",
        "only_from: all-but-blocked",
        "services: {web: [tcp/80, tcp/443]}",
        'text: iifname "wan0" icmp type echo-request limit rate 500/second accept',
        "masquerade:\n  - {from: [dmz, guest, lan], to: wan",
        "input-raw: warning: our language has no words for limit (kept as raw)",
    ),
    "ufw": (
        "management: {from: [198.51.100.0/28, 203.0.113.9]}",
        "{id: web, from: any, to: self, services: [http, https], action: accept, why: web}",
        "from: guest\n    to: [dmz, guest, lan]\n    services: any\n    action: drop",
        "nothing filtered IPv6 in input: all was let through, and now the rules for IPv4 count",
        "input-raw: warning: our language has no words for udp sport 67 (kept as raw)",
    ),
    "iptables": (
        "listen: wan:8443",
        "default: {action: drop, log: true}",
        "tcp dport 8005 counter redirect to :80",
        "postrouting-raw: warning: it keeps others from being translated (kept as raw)",
        "what belongs to no connection (ct state invalid) is dropped now",
    ),
    "sets": (
        "office: [198.51.100.0/28, 203.0.113.9]",
        "services: {web-ports: [tcp/80, tcp/443, tcp/8000-8010]}",
        "id: the-office",
        "dnat ip to tcp dport map { 8443 : 10.40.0.9, 8444 : 10.40.0.60 }",
        "why: opens the device's administration to the world",
    ),
}


@pytest.mark.parametrize("name", [*SAID])
def test_packets_find_the_same(net: Wires, tmp_path: Path, name: str) -> None:
    told, text = same(net, tmp_path, name, QUICK)
    found = "\n".join([text, *map(str, told.told)])
    assert [words for words in SAID[name] if words not in found] == [], found
    assert not told.left_out


@pytest.mark.soak
@pytest.mark.parametrize("name", [*SAID])
def test_many_packets_find_the_same(net: Wires, tmp_path: Path, name: str) -> None:
    for number in range(6):
        (tmp_path / str(number)).mkdir()
        same(net, tmp_path / str(number), name, MANY, seed=number)
