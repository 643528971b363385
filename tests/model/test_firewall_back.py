"""What a device does, written into the YAML of its firewall: nothing lost, and not one byte changed besides."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mspctl.desired import back
from mspctl.errors import Error
from mspctl.kinds import firewall
from mspctl.load import load
from mspctl.resource import Id, Resource, Value
from tests.model.test_firewall import FILE, NOW, SEDE, brenta, resources

TEXT = SEDE.replace("  - {id: machines", "  # the machines of hall 2\n  - {id: machines")
BROWSE, ORDER = Id(firewall.RULE, "browse"), firewall.ORDER


def adopted(root: Path, live: Mapping[Id, Resource | None]) -> list[str]:
    """The lines that go and come when these are adopted; and Git declares them then, and the rest as before."""
    before = resources(root)
    made = back(firewall.FACET).rewrite(load(root, now=NOW), "brenta", "sede", live)
    (root / FILE).write_text(made.after)
    after = resources(root)
    for id_ in {*before, *after, *live} - {ORDER}:
        wanted = live.get(id_, before.get(id_))
        assert (after[id_].fields if id_ in after else None) == (wanted.fields if wanted else None), id_
    lines = difflib.ndiff(made.before.splitlines(), made.after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def changed(root: Path, id_: Id, **said: Value) -> dict[Id, Resource | None]:
    found = resources(root)[id_]
    return {id_: replace(found, fields={**found.fields, **firewall.fields(**said)})}


def several(*values: str) -> frozenset[str]:
    return frozenset(values)


@pytest.mark.parametrize(
    ("kind", "name", "said", "line"),
    [
        (firewall.RULE, "browse", {"log": True}, "services: [dns, http, https, quic], action: accept, log: true}"),
        (firewall.RULE, "browse", {"services": several("tcp/443", "tcp/8443")}, "services: [https, tcp/8443]"),
        (firewall.RULE, "browse", {"source": several("10.20.0.0/22")}, "source: office"),
        (firewall.RULE, "browse", {"destination": several("10.20.1.60", "192.0.2.1")}, "[nvr, 192.0.2.1]"),
        (firewall.RULE, "browse", {"from_": several("lan", "dmz")}, "from: [lan, dmz]"),
        (firewall.RULE, "browse", {"until": "2027-03-31 22:00"}, "until: 2027-03-31"),
        (firewall.RULE, "browse", {"until": "2027-03-31 16:00"}, "until: 2027-03-31 18:00"),
        (
            firewall.RULE,
            "browse",
            {"hours": frozenset(f"{d} 06:30-17:30" for d in firewall.DAYS[:5])},
            "schedule: ufficio",
        ),
        (firewall.RULE, "ospiti", {"hours": frozenset()}, "https], action: accept}"),
        (firewall.RULE, "ospiti", {"hours": several("mon 21:00-24:00", "tue 00:00-04:00")}, "mon 22:00-05:00"),
        (firewall.RULE, "machines", {"source": several("10.20.0.0/22")}, "source: office"),
        (firewall.RULE, "management", {"source": several("198.51.100.0/28", "192.0.2.7")}, "198.51.100.0/28, 192.0.2"),
        (firewall.FORWARD, "nvr", {"source": several("198.51.100.25")}, "only_from: [198.51.100.25]"),
        (firewall.FORWARD, "nvr", {"port": 8080}, '"nvr:8080"'),
        (firewall.FORWARD, "nvr", {"listen": several("udp/5060")}, "wan:udp/5060"),
        (firewall.FORWARD, "nvr", {"until": ""}, "asked_by: maria}"),
        (firewall.ZONE, "dmz", {"interfaces": several("dmz0", "dmz1")}, "dmz: [dmz0, dmz1]"),
        (firewall.ZONE, "dmz", {"outside": True}, "dmz: {interfaces: dmz0, outside: true}"),
        (firewall.MASQUERADE, "lan > wan", {"source": several("10.20.0.0/22")}, "from: guest, to: wan"),
        (firewall.POLICY, "lan > dmz", {"action": "reject"}, "action: reject"),
        ("firewall.default", "default", {"log": True}, "log: true"),
    ],
)
def test_a_value_that_was_changed(tmp_path: Path, kind: str, name: str, said: dict[str, Value], line: str) -> None:
    root = brenta(tmp_path, TEXT)
    lines = adopted(root, changed(root, Id(kind, name), **said))
    assert line in "\n".join(lines)
    assert len(lines) <= 4


def test_a_rule_that_is_gone_and_one_that_came(tmp_path: Path) -> None:
    root = brenta(tmp_path, TEXT)
    new = replace(resources(root)[BROWSE], id=Id(firewall.RULE, "video"))
    new = replace(new, fields={**new.fields, "services": several("udp/3478", "tcp/3478"), "to": several("self")})
    order = firewall.order(["management", "video", "ospiti", "machines", "no-smtp"])
    lines = adopted(root, {BROWSE: None, new.id: new, ORDER: order})
    assert lines == [
        "-   - {id: browse, from: lan, to: wan, services: [dns, http, https, quic], action: accept}",
        "+   - {id: video, from: lan, to: self, services: stun, action: accept}",
    ]
    assert resources(root)[ORDER].fields == order.fields


def test_a_move_is_a_move(tmp_path: Path) -> None:
    root = brenta(tmp_path, TEXT)
    order = firewall.order(["management", "no-smtp", "browse", "ospiti", "machines"])
    lines = adopted(root, {ORDER: order})
    said = "  - {id: no-smtp, from: any, to: wan, services: smtp, action: reject}"
    assert lines == [f"+ {said}", f"- {said}"]
    assert resources(root)[ORDER].fields == order.fields


def test_the_rest_of_several_pairs_stays(tmp_path: Path) -> None:
    root = brenta(tmp_path, TEXT)
    assert adopted(root, {Id(firewall.MASQUERADE, "guest > wan"): None}) == [
        "- masquerade: [{from: [lan, guest], to: wan}]",
        "+ masquerade: [{from: lan, to: wan}]",
    ]
    assert adopted(root, {Id(firewall.POLICY, "lan > dmz"): None}) == [
        "- policies: [{from: lan, to: dmz, action: accept}]",
        "+ policies: []",
    ]


@pytest.mark.parametrize(
    ("kind", "name", "said", "told"),
    [
        (firewall.RULE, "browse", {"action": firewall.BY_HAND}, "browse was changed by hand to what YAML cannot say"),
        (firewall.RULE, "by hand forward 7", {"native": "[]", "action": ""}, "a rule of its own"),
        (firewall.RULE, "ospiti", {"hours": several("mon 01:00-02:00", "tue 03:00-04:00")}, "no one schedule"),
        (firewall.RULE, "browse", {"from_": several("wan"), "to": several("lan"), "services": several("any")}, "every"),
        (firewall.RULE, "Bad Name", {}, "not a rule's id"),
        (firewall.RULE, "management", {"log": True}, "more or less than let us in"),
        (firewall.FORWARD, "nvr", {"to": firewall.BY_HAND}, "YAML cannot say"),
        ("firewall.default", "default", {"action": firewall.BY_HAND}, "YAML cannot say"),
    ],
)
def test_what_yaml_cannot_say(tmp_path: Path, kind: str, name: str, said: dict[str, Value], told: str) -> None:
    root = brenta(tmp_path, TEXT)
    found = resources(root).get(Id(kind, name)) or replace(resources(root)[BROWSE], id=Id(kind, name))
    live = replace(found, fields={**found.fields, **firewall.fields(**said)})
    with pytest.raises(Error, match=told):
        back(firewall.FACET).rewrite(load(root, now=NOW), "brenta", "sede", {live.id: live})
    assert (root / FILE).read_text() == TEXT


def test_what_devices_have_in_common_is_not_changed_for_one(tmp_path: Path) -> None:
    common = "rules:\n  - {id: common, from: lan, to: wan, services: ntp, action: accept}\n"
    text = TEXT.replace("rules:\n", "rules:\n  add:\n").replace("  - {id", "    - {id").replace("  # the", "    # the")
    root = brenta(tmp_path, text.replace("    - {id: nvr", "  - {id: nvr"), **{"firewall.yaml": common})
    with pytest.raises(Error, match=r"common comes from customers/brenta/firewall\.yaml:2"):
        adopted(root, changed(root, Id(firewall.RULE, "common"), log=True))
    lines = adopted(root, changed(root, BROWSE, log=True))
    assert "log: true" in lines[-1] + lines[-2]
