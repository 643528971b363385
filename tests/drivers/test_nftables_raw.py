"""Raw rules on a real kernel: they come back as they were written, stay where they stand, and are one rule each."""

from __future__ import annotations

import re

import pytest

from mspctl.drivers.nftables import raw as asking
from mspctl.errors import TargetError
from mspctl.kinds import firewall
from mspctl.resource import Cause, Id, Resource
from tests.drivers.nftables_rig import SCOPES, Device, default, rule, zone
from tests.drivers.workbench import Workbench

SLOW = "tcp dport {23,  22} limit rate 3/minute burst 5 packets accept"
IN = "iifname @zone_lan udp dport 5353 accept"


def raw(name: str, text: str, chain: str = "input") -> Resource:
    return Resource(Id(firewall.RAW, name), {"chain": chain, "text": text})


def declare(bench: Workbench, *order: Resource) -> None:
    names = firewall.order(r.id.name for r in order)
    bench.declare(SCOPES[0], zone("lan", "lan0"), *order, names, default())


def chain(rig: Device, name: str) -> list[str]:
    lines = [line.strip() for line in str(rig.native(SCOPES[0])).splitlines()]
    found = lines[lines.index(f"chain {name} {{") + 2 :]
    return [line.partition('comment "')[2].strip('"') for line in found[: found.index("}")]]


def test_they_come_back_as_they_were_written_and_stay_in_their_place(rig: Device, bench: Workbench) -> None:
    inside = rule("late", to=frozenset({"self"}))
    out = raw("no-smtp", "tcp dport 25 drop", "output")
    moved = raw("to-nvr", "tcp dport 81 dnat ip to 10.0.0.8", "prerouting")
    declare(bench, rule("one", to=frozenset({"self"})), raw("slow", SLOW), inside, raw("mdns", IN), out, moved)
    bench.converge()
    assert bench.causes(SCOPES[0]) == {}
    assert chain(rig, "input")[-5:] == ["rule:one", "raw:slow", "rule:late", "raw:mdns", "default:default"]
    assert chain(rig, "output") == ["raw:no-smtp"]
    assert chain(rig, "prerouting") == ["raw:to-nvr"]
    declare(bench, raw("slow", SLOW), rule("one", to=frozenset({"self"})), inside, out)
    bench.converge()
    assert chain(rig, "input")[-4:] == ["raw:slow", "rule:one", "rule:late", "default:default"]
    rig.nft("flush", "ruleset")
    rig.nft("-j", "-f", str(rig.folder / "boot/mspctl-sede.json"))
    assert bench.causes(SCOPES[0]) == {}


def test_a_hand_in_one_is_drift(rig: Device, bench: Workbench) -> None:
    declare(bench, raw("slow", SLOW), raw("mdns", IN))
    bench.converge()
    handle = next(
        line.rpartition(" ")[2]
        for line in rig.nft("-a", "list", "table", "inet", "mspctl-sede").splitlines()
        if 'comment "raw:slow"' in line
    )
    rig.nft(f'replace rule inet mspctl-sede input handle {handle} tcp dport 22 accept comment "raw:slow"')
    assert bench.causes(SCOPES[0]) == {"slow": Cause.DRIFT}
    bench.converge(causes=frozenset({Cause.DRIFT}))
    assert bench.causes(SCOPES[0]) == {}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tcp dport abcd accept", "Error:"),
        ("iifname @bad accept", "Error:"),
        ("accept } } table inet x { chain y { accept", "Error:"),
        ("accept; add rule inet mspctl-sede input drop", "it comes to no rule, or to more than one"),
        ("accept; flush ruleset", "Error:|it comes to no rule"),
        ('include "/etc/passwd"', "Error:"),
        ('accept comment "rule:x"; add table inet x;', "Error:|it comes to no rule"),
    ],
)
def test_what_is_not_one_rule_never_reaches_the_rules(rig: Device, bench: Workbench, text: str, why: str) -> None:
    """YAML refuses most of this; even so, the device looks at it where nothing can happen."""
    rig.nft("add table inet theirs")
    declare(bench, rule("one"), raw("bad", text))
    outcome = bench.apply()
    assert not outcome.landed
    assert re.search(f"the device does not take raw bad: ({why})", str(outcome.unfinished))
    assert rig.nft("list", "tables") == "table inet theirs\n"


def test_a_device_that_cannot_look_at_them_says_so(rig: Device) -> None:
    rig.machine.failing = ("mspctl-sede", "unshare")
    with rig.machine.session() as session, pytest.raises(TargetError, match="raw rules cannot be looked at there"):
        asking.spelled(session, "mspctl-sede", [], [raw("slow", SLOW)])
