"""What hosts said of their antivirus, judged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mspctl import checks
from mspctl.checks import Facts
from mspctl.desired import declarations
from mspctl.finding import Finding
from mspctl.kinds.antivirus import CLAMAV
from mspctl.kinds.hosts import FACET, scope_name
from mspctl.plan import ScopePlan
from mspctl.record import Record, ScopeRecord
from mspctl.resource import Resource, Scope, Value
from tests.checks.facts import NOW
from tests.model.test_hosts import KEY, loaded

HOSTS = f"hosts:\n  srv-1: {{target: servers, os: debian-12, address: 10.20.1.10, host_key: {KEY}}}\n"
TEXT = """policy:
  product: clamav
  on_access: /srv
  signatures: 2d
  exclude: {/srv/db: {why: w, until: 2027-12-31}}
scans: {weekly: {paths: /, schedule: sun 03:00}}
"""
DAY, SECONDS = 86400, int(NOW.timestamp())
SCOPE = Scope("servers", FACET, scope_name("acme", "srv-1", "antivirus"), "acme")
FINE: Mapping[str, Value] = {
    "engine": True,
    "watch": True,
    "installed": "1.4.6+dfsg-0+deb12u1",
    "version": "1.4.6",
    "signatures": SECONDS - DAY,
    "failed": "",
    "outdated": False,
    "exclude": ("/srv/db",),
    "found": (),
}


def facts(
    tmp_path: Path,
    live: Mapping[str, Value],
    text: str = TEXT,
    error: str = "",
    recorded: str = "",
) -> Facts:
    """`recorded`: what an apply left out."""
    estate = loaded(tmp_path, HOSTS, "", **{"customers/acme/antivirus.yaml": text})
    left = Record((Resource(CLAMAV, {"exclude": frozenset({recorded})}),))
    history = {SCOPE: ScopeRecord(SCOPE, {CLAMAV: left})} if recorded else {}
    plan = ScopePlan(SCOPE, facts=live, error=error)
    (made,) = checks.facts_of(estate, declarations(estate, checks.EVERYTHING, {}, NOW), [plan], history, NOW)
    return made


def found(of: Facts) -> list[Finding]:
    return [*checks.check("antivirus").findings(of, {})]


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({}, []),
        ({"engine": False}, ["antivirus.stopped severe"]),
        ({"watch": False}, ["antivirus.on-access severe"]),
        ({"signatures": SECONDS - 2 * DAY}, []),
        ({"signatures": SECONDS - 2 * DAY - 1}, ["antivirus.signatures severe"]),
        ({"signatures": 0}, ["antivirus.unknown unknown"]),
        ({"version": ""}, ["antivirus.unknown unknown"]),
        ({"installed": ""}, ["antivirus.unknown unknown"]),
        ({"version": "1.4.3"}, ["antivirus.outdated warning"]),
        ({"installed": "1:1.4.6-2"}, []),
        ({"outdated": True}, ["antivirus.outdated warning"]),
        ({"exclude": ("/opt", "/srv/db")}, ["antivirus.exclusion severe"]),
        ({"exclude": ()}, []),
        ({"found": (f"{SECONDS - 8 * DAY} Win.Test /srv/x",)}, []),
        ({"found": (f"{SECONDS - DAY} Win.Test /srv/x",)}, ["antivirus.found warning"]),
        ({"found": ("0 ? ?",)}, []),
        ({"scan weekly error": "no such file", "scan weekly ended": SECONDS}, ["antivirus.scan warning"]),
        ({"scan weekly error": "", "scan weekly ended": SECONDS}, []),
    ],
)
def test_what_a_host_says(tmp_path: Path, live: dict[str, Value], said: list[str]) -> None:
    of = facts(tmp_path, {**FINE, **live})
    assert [f"{f.code} {f.severity}" for f in found(of)] == said
    assert all(f.path == "hosts/acme/srv-1/antivirus" and f.source for f in found(of))


@pytest.mark.parametrize(
    ("schedule", "days", "said"),
    [
        ("sun 03:00", 8, []),
        ("sun 03:00", 8.1, ["scan weekly of srv-1 is late: it was made last on 2027-03-07, and should be sun 03:00"]),
        ("03:00", 2, []),
        ("03:00", 2.1, ["scan weekly of srv-1 is late: it was made last on 2027-03-13, and should be 03:00"]),
        ("mon-fri 03:00", 4, []),
        ("mon-fri 03:00", 4.1, ["scan weekly of srv-1 is late: it was made last on 2027-03-11, and should be mon-fri"]),
        ("mon,thu 03:00", 5.1, ["scan weekly of srv-1 is late: it was made last on 2027-03-10, and should be mon,thu"]),
    ],
)
def test_scans_that_are_late(tmp_path: Path, schedule: str, days: float, said: list[str]) -> None:
    ran = {"scan weekly ended": SECONDS - int(days * DAY), "scan weekly since": SECONDS - 99 * DAY}
    of = facts(tmp_path, {**FINE, **ran}, TEXT.replace("sun 03:00", f'"{schedule}"'))
    assert [f.code for f in found(of)] == ["antivirus.scan"] * len(said)
    assert [f.what[: len(text)] for f, text in zip(found(of), said, strict=True)] == said
    assert all(f.source == "customers/acme/antivirus.yaml:6" for f in found(of))


@pytest.mark.parametrize(
    ("since", "said"),
    [
        (0, []),  # it is not on the host yet, which is a difference
        (SECONDS - 60, []),
        (SECONDS - 8 * DAY, []),
        (SECONDS - 8 * DAY - 60, ["scan weekly of srv-1 was never made, and should be sun 03:00"]),
    ],
)
def test_a_scan_that_is_new_has_its_first_turn_to_come(tmp_path: Path, since: int, said: list[str]) -> None:
    assert [f.what for f in found(facts(tmp_path, {**FINE, "scan weekly since": since}))] == said


def test_of_a_host_that_gave_no_answer_nothing_is_said(tmp_path: Path) -> None:
    assert found(facts(tmp_path, FINE, error="it gave no answer")) == []
    assert found(facts(tmp_path, {})) == []


def test_what_an_apply_left_out_was_not_left_out_by_hand(tmp_path: Path) -> None:
    assert found(facts(tmp_path, {**FINE, "exclude": ("/old",)}, recorded="/old")) == []


def test_words_for_people(tmp_path: Path) -> None:
    live = {**FINE, "signatures": SECONDS - 3 * DAY, "failed": "ERROR: Update failed."}
    live["found"] = (f"{SECONDS - DAY} Win.B /srv/b c", f"{SECONDS - 2 * DAY} Win.A /srv/a")
    of = facts(tmp_path, live, TEXT.replace("signatures: 2d", "action: report"))
    assert [f.what for f in found(of)] == [
        "signatures of srv-1 are older than 2d: 2027-03-12 06:00 UTC; the last update failed: ERROR: Update failed.",
        "2 things were found on srv-1 since 2027-03-08, the last is Win.B in /srv/b c",
    ]
    assert [f.severity for f in found(of)] == ["severe", "severe"]


def test_nobody_declared_on_access(tmp_path: Path) -> None:
    (one,) = found(
        facts(
            tmp_path,
            {**FINE, "watch": False},
            "policy: {product: clamav, exclude: {/srv/db: {why: w, until: 2027-12-31}}}\n",
        )
    )
    assert (one.code, one.severity) == ("antivirus.on-access", "info")


@pytest.mark.parametrize(
    ("product", "said"),
    [
        ("end: 2027-03-14", "antivirus.licence severe: the licence of eset has ended (2027-03-14)"),
        ("end: 2027-03-15", "antivirus.licence warning: the licence of eset ends today (2027-03-15)"),
        ("end: 2027-05-14", "antivirus.licence warning: the licence of eset ends in 60 days (2027-05-14)"),
        ("end: 2027-05-15", ""),
        ("seats: 1", ""),
        ("note: none", ""),
    ],
)
def test_what_was_bought(tmp_path: Path, product: str, said: str) -> None:
    catalogue = f"products:\n  eset: {{packages: efs, {product}}}\n  other: {{end: 2020-01-01}}\n"
    files = {"customers/acme/antivirus.yaml": "policy: {product: eset}\n", "inventory/antivirus.yaml": catalogue}
    estate = loaded(tmp_path, HOSTS, "", **files)
    (of,) = checks.facts_of(estate, declarations(estate, checks.EVERYTHING, {}, NOW), [], {}, NOW)
    assert [f"{f.code} {f.severity}: {f.what}" for f in found(of)] == [said] * bool(said)


def test_seats_are_counted_over_all_customers(tmp_path: Path) -> None:
    files = {
        "customers/acme/antivirus.yaml": "policy: {product: eset}\n",
        "customers/beta/customer.yaml": "name: Beta\n",
        "customers/beta/hosts.yaml": "hosts: {pc-1: {}, pc-2: {}}\n",
        "customers/beta/antivirus.yaml": "policy: {product: eset}\n",
        "inventory/antivirus.yaml": "products: {eset: {packages: efs, seats: 2}}\n",
    }
    estate = loaded(tmp_path, HOSTS, "", **files)
    one, two = checks.facts_of(estate, declarations(estate, checks.EVERYTHING, {}, NOW), [], {}, NOW)
    assert [f.what for f in (*found(one), *found(two))] == [
        "3 hosts have eset, 1 of them here, and 2 seats were bought",
        "3 hosts have eset, 2 of them here, and 2 seats were bought",
    ]


GUARDED: Mapping[str, Value] = {
    "endpoints": ("srv-1",),
    "srv-1 guarded": True,
    "srv-1 licensed": True,
    "srv-1 signatures outdated": False,
    "srv-1 agent outdated": False,
    "srv-1 infected": False,
    "licence end": "2028-12-31",
    "licence seats": 25,
}


@pytest.mark.parametrize(
    ("live", "said"),
    [
        ({}, []),
        ({"endpoints": ()}, ["antivirus.endpoint severe"]),
        ({"srv-1 guarded": False}, ["antivirus.endpoint severe"]),
        ({"srv-1 licensed": False}, ["antivirus.endpoint severe"]),
        ({"srv-1 signatures outdated": True}, ["antivirus.signatures severe"]),
        ({"srv-1 agent outdated": True}, ["antivirus.outdated warning"]),
        ({"srv-1 infected": True}, ["antivirus.found severe"]),
        ({"licence end": "2027-03-01"}, ["antivirus.licence severe"]),
        ({"licence end": ""}, ["antivirus.licence warning"]),
    ],
)
def test_what_a_console_says(tmp_path: Path, live: dict[str, Value], said: list[str]) -> None:
    """Its end of the licence wins over the one that was typed, which ends tomorrow."""
    files = {
        "customers/acme/antivirus.yaml": "policy: {product: gz, assign: {target: console, policy: Servers}}\n",
        "inventory/antivirus.yaml": "products: {gz: {console: console, end: 2027-03-16, seats: 1}}\n",
        "inventory/targets.yaml": "targets: {console: {secrets: {api_key: K}, facets: {antivirus: gravityzone}}}\n",
    }
    estate = loaded(tmp_path, "hosts: {srv-1: {os: windows-2022}}\n", "", **files)
    plan = ScopePlan(Scope("console", "antivirus", "acme", "acme"), facts={**GUARDED, **live})
    (of,) = checks.facts_of(estate, declarations(estate, checks.EVERYTHING, {}, NOW), [plan], {}, NOW)
    assert [f"{f.code} {f.severity}" for f in found(of)] == said
