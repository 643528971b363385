"""antivirus.yaml: what it takes, what it comes to on each host, and what it says of everything else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from mspctl.desired import Declaration, Selection, declarations
from mspctl.errors import InputError
from mspctl.kinds import antivirus as kind
from mspctl.moments import Ending
from mspctl.proof import Proving
from mspctl.resource import Id
from tests.model.test_hosts import KEY, NOW, loaded

HOSTS = f"""defaults: {{target: servers, os: debian-12, host_key: {KEY}}}
hosts:
  srv-1: {{address: 10.20.1.10, role: files}}
  srv-2: {{address: 10.20.1.11}}
"""
TEXT = """policy:
  product: clamav
  on_access: [/srv, /home/]
  exclude: {/opt/x: {why: ticket 1, until: 2027-03-15}}
  updates: {mirror: "http://av.msp.example/", own: msp.ndb, every: 6h}
roles:
  files: {action: report, limits: {file: 2 GiB}, exclude: {/srv/db: {why: ticket 2, until: 2027-12-31}}}
hosts:
  srv-2: {on_access: [], prevent: false}
scans:
  weekly: {paths: /srv, schedule: "sun 03:00"}
  files: {paths: [/srv, /home], schedule: "02:30", role: files}
"""


def declared(tmp_path: Path, text: str = TEXT, now: datetime = NOW) -> dict[str, Declaration]:
    """By host."""
    estate = loaded(tmp_path, HOSTS, "", **{"customers/acme/antivirus.yaml": text})
    found = declarations(estate, Selection(sections=["antivirus"]), {}, now)
    return {declaration.scope.name.split("/")[1]: declaration for declaration in found}


def test_each_key_counts_where_it_is_said_last(tmp_path: Path) -> None:
    found = declared(tmp_path)
    fields: dict[str, dict[str, Mapping[str, Any]]]
    fields = {host: {r.id.name: r.fields for r in d.resources} for host, d in found.items()}
    assert {host: [*each] for host, each in fields.items()} == {
        "srv-1": ["clamav", "weekly", "files"],
        "srv-2": ["clamav", "weekly"],
    }
    one, two = fields["srv-1"]["clamav"], fields["srv-2"]["clamav"]
    assert (one["on_access"], one["prevent"], one["action"]) == ({"/srv", "/home"}, True, "report")
    assert (two["on_access"], two["prevent"], two["action"]) == (frozenset(), False, "quarantine")
    assert (one["exclude"], two["exclude"]) == ({"/opt/x", "/srv/db"}, {"/opt/x"})
    assert (one["max_file"], one["max_scan"], one["every"]) == (2048, 400, 21600)
    assert (one["mirror"], one["own"], one["official"]) == ("http://av.msp.example", {"msp.ndb"}, True)
    assert [r.source for r in found["srv-1"].resources] == [f"customers/acme/antivirus.yaml:{n}" for n in (2, 11, 12)]


def test_an_exclusion_ends_with_its_day(tmp_path: Path) -> None:
    last, first = (datetime(2027, 3, day, 12, tzinfo=ZoneInfo("Europe/Rome")) for day in (15, 16))
    before, after = (declared(tmp_path / f"{n}", now=now)["srv-1"] for n, now in enumerate((last, first)))
    over = first.replace(hour=0)
    assert (before.timed, before.ends) == ({}, {kind.CLAMAV: Ending(over, "/opt/x left out until 2027-03-15")})
    assert after.timed == {kind.CLAMAV: "/opt/x expired 2027-03-15"}
    assert after.ends[kind.CLAMAV].says == "/srv/db left out until 2027-12-31"
    assert after.resources[0].fields["exclude"] == frozenset({"/srv/db"})
    together = declared(tmp_path / "2", TEXT.replace("2027-12-31", "2027-03-15"), now=last)["srv-1"]
    assert together.ends[kind.CLAMAV].says == "/opt/x left out until 2027-03-15, /srv/db left out until 2027-03-15"


PRODUCTS = (
    "products: {eset: {packages: efs, services: efs.service, seats: 2, end: 2027-03-31, cost: 480, currency: EUR}}"
)


def test_what_clamav_costs_may_be_said_too(tmp_path: Path) -> None:
    files = {"customers/acme/antivirus.yaml": TEXT, "inventory/antivirus.yaml": "products: {clamav: {note: ours}}\n"}
    assert loaded(tmp_path, HOSTS, "", **files).inventory.products["clamav"].note == "ours"


def test_another_product_is_one_line(tmp_path: Path) -> None:
    text = TEXT.replace("product: clamav", "product: eset") + "proof: {every: 7d}\n"
    files = {"customers/acme/antivirus.yaml": text, "inventory/antivirus.yaml": PRODUCTS}
    found = declarations(loaded(tmp_path, HOSTS, "", **files), Selection(sections=["antivirus"]), {}, NOW)
    for declaration in found:
        assert [r.id for r in declaration.resources] == [Id(kind.AGENT, "eset")]
        assert declaration.resources[0].fields["services"] == frozenset({"efs.service"})
        assert declaration.proving == Proving("antivirus", "eset", 7 * 86400, frozenset(ALL))


ALL = {kind.ENGINE, kind.AGENT, kind.SCAN}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{x: {seats: 5, end: soon}}", "'soon' is not a date"),
        ("{x: {cost: 5}}", "has a cost and a currency, or neither"),
        ("{x: {cost: 5, currency: euro}}", "'euro' is not a currency (write EUR)"),
        ("{x: {cost: 5 EUR, currency: EUR}}", "'5 EUR' is not an amount"),
        ("{x: {packages: 'efs; reboot'}}", "is not the name of a package"),
        ("{x: {services: efs}}", "'efs' is not the name of a service (write efs.service)"),
    ],
)
def test_products_that_make_no_sense(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, HOSTS, "", **{"inventory/antivirus.yaml": f"products: {text}"})
    assert said in str(caught.value)
    assert "inventory/antivirus.yaml:1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policy: {product: norton}", "norton is not in inventory/antivirus.yaml"),
        ("policy: {product: clamav, exclude: {/srv: {why: x}}}", "policy.exclude./srv.until"),
        ("policy: {product: clamav, exclude: {/: {why: x, until: 2027-12-31}}}", "leaves everything out"),
        ("policy: {exclude: {srv: {why: x, until: 2027-12-31}}}", "'srv' is not a path that can be named"),
        ("policy: {exclude: {'/srv/a b': {why: x, until: 2027-12-31}}}", "absolute, without blanks"),
        ("policy: {on_access: '/srv\\nUser root'}", "is not a path that can be named"),
        ("policy: {on_access: /srv/../etc}", "is not a path that can be named"),
        ("policy: {on_access: /}", "cannot be looked at on access: name folders"),
        ("policy: {action: delete}", "policy.action"),
        ("policy: {updates: {own: msp.ndb}}", "has signatures of its own, and no mirror"),
        ("policy: {updates: {official: false}}", "brings no signatures"),
        ("policy: {updates: {every: 5m}}", "is from 30m to 30d"),
        ("policy: {updates: {mirror: 'https://ops:secret@av.msp.example'}}", "is no address (write https://"),
        ("policy: {updates: {mirror: 'https://x', own: ../../etc/passwd}}", "is no file of signatures"),
        ("policy: {limits: {file: much}}", "'much' is not a size"),
        ("hosts: {srv-9: {prevent: false}}", "there is no host srv-9 in hosts.yaml"),
        ("scans: {x: {paths: /srv, schedule: soon}}", "'soon' is not a time of the day"),
        ("scans: {x: {paths: [], schedule: '02:30'}}", "has no paths"),
        (
            "scans: {x: {paths: /srv, schedule: '02:30', host: srv-1, role: files}}",
            "not both",
        ),
        ("scans: {x: {paths: /srv, schedule: '02:30', host: srv-9}}", "there is no host srv-9 in hosts.yaml"),
    ],
)
def test_bad_input_has_its_place_and_what_would_be_right(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        declared(tmp_path, text)
    assert said in str(caught.value)
    assert "customers/acme/antivirus.yaml:1" in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_a_system_that_nobody_tried(tmp_path: Path) -> None:
    hosts = HOSTS.replace("debian-12", "windows-2022")
    with pytest.raises(InputError, match="windows-2022 is not guarded so far, only Debian is"):
        loaded(tmp_path, hosts, "", **{"customers/acme/antivirus.yaml": TEXT})


CONSOLE = "targets:\n  console: {secrets: {api_key: K}, facets: {antivirus: gravityzone}}\n"
ASSIGNED = """policy: {product: gz, assign: {target: console, policy: Servers}}
hosts: {pc-1: {assign: {target: console, policy: PCs}}}
"""


def test_a_vendors_policy_is_assigned_to_hosts_that_nothing_else_drives(tmp_path: Path) -> None:
    files = {
        "inventory/antivirus.yaml": "products: {gz: {console: console, end: 2027-12-31}}\n",
        "inventory/targets.yaml": CONSOLE,
        "customers/acme/antivirus.yaml": ASSIGNED,
    }
    estate = loaded(tmp_path, "hosts: {srv-1: {os: windows-2022}, pc-1: {os: windows-11}}\n", "", **files)
    (made,) = declarations(estate, Selection(sections=["antivirus"]), {}, NOW)
    assert (made.scope.target, made.scope.facet, made.scope.name) == ("console", "antivirus", "acme")
    assert {r.id.name: r.fields for r in made.resources} == {"srv-1": {"policy": "Servers"}, "pc-1": {"policy": "PCs"}}
    assert [r.source for r in made.resources] == [f"customers/acme/antivirus.yaml:{n}" for n in (1, 2)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "policy: {product: gz}",
            "so nobody can install it (leave target out)",
        ),
        ("policy: {product: clamav, assign: {target: nobody, policy: x}}", "target nobody is not in inventory"),
        ("policy: {product: clamav, assign: {target: servers, policy: x}}", "target servers has no facet antivirus"),
        ("policy: {product: clamav, assign: {target: servers}}", "policy.assign.policy"),
    ],
)
def test_a_console_that_is_not_there(tmp_path: Path, text: str, said: str) -> None:
    files = {"inventory/antivirus.yaml": "products: {gz: {}}\n", "customers/acme/antivirus.yaml": text}
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, HOSTS, "", **files)
    assert said in str(caught.value)
