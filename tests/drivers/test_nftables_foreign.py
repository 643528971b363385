"""Tables of others, as texts: what cannot be judged is said, and never taken for harmless. (Packets: `_kernel`.)"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest

from mspctl.drivers.nftables import foreign
from mspctl.drivers.nftables.foreign import Way, Whole
from mspctl.drivers.nftables.live import Table
from mspctl.kinds.packets import Decision, Packet

NOW = datetime(2027, 3, 5, 12, tzinfo=UTC)
PACKET = Packet("lan", "wan", ip_address("10.20.0.9"), ip_address("192.0.2.1"), "tcp/443", NOW)
WAY = Way(PACKET, frozenset({"lan0"}), frozenset({"wan0"}), Decision("accept", None))
DROP: dict[str, Any] = {"drop": None}


def table(*exprs: list[dict[str, Any]], hook: str = "forward", policy: str = "accept", family: str = "ip") -> Whole:
    chain = {"name": "FORWARD", "hook": hook, "prio": 0, "policy": policy}
    rules = [{"rule": {"chain": "FORWARD", "expr": expr}} for expr in exprs]
    return Whole.read(family, "filter", {"nftables": [{"metainfo": {}}, {"chain": chain}, *rules]})


def match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def ends(whole: Whole) -> list[tuple[str, str]]:
    return [(other.action, other.rule) for other in foreign.judged([whole], WAY)]


@pytest.mark.parametrize(
    ("expr", "told", "end"),
    [
        ([DROP], "drop", "drop"),
        ([{"xt": None}, DROP], "unknown", "unknown"),  # an extension of iptables
        ([{"queue": {"num": 1}}], "unknown", "unknown"),
        ([{"vmap": {"key": {"meta": {"key": "mark"}}, "data": "@m"}}], "unknown", "unknown"),
        ([{"flow": {"op": "add", "flowtable": "@f"}}], "unknown", "unknown"),
        ([match({"meta": {"key": "mark"}}, 5), DROP], "drop", "unknown"),
        ([match({"&": [{"ct": {"key": "mark"}}, 1]}, 1), DROP], "drop", "unknown"),
        ([match({"payload": {"protocol": "udp", "field": "dport"}}, 443), DROP], "drop", ""),
        ([{"dnat": {"addr": "10.0.0.1"}}], "elsewhere", "elsewhere"),
        ([{"jump": {"target": "FORWARD"}}], "", "unknown"),
        ([{"accept": None}], "", ""),
        ([{"counter": {"packets": 1, "bytes": 2}}, {"return": None}], "", ""),
        ([{"masquerade": None}], "", ""),
    ],
)
def test_what_a_rule_may_do(expr: list[dict[str, Any]], told: str, end: str) -> None:
    whole = table(expr)
    assert [line.partition(": ")[2].partition(":")[0] for line in foreign.told(whole)] == ([told] if told else [])
    assert [action for action, _ in ends(whole)] == ([end] if end else [])


def test_where_an_address_leads_is_in_the_words_of_nft() -> None:
    local = match({"fib": {"result": "type", "flags": ["daddr", "iif"]}}, "local")
    (line,) = foreign.told(table([local, DROP]))
    assert "fib daddr iif type local drop" in line


def test_a_policy_drops_what_nothing_lets_through() -> None:
    whole = table([match({"meta": {"key": "iifname"}}, "lan*"), {"accept": None}], policy="drop")
    assert ends(whole) == []
    assert ends(table(policy="drop")) == [("drop", "its policy")]
    assert ends(table([match({"meta": {"key": "mark"}}, 5), {"accept": None}], policy="drop")) == [
        ("unknown", "its policy")
    ]
    (line,) = foreign.told(whole)
    assert line.endswith("drops what its own rules do not let through")


@pytest.mark.parametrize("family", ["bridge", "netdev"])
def test_what_comes_before_zones_is_unknown(family: str) -> None:
    assert [action for action, _ in ends(table([DROP], hook="ingress", family=family))] == ["unknown"]
    assert ends(table([{"accept": None}], hook="ingress", family=family)) == []


def test_a_table_of_the_other_family_has_no_say() -> None:
    assert ends(table([DROP], family="ip6")) == []


@pytest.mark.parametrize("listed", [{}, {"nftables": [{"rule": {}}]}, {"nftables": 1}, {"nftables": [{"chain": {}}]}])
def test_what_makes_no_sense_is_no_empty_table(listed: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError)):
        Whole.read("ip", "filter", listed)


def test_what_others_wrote_is_one_plain_line() -> None:
    name = 'evil"\n! \x1b[31m' + 200 * "x"
    whole = Whole.read("ip", name, {"nftables": [{"chain": {"name": name, "hook": "input", "policy": "drop"}}]})
    (line,) = foreign.told(whole)
    assert line.isprintable()
    assert [*foreign.put_in(Table())] == []
