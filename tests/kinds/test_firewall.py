"""What lets in what was kept out, and what rules do in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mspctl import guards
from mspctl.kinds import firewall
from mspctl.kinds.firewall import opening
from mspctl.kinds.firewall.words import in_words
from mspctl.resource import Cause, Change, Id, Resource, Value

ANY = frozenset({"any"})
Fields = dict[str, Value]


def several(*values: str) -> frozenset[str]:
    return frozenset(values)


def rule(name: str = "a", **said: Value) -> Resource:
    usual: dict[str, Value] = {
        "from": several("wan"), "to": several("lan"), "source": several("192.0.2.0/24"), "destination": ANY,
        "services": several("tcp/443"), "action": "accept", "log": False, "until": "", "hours": frozenset(),
    }  # fmt: skip
    return Resource(Id(firewall.RULE, name), usual | firewall.fields(**said))


def forward(**said: Value) -> Resource:
    usual: dict[str, Value] = {
        "zone": "wan", "listen": several("tcp/8443"), "to": "10.0.0.9", "port": 443, "source": several("192.0.2.1"),
        "log": False, "until": "", "hours": frozenset(),
    }  # fmt: skip
    return Resource(Id(firewall.FORWARD, "f"), usual | firewall.fields(**said))


def other(kind: str, **said: Value) -> Resource:
    return Resource(Id(kind, "lan > wan"), firewall.fields(**said))


DROP = rule(action="drop")


def policy(action: str) -> Resource:
    return other(firewall.POLICY, log=False, action=action)


def zone(*interfaces: str) -> Resource:
    return other(firewall.ZONE, interfaces=several(*interfaces), outside=False)


@pytest.mark.parametrize(
    ("before", "after", "opens"),
    [
        (None, rule(), True),
        (rule(), None, False),
        (None, DROP, False),
        (DROP, None, True),
        (DROP, rule(), True),
        (rule(), DROP, False),
        (rule(), rule(log=True), False),
        (rule(), rule(source=several("192.0.2.7")), False),
        (rule(), rule(source=several("192.0.0.0/16")), True),
        (rule(), rule(source=ANY), True),
        (rule(destination=several("10.0.0.1")), rule(), True),
        (rule(), rule(services=several("tcp/443", "tcp/80")), True),
        (rule(services=several("tcp/1-1000")), rule(), False),
        (rule(), rule(to=several("lan", "dmz")), True),
        (rule(to=ANY), rule(), False),
        (rule(), rule(until="2027-01-01 00:00"), False),
        (rule(until="2027-01-01 00:00"), rule(), True),
        (rule(until="2027-01-01 00:00"), rule(until="2027-01-02 00:00"), True),
        (rule(until="2027-01-02 00:00"), rule(until="2027-01-01 00:00"), False),
        (rule(hours=several("mon 01:00-02:00")), rule(), True),
        (rule(), rule(hours=several("mon 01:00-02:00")), False),
        (DROP, rule(action="drop", source=ANY), False),
        (DROP, rule(action="drop", source=several("192.0.2.7")), True),
        (DROP, rule(action="reject"), False),
        (None, forward(), True),
        (forward(), forward(log=True), False),
        (forward(), forward(source=ANY), True),
        (forward(), forward(to="10.0.0.8"), True),
        (forward(source=ANY), forward(), False),
        (forward(), None, False),
        (None, other(firewall.NAT, inside="10.0.0.1"), True),
        (other(firewall.NAT, inside="10.0.0.1"), None, False),
        (None, other(firewall.MASQUERADE, source=ANY), False),
        (policy(action="drop"), policy(action="accept"), True),
        (policy(action="accept"), policy(action="accept"), False),
        (policy(action="accept"), None, False),
        (policy(action="drop"), None, False),
        (zone("lan0"), zone("lan0", "vlan9"), True),
        (zone("lan0", "vlan9"), zone("lan0"), False),
        (None, zone("lan0"), False),
    ],
)
def test_what_lets_in_what_was_kept_out(before: Resource | None, after: Resource | None, opens: bool) -> None:
    was, will = ([r] if r else [] for r in (before, after))
    assert opening.opens(before, after, was, will) is opens


@pytest.mark.parametrize(
    ("was", "will", "opens"),
    [
        (["deny", "allow"], ["allow", "deny"], True),
        (["allow", "deny"], ["deny", "allow"], False),
        (["elsewhere", "allow"], ["allow", "elsewhere"], False),
        (["deny", "deny2", "allow"], ["deny2", "deny", "allow"], False),
        (["deny"], ["allow", "deny"], False),  # that the rule itself came is told of it
    ],
)
def test_an_order_that_lets_in(was: Sequence[str], will: Sequence[str], opens: bool) -> None:
    named = {
        "deny": rule("deny", action="drop", source=ANY),
        "deny2": rule("deny2", action="reject"),
        "elsewhere": rule("elsewhere", action="drop", to=several("dmz")),
        "allow": rule("allow"),
    }
    one, two = ([*(named[n] for n in names), firewall.order(names)] for names in (was, will))
    assert opening.opens(one[-1], two[-1], one, two) is opens


def named(kind: str, name: str, **said: Value) -> Resource:
    return Resource(Id(kind, name), firewall.fields(**said))


def a_zone(name: str, *interfaces: str, outside: bool = False) -> Resource:
    return named(firewall.ZONE, name, interfaces=several(*interfaces), outside=outside)


WAN, LAN = a_zone("wan", "wan1", outside=True), a_zone("lan", "lan0")
HIDES, MASKED = a_zone("wan", "wan1"), named(firewall.MASQUERADE, "lan > wan", source=ANY)
OPEN = forward(source=ANY)
SHUT = rule("shut", action="drop", source=ANY, services=several("tcp/3389"))
ALL = rule("all", source=ANY, services=several("tcp/1-65535"))
EVERYWHERE = rule("all", source=ANY, to=ANY, services=several("tcp/1-65535"))
ALL_HERE = rule("all", source=ANY, to=several("any", "self"))
DMZ = a_zone("dmz", "dmz0")


NAT = named(firewall.NAT, "lan > wan", zone="wan", outside="198.51.100.9", inside="10.0.0.9")
LETS = Resource(Id(firewall.POLICY, "wan > lan"), {"action": "accept", "log": False})


def masked(pair: str) -> Resource:
    return named(firewall.MASQUERADE, pair, source=ANY)


def between(pair: str, action: str) -> Resource:
    return named(firewall.POLICY, pair, action=action, log=False)


def held(*names: Resource, order: Sequence[str] = ()) -> list[Resource]:
    return [*names, firewall.order(order)] if order else [*names]


@pytest.mark.parametrize(
    ("was", "will", "needs"),
    [
        (held(WAN, LAN), held(WAN, LAN, OPEN), {"f"}),
        (held(HIDES, LAN, MASKED), held(HIDES, LAN, MASKED, OPEN), {"f"}),  # it only masquerades
        (held(HIDES, LAN), held(HIDES, LAN, MASKED, OPEN), {"f"}),
        (held(HIDES, LAN, MASKED), held(HIDES, LAN, OPEN), {"f", "lan > wan"}),
        (held(), held(HIDES, LAN, MASKED, OPEN), {"f"}),
        (held(LAN, HIDES), held(LAN, HIDES, OPEN), set()),
        (held(WAN, LAN), held(HIDES, LAN), {"wan"}),
        (held(WAN, LAN), held(HIDES, LAN, OPEN), {"wan", "f"}),
        (held(WAN, LAN), held(HIDES, LAN, MASKED), set()),  # it is outside all the same
        (held(WAN, LAN, MASKED), held(HIDES, LAN, MASKED), set()),
        (held(HIDES, LAN, MASKED), held(HIDES, LAN), {"lan > wan"}),
        (held(WAN, LAN, MASKED), held(WAN, LAN), set()),
        (held(HIDES, LAN, MASKED), held(HIDES, LAN, MASKED, masked("wan > lan")), {"wan > lan"}),  # now neither is
        (held(HIDES, LAN, MASKED), held(HIDES, LAN, MASKED, masked("wan > wan"), OPEN), {"f"}),
        (held(WAN, LAN, MASKED), held(WAN, LAN, MASKED, masked("vpn > lan"), forward(source=ANY, zone="lan")), set()),
        (held(HIDES, LAN, MASKED), held(LAN), {"wan"}),  # the zone is gone, too
        (held(WAN, LAN), held(a_zone("wan", outside=True), a_zone("lan", "lan0", "wan1")), {"lan", "wan"}),
        (held(HIDES, LAN, MASKED), held(a_zone("lan", "lan0", "wan1")), {"lan", "wan"}),
        (held(WAN, LAN), held(LAN, a_zone("uplink", "wan1")), {"uplink", "wan"}),
        (held(WAN, LAN), held(a_zone("wan", outside=True), LAN), {"wan"}),
        (held(WAN, LAN), held(LAN), {"wan"}),
        (held(WAN, LAN), held(LAN, a_zone("uplink", "wan1", outside=True)), set()),
        (held(WAN, LAN), held(WAN, a_zone("lan", "lan0", "lan1")), set()),
        (held(WAN, LAN, LETS), held(WAN, a_zone("lan", "lan0", "lan1"), LETS), {"lan"}),  # to what is behind lan1
        (held(WAN, LAN, ALL), held(WAN, a_zone("lan", "lan0", "lan1"), ALL), {"lan"}),
        (held(WAN, LAN, EVERYWHERE), held(WAN, a_zone("lan", "lan0", "lan1"), EVERYWHERE), set()),  # that was so
        (held(WAN, LAN, DMZ, SHUT, EVERYWHERE, order=["shut", "all"]),
         held(WAN, a_zone("lan"), a_zone("dmz", "dmz0", "lan0"), SHUT, EVERYWHERE, order=["shut", "all"]), {"dmz"}),
        (held(WAN, LAN), held(WAN, LAN, between("wan > lan", "accept")), {"wan > lan"}),
        (held(HIDES, LAN, MASKED), held(HIDES, LAN, MASKED, between("wan > lan", "accept")), {"wan > lan"}),
        (held(WAN, LAN, between("wan > lan", "drop")), held(WAN, LAN, between("wan > lan", "accept")), {"wan > lan"}),
        (held(WAN, LAN), held(WAN, LAN, between("wan > lan", "drop")), set()),
        (held(WAN, LAN), held(WAN, LAN, between("lan > wan", "accept")), set()),
        (held(WAN, LAN, SHUT, ALL, order=["shut", "all"]), held(WAN, LAN, ALL, order=["all"]), {"shut"}),
        (held(WAN, LAN, SHUT, ALL, order=["all", "shut"]), held(WAN, LAN, ALL, order=["all"]), set()),
        (held(WAN, LAN, SHUT, ALL, order=["shut", "all"]), held(WAN, LAN, SHUT, ALL, order=["all", "shut"]), {"rules"}),
        (held(WAN, LAN, SHUT, ALL, order=["all", "shut"]), held(WAN, LAN, SHUT, ALL, order=["shut", "all"]), set()),
        (held(WAN, LAN, SHUT, order=["shut"]), held(WAN, LAN), set()),
        (held(WAN, LAN, SHUT, ALL, order=["shut", "all"]),
         held(WAN, LAN, rule("shut", action="drop"), ALL, order=["shut", "all"]), {"shut"}),
        (held(WAN, LAN, SHUT, ALL, order=["shut", "all"]),
         held(WAN, LAN, replace(SHUT, fields={**SHUT.fields, "action": "reject"}), ALL, order=["shut", "all"]), set()),
        (held(WAN, LAN, SHUT, ALL, order=["shut", "all"]),
         held(WAN, LAN, rule("shut", action="reject", source=ANY), ALL, order=["shut", "all"]), {"shut"}),
        (held(WAN, LAN, rule("shut", action="drop", source=ANY, until="2020-01-01 00:00"), ALL, order=["shut", "all"]),
         held(WAN, LAN, ALL, order=["all"]), set()),
        (held(WAN, LAN, rule("shut", action="drop", source=ANY, until="2099-01-01 00:00"), ALL, order=["shut", "all"]),
         held(WAN, LAN, ALL, order=["all"]), {"shut"}),
        # `any` is not the device itself.
        (held(WAN, LAN, EVERYWHERE), held(WAN, LAN, rule("all", source=ANY, to=several("self"))), {"all"}),
        (held(WAN, LAN, rule("shut", action="drop", source=ANY, to=several("self")), ALL_HERE, order=["shut", "all"]),
         held(WAN, LAN, rule("shut", action="drop", source=ANY, to=ANY), ALL_HERE, order=["shut", "all"]), {"shut"}),
        (held(WAN, LAN, SHUT, LETS), held(WAN, LAN, LETS), {"shut"}),
        (held(WAN, LAN, SHUT, LETS), held(WAN, LAN, rule("shut", action="drop"), LETS), {"shut"}),
        (held(WAN, LAN, rule(action="drop", source=ANY, to=several("self")), LETS), held(WAN, LAN, LETS), set()),
        (held(WAN, LAN, SHUT, between("lan > wan", "accept")), held(WAN, LAN, between("lan > wan", "accept")), set()),
        (held(WAN, LAN, SHUT, between("wan > lan", "drop")), held(WAN, LAN, between("wan > lan", "drop")), set()),
        (held(WAN, LAN, ALL), held(WAN, LAN, ALL, NAT), {"lan > wan"}),
        (held(WAN, LAN, LETS), held(WAN, LAN, LETS, NAT), {"lan > wan"}),
        (held(WAN, LAN, ALL, replace(NAT, fields={**NAT.fields, "inside": "10.0.0.8"})), held(WAN, LAN, ALL, NAT),
         {"lan > wan"}),
        (held(WAN, LAN), held(WAN, LAN, NAT), set()),
        (held(WAN, LAN, ALL, NAT), held(WAN, LAN, ALL), set()),
        (held(WAN, LAN, ALL_HERE), held(WAN, LAN, ALL_HERE, NAT), {"lan > wan"}),
        (held(WAN, LAN, rule("all", source=ANY, to=several("self"))),
         held(WAN, LAN, rule("all", source=ANY, to=several("self")), NAT), set()),
        (held(WAN, LAN, rule(), between("lan > wan", "accept")),
         held(WAN, LAN, rule(), between("lan > wan", "accept"), NAT), set()),
        (held(WAN, LAN, rule(source=ANY, destination=several("10.0.0.8"))),
         held(WAN, LAN, rule(source=ANY, destination=several("10.0.0.8")), NAT), set()),
        (held(WAN, LAN, SHUT, OPEN), held(WAN, LAN, OPEN), set()),  # forwards come before rules
    ],
)  # fmt: skip
def test_what_opens_to_everybody_needs_an_approval(was: list[Resource], will: list[Resource], needs: set[str]) -> None:
    before, after = ({r.id: r for r in each} for each in (was, will))
    changes = [Change(before.get(i), after.get(i)) for i in sorted({*before, *after}) if before.get(i) != after.get(i)]
    assert {id_.name for id_ in guards.judge(changes, was, [], now=datetime(2027, 3, 4, tzinfo=UTC))} == needs


@pytest.mark.parametrize(("cause", "needs"), [(Cause.CONFLICT, {"shut", "all"}), (Cause.PENDING, set())])
def test_what_is_held_stays_behind_what_shut_it_out(cause: Cause, needs: set[str]) -> None:
    more = [rule(f"r{n}", action="drop") for n in range(9)]  # so that two deletes are few
    changes = [Change(SHUT, None), Change(ALL, None, cause)]
    assert {id_.name for id_ in guards.judge(changes, held(WAN, LAN, SHUT, ALL, *more), [])} == needs


def test_what_something_else_holds_is_not_taken_for_done() -> None:
    """An emergency left it so, say: what shuts out may go only when that is over, too."""
    more = [rule(f"r{n}", action="drop") for n in range(9)]
    changes, live = [Change(SHUT, None), Change(ALL, None)], held(WAN, LAN, SHUT, ALL, *more)
    assert guards.judge(changes, live, []) == {}
    assert {id_.name for id_ in guards.judge(changes, live, [], held={ALL.id})} == {"shut"}


DAY = several("mon 08:00-18:00", "tue 08:00-18:00")


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ({"source": several("10.0.0.1", "10.0.0.3", "10.0.0.9")}, {"source": several("10.0.0.0/28")}, 0),
        ({"source": several("10.0.0.1", "10.0.0.3", "10.0.0.9")}, {"source": several("10.0.0.0/30")}, 2),
        ({"services": several("tcp/1", "udp/2", "esp")}, {"services": ANY}, 0),
        ({"to": several("wan", "dmz", "guests")}, {"to": ANY}, 0),
        ({"to": several("wan", "dmz", "self")}, {"to": ANY}, 2),
        ({"from_": several("wan", "dmz")}, {"from_": several("any", "vpn")}, 0),
        ({"hours": DAY}, {"hours": frozenset()}, 0),
        ({"hours": frozenset()}, {"hours": DAY}, 1),
        ({"hours": DAY}, {"hours": several("mon 00:00-24:00", "tue 08:00-18:00")}, 0),
        ({"hours": DAY}, {"hours": several("mon 09:00-17:00")}, 1),
    ],
)
def test_what_holds_more_in_fewer_words_is_no_loss(before: Fields, after: Fields, lost: int) -> None:
    assert guards.losses(Change(rule("a", **before), rule("a", **after))) == lost


def test_a_rule_that_goes_is_one_loss() -> None:
    two = held(rule("a"), rule("b"), rule("c"), order=["a", "b", "c"])
    changes = [Change(two[0], None), Change(two[1], None), Change(two[-1], firewall.order(["c"]))]
    assert sum(map(guards.losses, changes)) == 2


def test_rules_that_the_device_has_ended_are_no_loss() -> None:
    def ending(until: str) -> list[Resource]:
        return [rule(f"r{n}", until=until) for n in range(5)]

    now = datetime(2027, 3, 4, 17, tzinfo=UTC)
    for until, held_back in (("2027-03-04 17:00", 0), ("2027-03-04 17:01", 5), ("", 5)):
        live = [WAN, LAN, *ending(until)]
        assert len(guards.judge([Change(each, None) for each in ending(until)], live, [], now=now)) == held_back


def test_hours_that_get_shorter_open_nothing() -> None:
    before, after = rule(source=ANY, hours=DAY), rule(source=ANY, hours=several("mon 09:00-17:00"))
    live = held(WAN, LAN, before, *(rule(f"r{n}") for n in range(9)))
    assert guards.judge([Change(before, after)], live, []) == {}
    assert guards.judge([Change(after, before)], [after, *live[:2]], [])
    assert not opening.opens(before, after, live, live)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (rule(source=several("10.0.0.9")), "lets through https wan → lan from nvr 10.0.0.9 only"),
        (forward(), "opens tcp/8443 on wan from 192.0.2.1 only → nvr 10.0.0.9 port 443"),
        (other(firewall.NAT, zone="wan", outside="1.2.3.4", inside="10.0.0.9"), "1.2.3.4 on wan is nvr 10.0.0.9"),
        (other(firewall.MASQUERADE, source=ANY), "has the device's own address there"),
        (policy(action="drop"), "drops what no rule decides"),
        (
            Resource(firewall.DEFAULT, {"action": "reject", "log": True}),
            "rejects what nothing else decides, and logs it",
        ),
        (rule(action=firewall.BY_HAND), ""),
    ],
)
def test_in_words(resource: Resource, said: str) -> None:
    assert in_words(resource, {several("10.0.0.9"): "nvr"}) == said
