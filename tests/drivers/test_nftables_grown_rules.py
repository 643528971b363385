"""What becomes of grown rules that are easily lost, as nft itself lists them. Packets: test_nftables_grown.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from mspctl.drivers.nftables import grown
from mspctl.drivers.nftables.grown.listed import Tables
from mspctl.kinds.grown import Grown
from tests.servers import require
from tests.servers.namespaces import inside, made, run

LOCAL = {
    "wan0": ["203.0.113.1/24", "2001:db8:113::1/64"],
    "lan0": ["10.20.0.1/24", "2001:db8:20::1/64"],
    "dmz0": ["10.40.0.1/24"],
}
IPV4 = {name: [each for each in held if ":" not in each] for name, held in LOCAL.items()}
Taken = Callable[..., Grown]


@pytest.fixture(scope="module")
def taken() -> Iterator[Taken]:
    """What rules come to, which nft has loaded and listed."""
    with made("rules") as names:
        nft = [*inside(names["rules"]), require("nft")]

        def take(text: str, local: dict[str, list[str]] = LOCAL) -> Grown:
            run(*nft, "flush", "ruleset")
            run(*nft, "-f", "-", given=text)
            listed, said = run(*nft, "-j", "list", "ruleset"), run(*nft, "-a", "-s", "list", "ruleset")
            return grown.grown(Tables.read(json.loads(listed), said, "mspctl-", local), ["wan0"], 22)

        yield take


def table(chain: str, *rules: str, sets: str = "", policy: str = "drop", family: str = "inet") -> str:
    kind, priority = ("nat", {"prerouting": -100, "postrouting": 100}.get(chain, 0)) if "routing" in chain else ("", 0)
    head = f"type {kind or 'filter'} hook {chain} priority {priority}; policy {'accept' if kind else policy};"
    lines = "\n".join(rules)
    return f"table {family} old-{chain} {{\n{sets}\nchain {chain} {{\n{head}\n{lines}\n}}\n}}\n"


def told(found: Grown) -> list[tuple[str, str, str]]:
    return [(odd.native.chain, odd.native.text, odd.why) for odd in found.odd]


def said(found: Grown, kind: str) -> dict[str, object]:
    return {r.id.name: r.fields for r in found.resources if r.id.kind == kind}


# -- sets ---------------------------------------------------------------------------------------------------------


EMPTY = """set bad { type ipv4_addr; }
set bad6 { type ipv6_addr; }
set places { type ipv4_addr . inet_service; }
map doors { type inet_service : verdict; }
"""


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("ip saddr @bad drop", "bad"),
        ("ip saddr != @bad accept", "bad"),
        ("ip6 saddr @bad6 drop", "bad6"),
        ("ip daddr . tcp dport @places accept", "places"),
        ("tcp dport vmap @doors", "doors"),
    ],
)
def test_a_set_that_is_empty_now_takes_no_rule_with_it(taken: Taken, rule: str, name: str) -> None:
    found = taken(table("input", rule, "tcp dport 80 accept", sets=EMPTY) + table("forward"))
    why = f"our language has no words for the set {name}: it is empty now, and filled by something else"
    assert told(found) == [("input", "", why)]
    assert len(said(found, "firewall.rule")) == 1


def test_a_map_that_is_empty_now_takes_no_translation_with_it(taken: Taken) -> None:
    sets = "map hosts { type inet_service : ipv4_addr; }"
    found = taken(table("prerouting", 'iifname "wan0" dnat ip to tcp dport map @hosts', sets=sets))
    assert [each for each in told(found) if "the set hosts: it is empty now" in each[2]]


def test_sets_that_are_copied_are_told(taken: Taken) -> None:
    sets = """set bad { type ipv4_addr; flags interval; elements = { 203.0.113.9, 198.51.100.0/28 } }
set ports { type inet_service; elements = { 80 } }
set idle { type ipv4_addr; elements = { 203.0.113.10 } }
set seen { type ipv4_addr; flags dynamic; elements = { 203.0.113.11 } }
"""
    rules = ("ip saddr @bad drop", "tcp dport @ports accept", "ip saddr @seen drop")
    notes = taken(table("input", *rules, sets=sets)).notes
    assert [each for each in notes if "copied" in each] == [
        "table inet old-input: set bad was copied as it was: 2 addresses",
        "table inet old-input: set ports was copied as it was: 1 port",
    ]


# -- translation --------------------------------------------------------------------------------------------------


def test_what_masks_ahead_of_a_raw_rule_stays_ahead_of_it(taken: Taken) -> None:
    rules = (
        'ip saddr 10.20.0.0/24 oifname "wan0" masquerade',
        'ip saddr 10.0.0.0/8 oifname "wan0" snat ip to 203.0.113.77',
        'ip saddr 10.40.0.0/24 oifname "wan0" masquerade',
    )
    found = taken(table("postrouting", *rules) + table("input") + table("forward"))
    texts = [text for chain, text, _ in told(found) if chain == "postrouting"]
    assert texts == [*rules[:2]]
    assert [*said(found, "firewall.masquerade")] == ["dmz > wan"]


def test_what_masks_ahead_of_an_exemption_stays_ahead_of_it(taken: Taken) -> None:
    rules = (
        'ip saddr 10.20.0.0/24 oifname "wan0" masquerade',
        'ip daddr 203.0.113.60 oifname "wan0" accept',
        'ip saddr 10.40.0.0/24 oifname "wan0" masquerade',
    )
    found = taken(table("postrouting", *rules) + table("input") + table("forward"))
    assert [text for chain, text, _ in told(found) if chain == "postrouting"] == [*rules[:2]]


def test_what_hides_addresses_of_both_families_hides_them_afterwards(taken: Taken) -> None:
    rules = (
        'ip daddr 10.0.0.0/8 oifname "wan0" accept',
        'iifname "lan0" oifname "wan0" masquerade',
        'ip6 saddr 2001:db8:20::/64 oifname "dmz0" masquerade',
    )
    found = taken(table("postrouting", *rules) + table("input") + table("forward"))
    assert told(found) == [
        ("postrouting", rules[0], "it keeps others from being translated"),
        ("postrouting", f"meta nfproto ipv6 {rules[1]}", "masquerade is for IPv4 only"),
        ("postrouting", rules[2], "masquerade is for IPv4 only"),
    ]
    assert said(found, "firewall.masquerade") == {"lan > wan": {"source": frozenset({"any"})}}


def test_what_cannot_be_said_of_either_family_is_one_raw_rule(taken: Taken) -> None:
    rules = ('oifname "wan0" tcp dport 25 masquerade', 'ip saddr 10.20.0.0/24 oifname "wan0" masquerade')
    found = taken(table("postrouting", *rules) + table("input") + table("forward"))
    assert told(found) == [("postrouting", rules[0], "masquerade cannot say it")]


FORWARDED = 'iifname "wan0" ip daddr 203.0.113.1 tcp dport 8443 dnat ip to 10.40.0.9:443'
PAIR = (
    'ip daddr 203.0.113.1 iifname "wan0" dnat ip to 10.40.0.9',
    'ip saddr 10.40.0.9 oifname "wan0" snat ip to 203.0.113.1',
)


def test_what_lets_all_forwards_through_is_said_by_them(taken: Taken) -> None:
    text = table("prerouting", FORWARDED) + table("forward", "ct status dnat accept") + table("input")
    found = taken(text)
    assert [*said(found, "firewall.forward")] == ["https-10-40-0-9"]
    assert [(odd.native.text, odd.spare) for odd in found.odd] == [("ct status dnat accept", True)]


def test_what_lets_a_host_with_its_own_address_through_stays(taken: Taken) -> None:
    """A forward says by itself that it is open, and static NAT does not."""
    text = table("prerouting", PAIR[0]) + table("postrouting", PAIR[1]) + table("input")
    found = taken(text + table("forward", "ct status dnat accept"))
    assert [*said(found, "firewall.nat")] == ["nat-10-40-0-9"]
    assert [(odd.native.text, odd.spare) for odd in found.odd] == [("ct status dnat accept", False)]


# -- everybody ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        ("ip saddr 0.0.0.0/0 tcp dport 4711 accept", "0.0.0.0/0"),
        ("ip saddr { 0.0.0.0/1, 128.0.0.0/1 } tcp dport 4711 accept", "0.0.0.0/0"),
        ("meta nfproto ipv4 tcp dport 4711 accept", "0.0.0.0/0"),
        ("ip6 saddr ::/0 tcp dport 4711 accept", "::/0"),
        ("tcp dport 4711 accept", "any"),
    ],
)
def test_everybody_of_one_family_is_not_any(taken: Taken, rule: str, source: str) -> None:
    found = taken(table("input", rule) + table("forward"))
    (made,) = said(found, "firewall.rule").values()
    assert isinstance(made, dict)
    assert (made["source"], made["action"]) == (frozenset({source}), "accept")
