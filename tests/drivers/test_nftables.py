"""The nftables driver on a real kernel: the contract, what only nftables can get wrong, and texts that mean harm."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mspctl.driver import Reading
from mspctl.drivers.nftables import native
from mspctl.drivers.nftables.live import Table
from mspctl.errors import TargetError
from mspctl.kinds import addresses, firewall, services
from mspctl.resource import Cause, Id, Resource, Scope
from tests.drivers.contract import DriverContract, Sample
from tests.drivers.nftables_rig import (
    ANY,
    SCOPES,
    Device,
    default,
    forward,
    masquerade,
    nat,
    policy,
    rule,
    several,
    zone,
)
from tests.drivers.workbench import Workbench

RULE = rule("browse")
VARIANTS = (
    rule("browse", from_=several("lan", "guest")),
    rule("browse", to=several("self", "wan", "dmz")),
    rule(
        "browse", source=several("10.20.0.0/22", "10.30.0.1", "10.40.0.1-10.40.0.7", "2001:db8::/48", "2001:db8:1::1")
    ),
    rule("browse", destination=several("192.0.2.1")),
    rule(
        "browse", services=several("tcp/80", "tcp/8000-8009", "udp/53", "icmp/echo-request", "icmpv6/any", "esp", "gre")
    ),
    rule("browse", action="reject"),
    rule("browse", log=True),
    rule("browse", until="2027-03-12 17:00"),
    rule("browse", hours=several("mon 05:30-16:30", "tue 05:30-16:30", "sun 00:00-24:00", "sat 22:00-24:00")),
)
FORWARD = forward("nvr")
FORWARDS = (
    forward("nvr", zone="dmz"),
    forward("nvr", listen=several("udp/5060")),
    forward("nvr", to="10.20.1.61"),
    forward("nvr", port=0),
    forward("nvr", source=ANY),
    forward("nvr", log=True),
    forward("nvr", until="2027-03-12 17:00"),
    forward("nvr", hours=several("fri 00:00-12:00")),
)


class TestNftables(DriverContract):
    constant = frozenset({"amiss"})
    samples = (
        Sample(RULE, VARIANTS),
        Sample(FORWARD, FORWARDS),
        Sample(zone("lan", "lan0"), (zone("lan", "lan0", "vlan30"), zone("lan", "lan0", outside=True))),
        Sample(
            nat("mail"), (nat("mail", zone="dmz"), nat("mail", outside="203.0.113.8"), nat("mail", inside="10.20.1.8"))
        ),
        Sample(masquerade("lan > wan"), (masquerade("lan > wan", several("10.20.0.0/22")),)),
        Sample(policy("lan > dmz"), (policy("lan > dmz", action="reject"), policy("lan > dmz", log=True))),
        Sample(default(), (default(action="reject"), default(log=True))),
        Sample(Resource(Id(firewall.NAME, "updates.vendor.example."), {}), ()),
        Sample(firewall.order(["browse"]), (firewall.order(["browse", "later"]),)),
    )
    impossible = (
        (rule("named", source=several("updates.vendor.example.")), "could never hold"),
        (rule("never", source=several("10.0.0.1"), services=several("icmpv6/any")), "could never hold"),
        (rule("never", source=several("10.0.0.1"), destination=several("2001:db8::1")), "could never hold"),
        (forward("never", source=several("2001:db8::1")), "could never hold"),
        (masquerade("lan > wan", several("2001:db8::/32")), "could never hold"),
        (Resource(Id("dns.rrset", "www A"), {"ttl": 1}), r"holds no dns\.rrset"),
    )
    adjusted = (
        rule("mixed", source=several("10.0.0.1"), services=several("tcp/1", "icmp/any", "icmpv6/any")),
        rule("mixed", source=several("10.0.0.1", "2001:db8::1"), destination=several("10.0.0.2")),
        forward("mixed", source=several("10.0.0.1", "2001:db8::1")),
        masquerade("lan > wan", several("10.0.0.1", "2001:db8::1")),
    )
    many = tuple(rule(f"r{n}", source=several(f"10.{n >> 8}.{n & 255}.1")) for n in range(300))
    removes_scopes = True
    measures = frozenset({firewall.PACKETS})


# -- every rule comes back ---------------------------------------------------------------------------------------

PLACES = st.one_of(
    st.just(ANY),
    st.sets(
        st.sampled_from(["10.0.0.1", "10.0.0.2", "10.1.0.0/16", "10.2.0.3-10.2.0.9", "2001:db8::1", "2001:db8:1::/48"]),
        min_size=1,
    ).map(addresses.joined),
)
SERVICES = st.sets(
    st.sampled_from(
        [
            "any",
            "tcp/22",
            "tcp/23",
            "tcp/80-90",
            "udp/53",
            "sctp/9",
            "icmp/any",
            "icmp/echo-request",
            "icmpv6/any",
            "esp",
            "gre",
        ]
    ),
    min_size=1,
).map(services.joined)
ZONES = st.sets(st.sampled_from(["lan", "wan", "dmz"]), min_size=1).map(frozenset) | st.just(ANY)
UNTIL = st.sampled_from(["", "2027-03-12 17:00", "2030-01-01 00:01"])
HOURS = st.sets(st.sampled_from(["mon 00:00-24:00", "tue 05:30-16:30", "wed 05:30-16:30", "sun 23:59-24:00"])).map(
    frozenset
)
RULES = st.builds(
    rule,
    st.sampled_from(["a", "b", "c", "very.long_name-with.everything.0123456789-0123456"]),
    from_=ZONES,
    to=st.one_of(ZONES, st.sets(st.sampled_from(["lan", "self"]), min_size=1).map(frozenset)),
    source=PLACES,
    destination=PLACES,
    services=SERVICES,
    action=st.sampled_from(["accept", "drop", "reject"]),
    log=st.booleans(),
    until=UNTIL,
    hours=HOURS,
).filter(lambda r: any(native.made_of(r)))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RULES, max_size=4, unique_by=lambda r: r.id), st.permutations("abc"))
def test_what_is_loaded_is_read_back(rig: Device, made: list[Resource], names: list[str]) -> None:
    last = Resource(firewall.DEFAULT, {"action": "drop", "log": False})
    said = [*map(native.held, made), firewall.order(names), last]
    commands = native.commands("mspctl-sede", said, Table())
    rig.nft("-j", "-f", "-", given=json.dumps({"nftables": commands}))
    assert sorted(rig.table(SCOPES[0]).resources, key=lambda r: r.id) == sorted(said, key=lambda r: r.id)


# -- what somebody else does in our table --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("replace rule inet mspctl-sede forward handle {browse} accept comment \"rule:browse\"", {"browse"}),
        ("delete rule inet mspctl-sede forward handle {browse}", {"browse"}),
        ("add rule inet mspctl-sede forward tcp dport 99 accept comment \"rule:browse\"", {"browse", "default"}),
        ("add chain inet mspctl-sede input {{ policy accept; }}", {"default"}),
        ("flush chain inet mspctl-sede input", {"default"}),
        ("add element inet mspctl-sede zone_lan {{ eth9 }}", {"lan"}),
        ("flush chain inet mspctl-sede notes", {"rules"}),
    ],
)  # fmt: skip
def test_a_hand_in_our_table_is_drift(rig: Device, bench: Workbench, command: str, told: set[str]) -> None:
    bench.declare(SCOPES[0], RULE, rule("late"), firewall.order(["late", "browse"]), zone("lan", "lan0"), default())
    bench.converge()
    listed = json.loads(rig.nft("-j", "list", "table", "inet", "mspctl-sede"))["nftables"]
    handles = {
        i["rule"]["comment"]: i["rule"]["handle"] for i in listed if "rule" in i and i["rule"]["chain"] != "notes"
    }
    rig.nft(command.format(browse=handles["rule:browse"]))
    assert {*bench.causes(SCOPES[0])} == told
    assert {*bench.causes(SCOPES[0]).values()} == {Cause.DRIFT}
    bench.converge(causes=frozenset({Cause.DRIFT}))
    assert bench.causes(SCOPES[0]) == {}


def test_a_rule_that_somebody_put_there_stays_where_it_is(rig: Device, bench: Workbench) -> None:
    bench.declare(SCOPES[0], rule("one"), rule("two"), firewall.order(["one", "two"]), default())
    bench.converge()
    rig.nft('insert rule inet mspctl-sede forward tcp dport 4711 accept comment "fabio\'s"')
    rig.nft("add rule inet mspctl-sede forward tcp dport 4712 accept")
    causes = bench.causes(SCOPES[0])
    assert [*causes.values()] == [Cause.UNMANAGED, Cause.UNMANAGED]
    bench.declare(
        SCOPES[0], rule("one", log=True), rule("two"), rule("three"), firewall.order(["one", "two", "three"]), default()
    )
    outcome = bench.apply()
    assert outcome.landed == 3, outcome.unfinished
    lines = [line.strip() for line in str(rig.native(SCOPES[0])).splitlines()]
    chain = lines[lines.index("chain forward {") : lines.index("chain prerouting {")]
    assert chain[2] == 'tcp dport 4711 accept comment "fabio\'s"'
    assert chain[-3] == "tcp dport 4712 accept"
    assert any("rule:three" in line for line in chain)


def test_what_they_changed_in_one_rule_outlives_a_change_of_another(rig: Device, bench: Workbench) -> None:
    bench.declare(SCOPES[0], rule("one"), rule("two"), default())
    bench.converge()
    rig.by_hand(SCOPES[0], Id(firewall.RULE, "one"), rule("one", services=several("tcp/1")))
    bench.declare(SCOPES[0], rule("one"), rule("two", log=True), default())
    assert bench.apply().landed == 1
    assert bench.causes(SCOPES[0]) == {"one": Cause.DRIFT}
    listed = str(rig.native(SCOPES[0]))
    assert "tcp dport 1 counter accept" in listed
    assert "mspctl two" in listed


def test_other_tables_are_none_of_our_business(rig: Device, bench: Workbench) -> None:
    rig.nft(
        "-f",
        "-",
        given="table inet theirs {\nchain c {\ntype filter hook forward priority 0\ntcp dport 1 accept\n}\n}\n",
    )
    before = rig.nft("list", "table", "inet", "theirs")
    bench.declare(SCOPES[0], RULE, default())
    bench.converge()
    bench.declare_from(SCOPES[0], lambda outputs: (), gone=True)
    bench.converge()
    assert rig.nft("list", "table", "inet", "theirs") == before
    assert rig.reader().scopes() == []


# -- the device ----------------------------------------------------------------------------------------------------


def test_what_was_confirmed_is_loaded_at_the_next_start(rig: Device, bench: Workbench) -> None:
    bench.declare(SCOPES[0], RULE, FORWARD, default())
    bench.converge()
    before = rig.native(SCOPES[0])
    rig.nft("flush", "ruleset")
    rig.nft("-j", "-f", str(rig.folder / "boot/mspctl-sede.json"))
    assert rig.native(SCOPES[0]) == before
    assert [*(rig.folder / "run").iterdir()] == []
    bench.declare_from(SCOPES[0], lambda outputs: (), gone=True)
    bench.converge()
    assert [*(rig.folder / "boot").iterdir()] == []


@pytest.mark.parametrize("what", ["hostname", "machine_id"])
def test_another_device_is_sent_nothing(rig: Device, what: str) -> None:
    rig.settings = rig.settings.model_copy(update={what: "fw-elsewhere"})
    (work,) = [Scope("fw-1", "firewall", "sede", "acme")]
    with pytest.raises(TargetError, match=r"is .*, and not fw-elsewhere; nothing was sent"):
        [*rig.reader().read([work], {})]
    assert rig.nft("list", "tables") == ""


@pytest.mark.parametrize("name", ["a;b", 'a"b', "a\nb", "a b", "ü", "$(touch pwned)", "a\\"])
def test_names_never_become_commands(rig: Device, name: str) -> None:
    """They are refused in YAML; even so, what the device holds is the name, byte for byte."""
    made = [rule(name, log=True), firewall.order([name]), default()]
    try:
        rig.nft("-j", "-f", "-", given=json.dumps({"nftables": native.commands("mspctl-sede", made, Table())}))
    except AssertionError:
        assert rig.nft("list", "tables") == ""
    else:
        found = {r.id.name for r in rig.table(SCOPES[0]).resources}
        assert found == {name, "rules", "default"}


@pytest.mark.parametrize("listed", [{}, {"nftables": [{"rule": {}}]}, {"nftables": 1}, {"nftables": [{"chain": {}}]}])
def test_a_list_that_makes_no_sense_is_no_empty_table(listed: Any) -> None:
    with pytest.raises(TargetError, match="makes no sense"):
        Table.read(listed)


def test_two_and_a_half_thousand_rules(rig: Device, bench: Workbench) -> None:
    made = [rule(f"r{n}", source=several(f"10.{n >> 8}.{n & 255}.0/24")) for n in range(2_500)]
    order = firewall.order(r.id.name for r in made)
    bench.declare(SCOPES[0], *made, order, default())
    assert bench.apply().landed == 2502
    (answer,) = rig.reader().read([SCOPES[0]], {})
    assert isinstance(answer, Reading)
    assert {r.id: r.fields for r in answer.resources} == {r.id: r.fields for r in (*made, order, default())}
    moved = firewall.order(r.id.name for r in (*made[1:], made[0]))
    bench.declare(SCOPES[0], *made, moved, default())
    assert bench.apply().landed == 1
    assert rig.table(SCOPES[0]).resources[-1] == replace(moved)
