"""What `firewall.yaml` may say, what becomes of it, and which slips are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from mspctl.desired import Declaration, Selection, declarations
from mspctl.driver import Reading
from mspctl.errors import InputError
from mspctl.kinds import firewall, packets
from mspctl.kinds.firewall import opening
from mspctl.kinds.firewall.words import in_words
from mspctl.kinds.packets import Packet
from mspctl.load import load
from mspctl.moments import Ending
from mspctl.plan import Standing, plan_scope
from mspctl.record import Record, ScopeRecord
from mspctl.resource import UNKNOWN, Id, Resource
from tests.estate import estate

TARGETS = """\
targets:
  fw-sede: {facets: {firewall: {driver: zonefile, directory: zones}}}
  fw-deposito: {facets: {firewall: {driver: zonefile, directory: zones}}}
"""
CUSTOMER = """\
name: Officine Brenta S.r.l.
timezone: Europe/Rome
contacts: [{id: maria, name: Maria Rossi, may_authorize: [firewall]}, {id: ugo, name: Ugo Neri}]
"""
SEDE = """\
target: fw-sede
zones: {wan: {interfaces: wan1, outside: true}, lan: lan0, guest: {interfaces: [vlan30], guest: true}, dmz: dmz0}
objects: {nvr: 10.20.1.60, office: [10.20.0.0/23, 10.20.2.0/23], both: [office, nvr, "2001:db8:20::/48"]}
services: {machines: [tcp/8000, tcp/8001-8009, ping]}
schedules: {ufficio: "mon-fri 07:30-18:30"}
management: {from: [198.51.100.0/28], services: [ssh]}
rules:
  - {id: browse, from: lan, to: wan, services: [dns, http, https, quic], action: accept}
  - {id: ospiti, from: guest, to: wan, services: [dns, http, https], action: accept, schedule: ufficio}
  - {id: machines, from: [lan, dmz], to: any, source: both, services: machines, action: accept, log: true}
  - {id: no-smtp, from: any, to: wan, services: smtp, action: reject}
forwards:
  - {id: nvr, listen: "wan:8443", to: "nvr:443", only_from: [198.51.100.24], asked_by: maria, until: "2027-03-12 18:00"}
masquerade: [{from: [lan, guest], to: wan}]
policies: [{from: lan, to: dmz, action: accept}]
"""
FILE = "customers/brenta/firewall/sede.yaml"
NOW = datetime(2027, 3, 5, 12, tzinfo=UTC)  # a Friday


def brenta(tmp_path: Path, sede: str = SEDE, **more: str) -> Path:
    files = {"inventory/targets.yaml": TARGETS, "customers/brenta/customer.yaml": CUSTOMER, FILE: sede}
    return estate(tmp_path, files | {f"customers/brenta/{name}": text for name, text in more.items()})


def declared(root: Path, now: datetime = NOW) -> list[Declaration]:
    return [*declarations(load(root, now=now), Selection(), {}, now)]


def resources(root: Path, now: datetime = NOW) -> dict[Id, Resource]:
    (one,) = declared(root, now)
    return {r.id: r for r in one.resources}


def complaints(root: Path) -> list[str]:
    try:
        return [str(p) for p in load(root, now=NOW).warnings]
    except InputError as error:
        return [str(p) for p in error.problems]


def test_names_become_what_they_stand_for(tmp_path: Path) -> None:
    found = resources(brenta(tmp_path))
    machines = found[Id(firewall.RULE, "machines")]
    assert machines.fields == {
        "from": {"lan", "dmz"},
        "to": {"any"},
        "source": {"10.20.0.0/22", "2001:db8:20::/48"},
        "destination": {"any"},
        "services": {"tcp/8000-8009", "icmp/echo-request", "icmpv6/echo-request"},
        "action": "accept",
        "log": True,
        "until": "",
        "hours": frozenset(),
    }
    assert machines.source == f"{FILE}:10"
    assert found[firewall.ORDER].fields["rules"] == ("management", "browse", "ospiti", "machines", "no-smtp")
    assert found[Id(firewall.RULE, "management")].fields["to"] == frozenset({"self"})
    nvr = found[Id(firewall.FORWARD, "nvr")]
    assert nvr.fields == {
        "zone": "wan",
        "listen": {"tcp/8443"},
        "to": "10.20.1.60",
        "port": 443,
        "source": {"198.51.100.24"},
        "log": False,
        "until": "2027-03-12 17:00",
        "hours": frozenset(),
    }
    assert in_words(nvr) == (
        "opens tcp/8443 on wan from 198.51.100.24 only → 10.20.1.60 port 443, until 2027-03-12 17:00 UTC"
    )
    assert {i.name for i in found if i.kind == firewall.MASQUERADE} == {"lan > wan", "guest > wan"}


def test_a_schedule_is_hours_on_the_wall(tmp_path: Path) -> None:
    root = brenta(tmp_path)
    id_ = Id(firewall.RULE, "ospiti")
    days = ("mon", "tue", "wed", "thu", "fri")
    assert resources(root)[id_].fields["hours"] == frozenset(f"{day} 06:30-17:30" for day in days)
    summer = datetime(2027, 7, 1, tzinfo=UTC)
    assert resources(root, summer)[id_].fields["hours"] == frozenset(f"{day} 05:30-16:30" for day in days)
    (one,) = declared(root)
    assert one.timed[id_] == "clocks were set"


AUTUMN = datetime(2027, 10, 31, 6, tzinfo=UTC)  # clocks were set back five hours ago


@pytest.mark.parametrize(
    ("days", "window", "said", "needs"),
    [
        (0, "00:00-12:00", "clocks were set", ""),  # in summer that began the day before: as many spans again
        (30, "00:00-12:00", "clocks were set", ""),
        (60, "00:00-12:00", "", "it opens something to everybody, from anywhere"),  # nobody knows that it was clocks
        (0, "00:00-13:00", "", "it opens something to everybody, from anywhere"),
    ],
)
def test_clocks_that_were_set_need_no_approval(tmp_path: Path, days: int, window: str, said: str, needs: str) -> None:
    """Nobody is awake to give one; what somebody changed besides needs it as ever."""
    text = SEDE.replace("id: ospiti, from: guest, to: wan", "id: shop, from: wan, to: dmz")
    was, will = (
        brenta(tmp_path / name, text.replace("mon-fri 07:30-18:30", hours))
        for name, hours in (("was", "00:00-12:00"), ("will", window))
    )
    (before,), (after,) = declared(was, AUTUMN - timedelta(days=1)), declared(will, AUTUMN + timedelta(days=days))
    reading = Reading(before.scope, before.resources)
    record = ScopeRecord(before.scope, {r.id: Record((r,)) for r in before.resources})
    (step,) = plan_scope(after, record, reading).steps
    assert step.change.id == Id(firewall.RULE, "shop")
    assert step.reason == (said or needs)
    assert (step.standing is Standing.APPROVAL) is bool(needs)


def test_a_rule_that_is_new_is_not_there_because_clocks_were_set(tmp_path: Path) -> None:
    (new,) = declared(brenta(tmp_path))
    steps = plan_scope(new, None, Reading(new.scope, [], exists=False)).steps
    assert {step.reason for step in steps if step.change.id.name == "ospiti"} == {""}


@pytest.mark.parametrize(
    ("window", "hours"),
    [
        ("22:00-05:00", {f"{d} {h}" for d in firewall.DAYS for h in ("21:00-24:00", "00:00-04:00")}),
        ("sun 23:30-00:30", {"sun 22:30-23:30"}),
        ("mon 00:00-02:00", {"sun 23:00-24:00", "mon 00:00-01:00"}),
        ("00:00-24:00", {f"{day} 00:00-24:00" for day in firewall.DAYS}),
    ],
)
def test_a_window_over_midnight(tmp_path: Path, window: str, hours: set[str]) -> None:
    found = resources(brenta(tmp_path, SEDE.replace("mon-fri 07:30-18:30", window)))
    assert found[Id(firewall.RULE, "ospiti")].fields["hours"] == frozenset(hours)


def test_what_is_over_is_not_declared(tmp_path: Path) -> None:
    root, over = brenta(tmp_path), datetime(2027, 3, 12, 17, tzinfo=UTC)
    (before,) = declared(root)
    assert before.ends == {Id(firewall.FORWARD, "nvr"): Ending(over, "closes itself Fri 12 Mar 18:00")}
    (after,) = declared(root, over)
    assert Id(firewall.FORWARD, "nvr") not in {r.id for r in after.resources}
    assert after.timed[Id(firewall.FORWARD, "nvr")] == "expired 2027-03-12 18:00"


@pytest.mark.parametrize(
    ("came", "goes", "source", "destination", "service", "by"),
    [
        ("lan", "wan", "10.20.0.7", "192.0.2.1", "tcp/443", "browse"),
        ("lan", "wan", "10.20.0.7", "192.0.2.1", "tcp/25", "no-smtp"),
        ("lan", "wan", "10.20.0.7", "192.0.2.1", "tcp/4711", ""),
        ("lan", "dmz", "10.20.0.7", "10.9.9.9", "tcp/4711", "lan > dmz"),
        ("lan", "self", "10.20.0.7", "10.20.0.1", "tcp/8005", ""),  # any is no word for the device
        ("dmz", "lan", "10.20.1.60", "10.20.0.1", "icmp/echo-request", "machines"),
        ("dmz", "lan", "10.9.9.9", "10.20.0.1", "icmp/echo-request", ""),
        ("guest", "wan", "10.30.0.7", "192.0.2.1", "tcp/443", "ospiti"),
        ("guest", "lan", "10.30.0.7", "10.20.0.1", "tcp/443", ""),
        ("wan", "self", "198.51.100.24", "203.0.113.1", "tcp/8443", "nvr"),
        ("wan", "self", "198.51.100.25", "203.0.113.1", "tcp/8443", ""),
        ("wan", "self", "198.51.100.5", "203.0.113.1", "tcp/22", "management"),
    ],
)
def test_which_rule_decides(
    tmp_path: Path, came: str, goes: str, source: str, destination: str, service: str, by: str
) -> None:
    packet = Packet(came, goes, ip_address(source), ip_address(destination), service, NOW)
    decision = packets.decide([*resources(brenta(tmp_path)).values()], packet)
    assert decision.by
    assert decision.by.name == (by or "default")
    assert decision.to == ("10.20.1.60 tcp/443" if by == "nvr" else "")
    assert decision.passes == (by not in ("", "no-smtp"))


def test_what_becomes_of_addresses(tmp_path: Path) -> None:
    held = [*resources(brenta(tmp_path, SEDE.replace("policies: [", f"static_nat: [{MAIL}]\npolicies: ["))).values()]

    def decide(came: str, goes: str, source: str, destination: str, service: str) -> packets.Decision:
        return packets.decide(held, Packet(came, goes, ip_address(source), ip_address(destination), service, NOW))

    assert decide("lan", "wan", "10.20.1.7", "192.0.2.1", "tcp/443").seen_as == "the device"
    assert decide("lan", "wan", "10.20.1.9", "192.0.2.1", "tcp/443").seen_as == "203.0.113.9"
    assert decide("lan", "wan", "2001:db8:20::1", "2001:db8::1", "tcp/443").seen_as == ""
    assert decide("wan", "lan", "192.0.2.1", "203.0.113.9", "tcp/443").passes is False
    machines = decide("dmz", "wan", "10.20.1.60", "192.0.2.1", "tcp/8001")
    assert (machines.passes, machines.seen_as) == (True, "")
    assert decide("lan", "wan", "10.20.1.7", "192.0.2.1", "icmp/echo-reply").because
    assert decide("wan", "self", "2001:db8::1", "2001:db8::2", "icmpv6/nd-neighbor-solicit").passes


def test_outside_its_hours_a_rule_does_not_count(tmp_path: Path) -> None:
    found = [*resources(brenta(tmp_path)).values()]
    sunday = datetime(2027, 3, 7, 12, tzinfo=UTC)
    packet = Packet("guest", "wan", ip_address("10.30.0.7"), ip_address("192.0.2.1"), "tcp/443", sunday)
    assert packets.decide(found, packet).by == firewall.DEFAULT


def test_what_devices_have_in_common_lies_under_each(tmp_path: Path) -> None:
    shared = "objects: {us: 198.51.100.0/28}\nmanagement: {from: us}\n"
    shared += "after: [{id: log-rest, from: any, to: any, services: any, action: drop, log: true}]\n"
    deposito = "target: fw-deposito\nzones: {wan: eth0, lan: eth1}\n"
    deposito += "rules: [{id: web, from: lan, to: wan, services: https, action: accept}]\n"
    sede = SEDE.replace("management: {from: [198.51.100.0/28], services: [ssh]}\n", "")
    root = brenta(tmp_path, sede, **{"firewall.yaml": shared, "firewall/deposito.yaml": deposito})
    assert complaints(root) == []
    found = {d.scope.name: {r.id: r for r in d.resources} for d in declared(root)}
    assert found["deposito"][firewall.ORDER].fields["rules"] == ("management", "web", "log-rest")
    assert [r.id.name for r in firewall.rules([*found["sede"].values()])][-2:] == ["no-smtp", "log-rest"]
    assert found["sede"][Id(firewall.RULE, "management")].fields["source"] == frozenset({"198.51.100.0/28"})


def test_one_device_can_be_the_section_itself(tmp_path: Path) -> None:
    root = estate(
        tmp_path,
        {
            "inventory/targets.yaml": TARGETS,
            "customers/brenta/customer.yaml": CUSTOMER,
            "customers/brenta/firewall.yaml": f"mode: observe\n{SEDE}",
        },
    )
    (one,) = declared(root)
    assert (one.scope.name, one.mode, one.source) == ("main", "observe", "customers/brenta/firewall.yaml")


MAIL = "{id: mail, zone: wan, outside: 203.0.113.9, inside: 10.20.1.9}"
TWO, MAIL6 = MAIL.replace("mail", "two"), MAIL.replace("10.20.1.9", "'2001:db8::9'")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("source: both", "sorce: both", r"9?.*unknown key \(did you mean source\?\)"),
        ("services: smtp, action", "action", "says no services"),
        ("source: both", "source: boht", r"there is no object boht \(did you mean both\?\)"),
        ("from: guest, to: wan", "from: guset, to: wan", "there is no zone guset"),
        ("schedule: ufficio", "schedule: uficio", "there is no schedule uficio"),
        ("services: machines", "services: htps", "there is no service htps"),
        ("services: machines", "services: tcp/70000", "is no service"),
        ("[198.51.100.0/28], services: [ssh]", "any", "is half the world"),
        ("management: {from: [198.51.100.0/28], services: [ssh]}\n", "", "management: is missing"),
        ("objects: {nvr", "objects: {all: '*.example.com', nvr", "is no address"),
        ("management: {from: [", "management: {from: [office.example, ", r"office\.example is a name"),
        ("id: no-smtp", "id: browse", r"browse is the id of .*sede\.yaml:8 already"),
        ("id: no-smtp", "id: management", "is the id of the rule that lets us in"),
        ("id: no-smtp", 'id: "a\\nb"', "is not a rule's id"),
        ("dmz: dmz0", "dmz: lan0", "lan0 is in zone lan already"),
        ("dmz: dmz0", "any: dmz0", "any is taken"),
        ("nvr: 10.20.1.60,", "nvr: 10.20.1.60/22,", r"write 10\.20\.0\.0/22"),
        ("office: [10.20.0.0/23", "office: [both, 10.20.0.0/23", "is in itself"),
        ('to: "nvr:443"', 'to: "office:443"', "office is not one host"),
        ('to: "nvr:443"', 'to: "nvr:443:1"', "is no host"),
        ('listen: "wan:8443"', 'listen: "8443"', "is not where to listen"),
        ('listen: "wan:8443"', 'listen: "wna:8443"', "there is no zone wna"),
        ("only_from: [198.51.100.24]", "only_from: []", "only_from is empty"),
        ("asked_by: maria", "asked_by: mario", r"mario is no contact of brenta \(did you mean maria\?\)"),
        ("asked_by: maria", "asked_by: ugo", "warning: ugo may not authorize firewall"),
        ('until: "2027-03-12 18:00"', "until: 2027-03-04", "warning: 2027-03-04 is over"),
        ('until: "2027-03-12 18:00"', 'until: "2027-03-28 02:30"', "does not exist in Europe/Rome"),
        ("from: guest, to: wan", "from: guest, to: any", r"lets guests \(guest\) into dmz, lan"),
        ("from: lan, to: dmz, action", "from: guest, to: dmz, action", r"lets guests \(guest\) into dmz"),
        ("from: lan, to: dmz, action", "from: wan, to: dmz, action", "lets everybody outside into dmz"),
        ("policies: [", "policies: [{from: lan, to: dmz, action: drop}, ", "is said at"),
        ("policies: [", f"static_nat: [{MAIL}, {TWO}]\npolicies: [", r"203\.0\.113\.9 is at .* already"),
        ("policies: [", f"static_nat: [{MAIL6}]\npolicies: [", "is of another family"),
        ("masquerade: [", "masquerade: [{from: lan, to: wan, source: office}, ", "lan > wan is said at .* already"),
        ("policies: [", "policies: [{from: any, to: wan, action: drop}, ", "any is of rules: here each zone is named"),
        ("services: [ssh]}", "zones: guest}", "guest is a guest zone: strangers are there"),
        ("forwards:\n", 'forwards:\n  - {id: x, listen: "guest:80", to: nvr, only_from: any}\n', "lets guests .* into"),
        ("forwards:\n", 'forwards:\n  - {id: x, listen: "wan:22", to: nvr, only_from: any}\n', "takes what lets us in"),
        ("only_from: [198.51.100.24]", "only_from: '2001:db8::1'", "nvr and only_from are not of one family"),
        ("target: fw-sede", "target: fw-sed", r"fw-sed is not in inventory/targets\.yaml"),
        ("services: {machines", "services: {https", "is a well-known service"),
        ("objects: {nvr", "objects: {10.0.0.1: 10.0.0.2, nvr", "cannot name an object"),
        ("source: both", "source: 10.20.1.9-10.20.1.1", "from the lower to the higher address"),
        ("source: both", "source: 10.20.1.9-20", "is no address"),
        ("source: both", 'source: "fe80::1%lan0"', "leave out what is behind %"),
        ("services: [ssh]}", "services: []}", r"services is empty \(leave it out"),
        ("services: [ssh]}", "zones: []}", r"zones is empty \(leave it out"),
        ("policies: [", "policies: [{from: [], to: wan, action: drop}, ", "from is empty"),
        ("masquerade: [", "masquerade: [{from: dmz, to: []}, ", "to is empty"),
        ("masquerade: [", "masquerade: [{from: dmz, to: wan, source: []}, ", "source is empty"),
        ("masquerade: [", 'masquerade: [{from: dmz, to: wan, source: "fd00::/8"}, ', "is for IPv4 only"),
        ("dmz: dmz0", "dmz: [dmz0, dmz0]", "warning: dmz0 is in it twice"),
        *(('to: "nvr:443"', f'to: "{to}"', "is no host") for to in ("nvr:", "nvr:0", "nvr:+4", "nvr:٤", "[::1]443")),
    ],
)  # fmt: skip
def test_slips_are_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert SEDE.count(old) == 1
    found = complaints(brenta(tmp_path, SEDE.replace(old, new)))
    assert len(found) >= 1
    with pytest.raises(AssertionError, match=said):
        raise AssertionError("\n".join(found))
    assert all(line.startswith((FILE, "customers/brenta/firewall/")) for line in found)


RULE = "  - {{id: {id}, from: {a}, to: {b}, services: {s}, action: {action}{more}}}\n"


def test_a_device_belongs_to_one_customer(tmp_path: Path) -> None:
    """Two tables on one device would drop each other's packets."""
    more = {
        "inventory/targets.yaml": TARGETS,
        "customers/arno/customer.yaml": CUSTOMER.replace("Brenta", "Arno"),
        "customers/arno/firewall/main.yaml": SEDE,
    }
    root = brenta(tmp_path)
    for name, text in more.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.replace("asked_by: maria, ", ""))
    (found,) = [line for line in complaints(root) if "already" in line]
    assert found.startswith("customers/brenta/firewall/sede.yaml:1:")
    assert "fw-sede is the firewall of customers/arno/firewall/" in found


def test_names_are_resolved_by_the_device(tmp_path: Path) -> None:
    text = SEDE.replace("objects: {nvr", "objects: {vendor: [updates.vendor.example, 192.0.2.1], nvr")
    text = text.replace("source: both", "source: both, destination: vendor")
    root, id_, name = brenta(tmp_path, text), Id(firewall.RULE, "machines"), "updates.vendor.example."
    (first,) = declared(root)
    held = {r.id: r for r in first.resources}
    assert held[id_].fields["destination"] is UNKNOWN
    assert held[Id(firewall.NAME, name)].fields == {}
    assert first.follows == {id_}
    outputs = {first.scope: {name: frozenset({"192.0.2.0", "2001:db8::5"})}}
    (second,) = declarations(load(root, now=NOW), Selection(), outputs, NOW)
    found = {r.id: r for r in second.resources}
    assert found[id_].fields["destination"] == frozenset({"192.0.2.0/31", "2001:db8::5"})
    assert second.timed[id_] == "its names were resolved anew"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([("lan", "wan", "https", "accept", "")], f"warning: late never counts: browse ({FILE}:8) has said the same"),
        ([("lan", "wan", "https", "drop", "")], f"late never counts: browse ({FILE}:8) says the contrary before"),
        ([("lan", "wan", "[https, tcp/81]", "drop", "")], f"https is decided already: browse ({FILE}:8) says the"),
        ([("lan", "wan", "[https, tcp/81]", "accept", "")], ""),
        ([("lan", "wan", "tcp/1-1000", "drop", "")], ""),  # all the rest
        ([("any", "self", "ssh", "drop", ", source: 198.51.100.7")], f"management ({FILE}:6) says the contrary before"),
        ([("any", "self", "ssh", "drop", "")], ""),
        ([("dmz", "wan", "https", "accept", ", destination: 192.0.2.0/25"),
          ("dmz", "wan", "https", "accept", ", destination: 192.0.2.128/25"),
          ("dmz", "wan", "https", "drop", ", destination: 192.0.2.0/24")],
         f"late2 never counts: late ({FILE}:12), late1 ({FILE}:13) say the contrary before"),
        ([("dmz", "wan", "https", "accept", ", destination: 192.0.2.0/25"),
          ("dmz", "wan", "https", "drop", ", destination: 192.0.2.128/25"),
          ("dmz", "wan", "https", "drop", ", destination: 192.0.2.0/24")],
         f"warning: late2 never counts: late ({FILE}:12), late1 ({FILE}:13) have decided about all of it before"),
        ([("dmz", "wan", "https", "accept", ", destination: 192.0.2.0/25"),
          ("dmz", "wan", "https", "accept", ", destination: 192.0.2.192/26"),
          ("dmz", "wan", "https", "drop", ", destination: 192.0.2.0/24")], ""),
        ([("dmz", "wan", "https", "accept", ""), ("dmz", "wan", "ssh", "accept", ""),
          ("dmz", "wan", "[https, ssh]", "accept", ", source: 10.9.0.1")], "late2 never counts: late"),
        ([("dmz", "wan", "https", "accept", ""), ("lan", "wan", "ssh", "accept", ""),
          ("[dmz, lan]", "wan", "[https, ssh]", "accept", "")], ""),
        ([("guest", "self", "ssh", "accept", "")], "opens the device's administration to guests (late: guest)"),
        ([("guest", "self", "[dns, https]", "accept", "")], ""),
        ([("lan", "wan", "8443", "accept", "")], "there is no service 8443 (write tcp/8443 or udp/8443)"),
        ([("lan", "wan", "tcp", "accept", "")], "there is no service tcp (write tcp/443, or tcp/1-65535 for all"),
        ([("lan", "wan", "ftp", "accept", ", source: 10.0.0.1, destination: '2001:db8::1'")], "are not of one family"),
        ([("lan", "wan", "icmpv6", "accept", ", source: 10.0.0.1")], "there is no service icmpv6"),
        ([("lan", "wan", "icmpv6/echo-request", "accept", ", source: 10.0.0.1")], "late are not of one family"),
        ([("guest", "wan", "https", "drop", "")], ""),  # ospiti counts at some hours only
        ([("wan", "dmz", "any", "accept", "")], "lets everybody outside reach everything"),
        ([("wan", "dmz", "any", "accept", ", source: 192.0.2.1")], ""),
        ([("any", "self", "https", "accept", "")], "opens the device's administration to the world"),
        ([("any", "self", "dns", "accept", "")], ""),
        ([("any", "[self, lan]", "any", "accept", ", source: 0.0.0.0/0")], "lets everybody outside reach everything"),
        ([("wan", "lan", "any", "accept", ", source: 0.0.0.0/0, destination: 0.0.0.0/0")], "outside reach everything"),
        ([("wan", "lan", "any", "accept", ", destination: [0.0.0.0/1, 128.0.0.0/1]")], "outside reach everything"),
        ([("wan", "lan", "any", "accept", ", destination: 10.0.0.0/8")], "outside reach everything"),
        ([("wan", "lan", "any", "accept", ", destination: 10.20.0.0/22")], ""),
        ([("wan", "lan", "[tcp/1-30000, tcp/30001-65535]", "accept", "")], "outside reach everything"),
        ([("wan", "lan", "udp/1024-65535", "accept", "")], "outside reach everything"),
        ([("wan", "lan", "udp/10000-20000", "accept", "")], ""),
        ([("wan", "self", "ssh", "accept", ", source: halves")], "administration to the world"),
        ([("wan", "self", "ssh", "accept", ", source: [0.0.0.0/0, '::/0']")], "administration to the world"),
        ([("wan", "self", "ssh", "accept", ", source: [0.0.0.0/1, 128.0.0.0-255.0.0.0]")], "administration to"),
        ([("any", "self", "ssh", "accept", ", source: [10.0.0.0/8, 192.168.0.0/16]")], ""),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_meant(tmp_path: Path, rules: list[tuple[str, ...]], said: str) -> None:
    lines = "".join(
        RULE.format(id=f"late{n or ''}", a=a, b=b, s=s, action=act, more=more)
        for n, (a, b, s, act, more) in enumerate(rules)
    )
    text = SEDE.replace("forwards:\n", f"{lines}forwards:\n")
    if "halves" in lines:
        text = text.replace("objects: {", "objects: {halves: [one, 128.0.0.0/1], one: 0.0.0.0/1, ")
    found = complaints(brenta(tmp_path, text))
    assert [line for line in found if said and said in line] or (not said and found == [])


def test_what_nobody_uses_is_told(tmp_path: Path) -> None:
    root = brenta(tmp_path, SEDE.replace("objects: {nvr", "objects: {old: 10.1.1.1, nvr"))
    assert complaints(root) == [f"{FILE}:3:11: objects.old: warning: is used nowhere"]


ALL_BUT = "[0.0.0.0-192.0.2.8, 192.0.2.10-255.255.255.255]"


@pytest.mark.parametrize(
    ("before", "after", "widens"),
    [
        ("", "services: https, action: accept", True),
        ("", "source: 192.0.2.1, services: https, action: accept", False),
        ("", "services: https, action: drop", False),
        ("services: [http, https], action: accept", "services: https, action: accept", False),
        ("services: https, action: accept", "services: [http, https], action: accept", True),
        ("source: 192.0.2.1, services: https, action: accept", "services: https, action: accept", True),
        ("", f"source: {ALL_BUT}, services: https, action: accept", True),
        ("services: https, action: accept", f"source: {ALL_BUT}, services: https, action: accept", False),
    ],
)
def test_what_opens_to_everybody(tmp_path: Path, before: str, after: str, widens: bool) -> None:
    def rule(text: str, folder: str) -> Resource:
        root = brenta(
            tmp_path / folder, SEDE.replace("forwards:\n", f"  - {{id: x, from: wan, to: dmz, {text}}}\nforwards:\n")
        )
        return resources(root)[Id(firewall.RULE, "x")]

    old = rule(before, "before") if before else None
    held = [fields(firewall.ZONE, "lan", outside=False), fields(firewall.ZONE, "wan", outside=True)]
    assert bool(opening.widens(old, rule(after, "after"), held, held)) is widens
    inside = rule(after.replace("wan", "lan"), "inside")
    assert opening.widens(old, replace(inside, fields={**inside.fields, "from": frozenset({"lan"})}), held, held) == ""


def fields(kind: str, name: str, **said: bool) -> Resource:
    return Resource(Id(kind, name), {"interfaces": frozenset({"eth0"}), **said})


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        ('from: here, to: "1.2.3.4; id", service: http, expect: open', "is no address"),
        ('from: here, to: "$(id).example", service: http, expect: open', "is no name of a host"),
        ("from: here, to: 10.20.0.0/24, service: http, expect: open", "to: 10.20.0.0/24 is not one host"),
        ("from: here, to: shop.example, service: http, expect: open", "say family: ipv4 or ipv6"),
        ("from: here, to: nvr, service: http, family: ipv6, expect: open", "nvr is no address of ipv6"),
        ("from: here, to: nvr, service: dns, expect: open", "dns is tcp/53, udp/53 (write tcp/443)"),
        ("from: here, to: nvr, service: tcp/1-9, expect: open", "a packet goes to one port of tcp or udp"),
        ("from: here, to: nvr, service: icmpv6/echo-request, expect: open", "is none of IPv4 (write ping)"),
        ("from: here, to: nvr, service: udp/9, expect: open", "nobody knows what udp/9 answers to"),
        ("from: here, to: nvr, service: tcp/9, send: x, expect: open", "send is for udp"),
        ("from: here, to: nvr, service: http, expect: shut", "'shut' is not one of 'open', 'closed', 'refused'"),
        ("from: srv-1, to: nvr, service: http, expect: open", "srv-1 is no host of hosts.yaml"),
        ("from: nas, to: nvr, service: http, expect: open", "nas has no address or no target in hosts.yaml"),
        ("from: srv-1.other, to: nvr, service: http, expect: open", "srv-1.other is no host of hosts.yaml"),
        ("from: $(id), to: nvr, service: http, expect: open", "is no probe (write here, a host"),
        ("from: here, to: nvr, service: http, expect: closed", "is expected open, so nothing shows that it works"),
    ],
)
def test_packets_that_prove_nothing_are_told(tmp_path: Path, packet: str, problem: str) -> None:
    root = brenta(tmp_path, f"{SEDE}proofs:\n  - {{id: a, {packet}}}\n", **{"hosts.yaml": "hosts: {nas: {}}\n"})
    (said,) = [each for each in complaints(root) if "[proofs" in each or "proofs." in each]
    assert said.startswith(f"{FILE}:17:3: proofs.packets[0]")
    assert problem in said


def test_a_host_of_another_customer_sends_packets_if_it_is_there_for_that(tmp_path: Path) -> None:
    sede = f"{SEDE}proofs: [{{id: a, from: eye.other, to: nvr, service: https, expect: open}}]\n"
    host = "hosts: {eye: {target: servers, address: 192.0.2.9, ROLE}}\n"
    targets = f"{TARGETS}  servers: {{facets: {{hosts: hosts}}}}\n"
    for role, right in (("role: probe", True), ("role: files", False)):
        root = brenta(tmp_path / role[6:], sede)
        (root / "inventory/targets.yaml").write_text(targets)
        (root / "customers/other").mkdir()
        (root / "customers/other/customer.yaml").write_text("name: Other\n")
        (root / "customers/other/hosts.yaml").write_text(host.replace("ROLE", role))
        told = [each for each in complaints(root) if "another customer's" in each]
        assert bool(told) is not right


def test_a_plan_names_the_packets_that_prove_what_it_opens(tmp_path: Path) -> None:
    packets = "{id: in, from: here, to: 203.0.113.1, service: tcp/8443, expect: open}"
    packets += ", {id: not-ours, from: here, to: nvr, service: tcp/8443, expect: closed}"
    (one,) = declared(brenta(tmp_path, f"{SEDE}proofs: [{packets}]\n"))
    assert "; proofs in (open), not-ours (closed)" in one.words[Id(firewall.FORWARD, "nvr")]
    assert "proof" not in one.words[Id(firewall.RULE, "browse")]
