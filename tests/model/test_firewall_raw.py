"""Raw rules in YAML: one rule each, in their place, never understood, and guarded for that."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from mspctl import explain_packet
from mspctl.desired import back
from mspctl.kinds import firewall, packets
from mspctl.kinds.firewall import opening
from mspctl.kinds.packets import Packet
from mspctl.load import load
from mspctl.resource import Id, Resource
from tests.model.test_firewall import FILE, NOW, SEDE, brenta, complaints, resources

SLOW = "{id: slow, chain: input, text: tcp dport 22 limit rate 3/minute accept, why: until the VPN is there}"
MARK = "{id: mark, chain: forward, text: ip dscp 4 drop, before: machines}"
RAW = f"{SEDE}raw:\n  - {SLOW}\n  - {MARK}\n"
ORDER = ("management", "browse", "ospiti", "mark", "machines", "no-smtp", "slow")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'accept; drop'", "; cannot stand in it"),
        ("'log prefix \"a;b\" accept'", "; cannot stand in it"),
        ('"accept\\ndrop"', "line"),
        ("'tcp dport $x accept'", r"\$ cannot stand in it"),
        ("'accept # why'", "# cannot stand in it"),
        ("'accept } chain'", "cannot say chain"),
        ("'accept } {'", "braces do not match"),
        ("'log prefix \"a accept'", '" cannot stand in it'),
        ("jump other", "cannot say jump"),
        ("include x", "cannot say include"),
        ("accept comment x", r"cannot say comment \(its id is its comment"),
        ("iif eth0 accept", "write iifname"),
        ("tcp dport 22 accept ü", "plain ASCII"),
        ("''", "is empty"),
    ],
)
def test_a_text_is_one_rule(tmp_path: Path, text: str, said: str) -> None:
    found = complaints(brenta(tmp_path, f"{SEDE}raw: [{{id: a, chain: input, text: {text}}}]\n"))
    assert len(found) == 1
    assert re.search(said, found[0]), found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("before: machines", "before: machins", r"there is no rule machins \(did you mean machines\?\)"),
        ("chain: forward", "chain: prerouting", "where it comes first anyway"),
        ("id: mark", "id: browse", "browse is the id of .* already"),
        ("chain: input", "chain: ingress", "input"),
    ],
)
def test_slips_are_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    (found,) = complaints(brenta(tmp_path, RAW.replace(old, new)))
    assert re.search(said, found), found


def test_they_stand_in_the_order(tmp_path: Path) -> None:
    found = resources(brenta(tmp_path, RAW))
    assert found[firewall.ORDER].fields["rules"] == ORDER
    assert found[Id(firewall.RAW, "slow")].fields == {
        "chain": "input",
        "text": "tcp dport 22 limit rate 3/minute accept",
    }


def packet(came: str, goes: str, service: str) -> Packet:
    return Packet(came, goes, ip_address("10.20.1.60"), ip_address("192.0.2.1"), service, NOW)


def test_nobody_says_what_they_do(tmp_path: Path) -> None:
    found = [*resources(brenta(tmp_path, RAW)).values()]
    assert packets.decide(found, packet("lan", "wan", "tcp/443")).perhaps == ()  # browse comes before
    said = packets.decide(found, packet("lan", "wan", "tcp/8000"))
    assert (said.action, said.perhaps) == ("accept", (Id(firewall.RAW, "mark"),))
    lines = "\n".join(explain_packet.lines({"Git": found}, packet("lan", "wan", "tcp/8000")))
    assert "perhaps before that by raw mark in forward, which nobody here understands: ip dscp 4 drop" in lines
    assert lines.endswith("nobody knows what becomes of it: raw rules have a say.")


def test_every_change_of_one_needs_an_approval() -> None:
    slow, other = (Resource(Id(firewall.RAW, "slow"), {"chain": "input", "text": text}) for text in ("drop", "accept"))
    for before, after in ((None, slow), (slow, other), (slow, None)):
        assert "nobody here understands" in opening.widens(before, after, [slow], [slow])
        assert opening.opens(before, after, [], [])
    rules = [slow, *(Resource(Id(firewall.RULE, name), {}) for name in "ab")]
    one, two, three = (firewall.order(each) for each in (("a", "slow", "b"), ("slow", "a", "b"), ("a", "slow", "c")))
    assert "change places" in opening.widens(one, two, rules, rules)
    assert opening.widens(one, three, rules, rules) == ""
    without = firewall.order(("a", "b"))
    assert "change places" in opening.widens(one, without, rules, rules)  # it comes last then
    assert opening.widens(one, without, rules[1:], rules[1:]) == ""  # it is gone, which is told of itself
    assert opening.widens(without, one, rules, rules) == ""  # it is new, which is told of itself


def test_adopting_an_order_moves_them(tmp_path: Path) -> None:
    root = brenta(tmp_path, RAW)
    wanted = ("management", "slow", "browse", "ospiti", "machines", "mark", "no-smtp")
    live = {firewall.ORDER: replace(resources(root)[firewall.ORDER], fields={"rules": wanted})}
    made = back(firewall.FACET).rewrite(load(root, now=NOW), "brenta", "sede", live)
    (root / FILE).write_text(made.after)
    assert resources(root)[firewall.ORDER].fields["rules"] == wanted
    gone = back(firewall.FACET).rewrite(load(root, now=NOW), "brenta", "sede", {Id(firewall.RAW, "slow"): None})
    (root / FILE).write_text(gone.after)
    assert Id(firewall.RAW, "slow") not in resources(root)
