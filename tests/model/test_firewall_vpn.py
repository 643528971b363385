"""What `vpn:` of a firewall may say, which rules follow from it, and who loses it by themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mspctl.errors import InputError
from mspctl.kinds import firewall, vpn
from mspctl.kinds.firewall import opening
from mspctl.load import load
from mspctl.model.secret_names import named
from mspctl.resource import Id, Resource
from tests.model.test_firewall import CUSTOMER, NOW, brenta, declared, resources

LUCA = "cZ68uBAygBAyjoIRpDqqwYQ992CHi0gf+wRXbf0irVo="
NORA = "Opyacp2WfnVnQEF38fwucorOTsCyA6UL2RadRAiF+QI="
DEPOSITO = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
SEDE = f"""\
target: fw-sede
zones: {{wan: {{interfaces: wan1, outside: true}}, lan: lan0}}
objects: {{nvr: 10.20.1.60}}
schedules: {{ufficio: "mon-fri 07:30-18:30"}}
management: {{from: [198.51.100.0/28]}}
vpn:
  addresses: [10.90.0.1/24, "fd00:90::1/64"]
  private_key: SEDE_WG
  users:
    - id: luca
      name: Luca Bianchi
      key: {LUCA}
      address: 10.90.0.10
      mail: luca@brenta.example
      asked_by: maria
      reach: [{{to: lan, destination: nvr, services: https}}, {{to: lan, services: rdp, schedule: ufficio}}]
    - {{id: nora, key: {NORA}, address: [10.90.0.11, "fd00:90::11"], until: 2027-03-31}}
  sites:
    - {{id: deposito, key: {DEPOSITO}, networks: 10.40.0.0/24, endpoint: "vpn.brenta.example:51820", keepalive: 25s}}
rules:
  - {{id: to-deposito, from: lan, to: vpn, destination: 10.40.0.0/24, services: any, action: accept}}
"""
MAIL = """\
domains:
  brenta.example:
    target: mail-1
    leavers: {luca: {left: "2027-03-10 18:00"}}
    mailboxes: {nora: {quota: 1 GiB}}
"""
AFTER = datetime(2027, 3, 10, 17, 1, tzinfo=UTC)


def test_the_tunnel_is_a_zone_and_rules_follow(tmp_path: Path) -> None:
    found = resources(brenta(tmp_path, SEDE.replace("      mail: luca@brenta.example\n", "")))
    assert found[Id(firewall.ZONE, "vpn")].fields["interfaces"] == frozenset({"wg0"})
    tunnel = found[Id(vpn.TUNNEL, "wg0")]
    assert tunnel.fields == {
        "port": 51820, "addresses": frozenset({"10.90.0.1/24", "fd00:90::1/64"}), "key": "SEDE_WG rev 1",
        "amiss": frozenset(),
    }  # fmt: skip
    assert tunnel.source.endswith("sede.yaml:6")
    luca, site = found[Id(vpn.USER, "luca")], found[Id(vpn.SITE, "deposito")]
    assert (luca.fields["key"], luca.fields["networks"]) == (LUCA, frozenset({"10.90.0.10"}))
    assert (site.fields["endpoint"], site.fields["keepalive"]) == ("vpn.brenta.example:51820", 25)
    port, nvr, rdp = (found[Id(firewall.RULE, name)].fields for name in ("vpn", "vpn-luca", "vpn-luca-2"))
    assert [port["from"], port["to"], port["services"]] == [*map(several, ("wan", "self", "udp/51820"))]
    assert [nvr["from"], nvr["source"], nvr["destination"]] == [*map(several, ("vpn", "10.90.0.10", "10.20.1.60"))]
    assert nvr["services"] == several("tcp/443")
    assert nvr["hours"] == frozenset()
    assert rdp["hours"]
    order = found[firewall.ORDER].fields["rules"]
    assert order == ("management", "vpn", "vpn-luca", "vpn-luca-2", "to-deposito")


def test_its_key_is_known_for_a_secret_of_the_customer(tmp_path: Path) -> None:
    text = SEDE.replace("      mail: luca@brenta.example\n", "").replace(
        ", keepalive", ", preshared: SEDE_PSK, keepalive"
    )
    (customer,) = load(brenta(tmp_path, text), now=NOW).customers.values()
    found = {(each.name, each.path, each.mark.line if each.mark else 0) for each in named(customer)}
    assert found == {("SEDE_WG", "vpn.private_key", 8), ("SEDE_PSK", "vpn.sites[0].preshared", 18)}


def test_who_leaves_their_mailbox_leaves_the_vpn(tmp_path: Path) -> None:
    root = brenta(tmp_path, SEDE, **{"mail.yaml": MAIL})
    inventory = root / "inventory/targets.yaml"
    inventory.write_text(
        f"{inventory.read_text()}  mail-1: {{facets: {{mailboxes: {{driver: zonefile, directory: zones}}}}}}\n"
    )
    assert Id(vpn.USER, "luca") in {r.id for r in of_firewall(root, NOW)}
    (gone,) = [d for d in declared(root, AFTER) if d.scope.facet == firewall.FACET]
    names = {(r.id.kind, r.id.name) for r in gone.resources}
    assert not {(vpn.USER, "luca"), (firewall.RULE, "vpn-luca"), (firewall.RULE, "vpn-luca-2")} & names
    assert (vpn.USER, "nora") in names
    assert gone.timed[Id(vpn.USER, "luca")] == gone.timed[Id(firewall.RULE, "vpn-luca")] == "follows from leavers"
    later = [d for d in declared(root, datetime(2027, 4, 1, tzinfo=UTC)) if d.scope.facet == firewall.FACET]
    assert later[0].timed[Id(vpn.USER, "nora")] == "expired 2027-03-31"
    assert gone.words[Id(vpn.USER, "nora")].startswith("VPN user at 10.90.0.11, fd00:90::11, key Opyacp2W…; closes")


def test_a_raw_rule_keeps_its_place_when_a_leaver_goes(tmp_path: Path) -> None:
    text = f"{SEDE}raw: [{{id: mark, chain: forward, text: ip dscp 4 drop, before: vpn-luca, why: test}}]\n"
    root = brenta(tmp_path, text, **{"mail.yaml": MAIL})
    inventory = root / "inventory/targets.yaml"
    inventory.write_text(
        f"{inventory.read_text()}  mail-1: {{facets: {{mailboxes: {{driver: zonefile, directory: zones}}}}}}\n"
    )
    was, will = ({r.id: r for r in of_firewall(root, now)} for now in (NOW, AFTER))
    before, after = was[firewall.ORDER], will[firewall.ORDER]
    assert before.fields["rules"] == ("management", "vpn", "mark", "vpn-luca", "vpn-luca-2", "to-deposito")
    assert after.fields["rules"] == ("management", "vpn", "mark", "to-deposito")
    assert opening.widens(before, after, [*was.values()], [*will.values()]) == ""


def several(text: str) -> frozenset[str]:
    return frozenset({text})


def of_firewall(root: Path, now: datetime) -> list[Resource]:
    return [r for d in declared(root, now) if d.scope.facet == firewall.FACET for r in d.resources]


def test_a_leaver_who_may_be_a_user_is_told(tmp_path: Path) -> None:
    root = brenta(tmp_path, SEDE.replace("      mail: luca@brenta.example\n", ""), **{"mail.yaml": MAIL})
    inventory = root / "inventory/targets.yaml"
    inventory.write_text(
        f"{inventory.read_text()}  mail-1: {{facets: {{mailboxes: {{driver: zonefile, directory: zones}}}}}}\n"
    )
    (said,) = [w for w in load(root, now=NOW).warnings if "luca may be" in w.text]
    assert "sede.yaml:10" in str(said)
    assert "customers/brenta/mail.yaml:4" in said.text
    assert said.text.endswith("write mail: luca@brenta.example")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("address: 10.90.0.10", "address: 10.91.0.10", r"10\.91\.0\.10 is not in the tunnel's network"),
        ("address: 10.90.0.10", "address: 10.90.0.11", r"overlaps with what luca \(customers.*sede\.yaml:10\) has"),
        ("address: 10.90.0.10", "address: [10.90.0.10, 10.90.0.12]", "is one address in the tunnel"),
        ("address: 10.90.0.10", "address: 10.90.0.1", r"overlaps with what the device itself .* has"),
        (NORA, LUCA, r"is the key of luca \(customers/brenta/firewall/sede\.yaml:10\) too"),
        (LUCA, "YmFkIGtleQ==", "is not a public key of WireGuard"),
        ("id: nora", "id: luca", "luca is the id of luca"),
        ("networks: 10.40.0.0/24", "networks: 0.0.0.0/0", r"0\.0\.0\.0/0 is everything .*everything: true"),
        ("networks: 10.40.0.0/24", "networks: [0.0.0.0/1, 128.0.0.0/1]", r"0\.0\.0\.0/1, 128\.0\.0\.0/1 is everything"),
        ("networks: 10.40.0.0/24", 'networks: ["::/1", "8000::/1", 10.40.0.0/24]', "8000::/1 is everything"),
        ("networks: 10.40.0.0/24", "networks: [128.0.0.0/2, 192.0.0.0/3]", "is nearly everything"),
        ("networks: 10.40.0.0/24", "networks: 10.90.0.0/16", r"write 10\.90\.0\.0/16|holds the tunnel's own network"),
        ("networks: 10.40.0.0/24", "networks: 10.20.1.0/24", r"10\.20\.1\.0/24 is of sede itself"),
        ("networks: 10.40.0.0/24", "networks: any", "'any' is no network"),
        ("outside: true", "outside: false", r"not known where people call \(write zones: wan\)"),
        ("[10.90.0.1/24,", "[10.90.0.1,", r"write 10\.90\.0\.1/24"),
        ("lan: lan0}", "lan: lan0, vpn: tun0}", "zone vpn is the VPN's own"),
        ("lan: lan0}", "lan: wg0}", "wg0 is in zone lan already"),
        ("endpoint: \"vpn.brenta.example:51820\"", "endpoint: vpn.brenta.example", "write vpn.example.com:51820"),
        ("asked_by: maria", "asked_by: mara", "mara is no contact"),
        ("services: https", "services: htps", "there is no service htps"),
        ("mail: luca@brenta.example", "mail: lucca@brenta.example", "lucca@brenta.example is no mailbox of brenta"),
        ("private_key: SEDE_WG", "private_key: sede", "private_key"),
        ("users:", "user:", "user"),
        ("id: to-deposito", "id: vpn-luca", "vpn-luca is the id of"),
    ],
)  # fmt: skip
def test_slips_are_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = SEDE if "mail" in said or "mailbox" in said else SEDE.replace("      mail: luca@brenta.example\n", "")
    assert old in text
    root = brenta(tmp_path, text.replace(old, new))
    customer = root / "customers/brenta/customer.yaml"
    customer.write_text(f"{CUSTOMER}sites: {{sede: 10.20.0.0/22}}\n")
    with pytest.raises(InputError, match=said) as caught:
        load(root, now=NOW)
    assert "YmFk" not in str(caught.value)


def test_everything_can_be_meant_and_a_user_that_is_over_is_told(tmp_path: Path) -> None:
    text = SEDE.replace("      mail: luca@brenta.example\n", "").replace("2027-03-31", "2027-03-01")
    text = text.replace("networks: 10.40.0.0/24", "networks: [0.0.0.0/0, 10.40.0.0/24], everything: true")
    said = [str(w) for w in load(brenta(tmp_path, text), now=NOW).warnings]
    assert any("vpn.users[1].until: warning: 2027-03-01 is over" in each for each in said), said


@pytest.mark.parametrize("everything", ["0.0.0.0/0", "[0.0.0.0/1, 128.0.0.0/1]"])
def test_only_one_site_has_everything(tmp_path: Path, everything: str) -> None:
    text = SEDE.replace("      mail: luca@brenta.example\n", "")
    text = text.replace("networks: 10.40.0.0/24", f"networks: {everything}, everything: true")
    other = f"    - {{id: second, key: {'d' * 42}A=, networks: 0.0.0.0/0, everything: true}}\n"
    text = text.replace("  sites:\n", f"  sites:\n{other}")
    with pytest.raises(InputError, match=r"0\.0\.0\.0/0 is what second \(customers.*sede\.yaml:\d+\) has already"):
        load(brenta(tmp_path, text), now=NOW)
