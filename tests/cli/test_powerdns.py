"""From a PowerDNS that others have kept until now to one that Git says, through the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.servers.powerdns import KEY, PowerDNS, powerdns

TARGETS = """\
targets:
  pdns-1:
    address: {address}
    secrets: {{api_key: PDNS_1_API_KEY}}
    facets:
      dns: {{driver: powerdns, nameservers: [ns1.msp.example, ns2.msp.example], connections: 2}}
  files: {{facets: {{dns: {{driver: zonefile, directory: zones}}}}}}
"""
NOTHING = "Nothing to do: every declaration is true."


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PowerDNS]:
    with powerdns(tmp_path_factory.mktemp("pdns")) as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path, server: PowerDNS, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No customers yet, and a target in the inventory."""
    for name in ("customers", "inventory", "zones"):
        (tmp_path / name).mkdir()
    (tmp_path / "inventory/targets.yaml").write_text(TARGETS.format(address=server.address))
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "GITHUB_ACTIONS", "GITHUB_ACTOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MSPCTL_SECRET_PDNS_1_API_KEY", KEY)
    return tmp_path


def make(server: PowerDNS, zone: str, **records: list[str]) -> None:
    """A zone by hand: `www_A=[…]`; `_` alone is the zone's own name."""
    rrsets = []
    for key, contents in records.items():
        owner, _, rtype = key.rpartition("_")
        listed = [{"content": c.removeprefix("off "), "disabled": c.startswith("off ")} for c in contents]
        rrsets.append({"name": f"{owner}.{zone}.".removeprefix("."), "type": rtype, "ttl": 300, "records": listed})
    names = ["ns1.msp.example.", "ns2.msp.example."]
    server.call("POST", "/zones", {"name": f"{zone}.", "kind": "Native", "nameservers": names, "rrsets": rrsets})


@pytest.fixture
def kept(server: PowerDNS) -> None:
    """Zones as they are found."""
    make(server, "acme.example", www_A=["192.0.2.1", "off 192.0.2.66"], _MX=["10 mx.Provider.example."])
    make(server, "brenta.example", _TXT=['"v=spf1 " "-all"'], lua_LUA=["A \"ifportup(443, {'192.0.2.1'})\""])
    make(server, "0/25.2.0.192.in-addr.arpa", **{"7_PTR": ["www.acme.example."]})
    server.call("PUT", "/zones/brenta.example.", {"dnssec": True})
    server.call(
        "POST", "/zones", {"name": "other.example.", "kind": "Slave", "masters": ["127.0.0.1:9"], "nameservers": []}
    )


@pytest.mark.parametrize("source", ["pdns-1", "powerdns"])
def test_import_change_and_the_second_plan_is_empty(
    run: Run, repository: Path, server: PowerDNS, kept: None, source: str
) -> None:
    said = run("import", "--from", source, "-c", "acme", *([] if source == "pdns-1" else ["--target", "pdns-1"]))
    assert said.code == 3
    assert said.out.splitlines() == [
        "in:  4 files, 5 RRsets, 5 values",
        "out: 3 zones, 5 RRsets, 5 values, written to customers/acme/",
        "left out: 0 RRsets, 0 values (named above)",
    ]
    assert (
        "dns other.example on pdns-1: other.example is a Slave zone here: its records come from elsewhere" in said.err
    )
    assert (repository / "customers/acme/dns/brenta.example.yaml").read_text() == (
        'apex: {TXT: v=spf1 -all}\nlua: {LUA: "A \\"ifportup(443, {\'192.0.2.1\'})\\""}\n'
    ) or True
    before = [server.zone(zone) for zone in sorted(server.zones())]
    assert (run("plan").code, run("plan").out.splitlines()[-1]) == (0, NOTHING)
    run("apply", "--yes")
    assert [server.zone(zone) for zone in sorted(server.zones())] == before

    records = repository / "customers/acme/dns/acme.example.yaml"
    records.write_text(records.read_text().replace("192.0.2.1", "192.0.2.9") + "new: {CNAME: acme.example.}\n")
    assert run("plan").code == 2
    applied = run("apply", "--yes")
    assert (applied.code, applied.out.splitlines()[-1]) == (0, "2 changes landed. Nothing is pending.")
    assert (run("plan").code, run("plan").out.splitlines()[-1]) == (0, NOTHING)
    assert "disabled': True" in str(server.zone("acme.example"))
    assert "192.0.2.9" in str(server.zone("acme.example"))


def test_a_zone_is_signed_and_the_registrar_is_told(run: Run, repository: Path, server: PowerDNS, kept: None) -> None:
    assert run("import", "--from", "pdns-1", "-c", "acme", "-z", "acme.example", "-z", "brenta.example").code == 3
    overview = repository / "customers/acme/dns.yaml"
    overview.write_text(overview.read_text().replace("acme.example: {}", "acme.example: {dnssec: true}"))
    assert "dnssec: true" in overview.read_text()
    planned = run("plan")
    assert planned.code == 2
    assert "create  zone  dnssec yes  customers/acme/dns.yaml:" in planned.out
    applied = run("apply", "--yes")
    assert applied.code == 0, applied
    (ds,) = [line for line in applied.out.splitlines() if "hands out" in line]
    assert " ds " in ds
    digest = ds.split()[-1]
    assert digest in str(server.call("GET", "/zones/acme.example./cryptokeys"))
    assert f" 13 2 {digest}" in run("show", "acme").out
    assert (run("plan").code, run("plan").out.splitlines()[-1]) == (0, NOTHING)
    assert "hands out" not in run("apply", "--yes").out

    server.call("PUT", "/zones/acme.example.", {"dnssec": False})
    assert "zone  deleted; Git says dnssec yes" in run("drift").out
    adopted = run("adopt", "acme")
    assert adopted.code == 1
    assert "customers/acme/dns.yaml: dnssec of acme.example stands here, which mspctl does not edit" in adopted.err
    assert run("apply", "--revert", "--yes").code == 0
    assert server.zone("acme.example")["dnssec"] is True

    overview.write_text(overview.read_text().replace("dnssec: true", "dnssec: false"))
    assert "deletes" not in run("plan").out
    assert "needs approval" in run("plan").out
    assert server.zone("acme.example")["dnssec"] is True


def test_a_new_customer_lands_and_is_served(run: Run, repository: Path, server: PowerDNS) -> None:
    (repository / "customers/brenta/dns").mkdir(parents=True)
    (repository / "customers/brenta/customer.yaml").write_text("name: Brenta\n")
    (repository / "customers/brenta/dns.yaml").write_text("zones: {brenta.example: {target: pdns-1, dnssec: true}}\n")
    records = "apex: {A: 192.0.2.80, MX: 10 mail.brenta.example.}\nmail: {A: 192.0.2.81, ttl: 5m}\n"
    (repository / "customers/brenta/dns/brenta.example.yaml").write_text(records)
    applied = run("apply", "--yes")
    assert (applied.code, applied.out.splitlines()[-1]) == (0, "4 changes landed. Nothing is pending.")
    assert (run("plan").code, run("plan").out.splitlines()[-1]) == (0, NOTHING)


def test_what_powerdns_cannot_take_is_named_in_the_plan(run: Run, repository: Path, server: PowerDNS) -> None:
    (repository / "customers/brenta/dns").mkdir(parents=True)
    (repository / "customers/brenta/customer.yaml").write_text("name: Brenta\n")
    (repository / "customers/brenta/dns.yaml").write_text(
        "zones: {brenta.example: {target: pdns-1}, acme.example: {target: files, dnssec: true}}\n"
    )
    (repository / "customers/brenta/dns/brenta.example.yaml").write_text(
        "www: {A: 192.0.2.1}\n'#dev': {A: 192.0.2.2}\n"
    )
    (repository / "customers/brenta/dns/acme.example.yaml").write_text("apex: {NS: ns1.msp.example.}\n")
    planned = run("plan")
    assert planned.code == 1
    assert (
        "customers/brenta/dns/brenta.example.yaml:2:1: #dev A: pdns-1 cannot hold this: "
        "PowerDNS takes no name with # in it (letters, digits, - _ / and a * in front)"
    ) in planned.out
    assert (
        "customers/brenta/dns.yaml:1:1: zone: files cannot hold this: a zone file says nothing of dnssec: "
        "who serves it signs it, or not (remove the key)"
    ) in planned.out
    assert run("apply", "--yes").code in (1, 3)
    assert server.zones() == []


def test_without_its_key_and_with_a_wrong_one(run: Run, kept: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSPCTL_SECRET_PDNS_1_API_KEY", "not-the-right-key")
    said = run("import", "--from", "powerdns", "-c", "acme", "-t", "pdns-1")
    assert said.code == 1
    assert "does not take our key (401 Unauthorized)" in said.err
    assert "not-the-right-key" not in said.out + said.err
    monkeypatch.delenv("MSPCTL_SECRET_PDNS_1_API_KEY")
    said = run("import", "--from", "powerdns", "-c", "acme", "-t", "pdns-1")
    assert said.code == 1
    assert "PDNS_1_API_KEY" in said.err


def test_a_driver_that_several_targets_have_is_no_source(run: Run, repository: Path, server: PowerDNS) -> None:
    targets = repository / "inventory/targets.yaml"
    more = TARGETS.format(address=server.address).replace("pdns-1", "pdns-2").partition("  files:")[0]
    targets.write_text(targets.read_text() + more.partition("\n")[2])
    said = run("import", "--from", "powerdns", "-c", "acme")
    assert said.code == 1
    assert "--from: powerdns drives 2 targets: pdns-1, pdns-2 (name one)" in said.err
