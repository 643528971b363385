"""Findings of firewalls: what is measured and judged, and that nothing unknown is called good."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mspctl import checks
from mspctl.checks import Facts
from mspctl.desired import Selection, declarations
from mspctl.diff import Difference
from mspctl.driver import Gauge, Measured, Unmeasured
from mspctl.drivers.nftables import native, use
from mspctl.drivers.nftables.live import Table
from mspctl.kinds import firewall, vpn
from mspctl.load import load
from mspctl.plan import ScopePlan
from mspctl.record import Record
from mspctl.resource import Cause, Id
from tests.model import test_firewall_vpn
from tests.model.test_firewall import NOW, brenta

ARCHIVE = "keys: {OFFICE: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kdp8lp9cqvcp0zd}\n"
LONG_AGO = NOW - timedelta(days=100)
WELL: dict[str, Measured] = {
    firewall.RELEASE: "debian 12",
    firewall.SUPPORT: NOW + timedelta(days=400),
    firewall.INSTALLED: "1.0.6-2",
    firewall.NEWEST: "1.0.6-2",
    firewall.SECURITY: 0,
    firewall.ASKED: NOW - timedelta(hours=3),
    firewall.REBOOT: 0,
    firewall.SAVED: 1,
    firewall.BOOTED: LONG_AGO,
    firewall.LOADED: LONG_AGO,
    firewall.PACKETS: 7,
}


def facts(tmp_path: Path, *, now: datetime = NOW, left: tuple[Difference, ...] = (), error: str = "") -> Facts:
    root = brenta(tmp_path)
    (root / "inventory/archive.yaml").write_text(ARCHIVE)
    found = load(root, now=now)
    (declared,) = declarations(found, Selection(), {}, now)
    plan = ScopePlan(declared.scope, left=left, error=error)
    (made,) = checks.facts_of(found, [declared], [plan], {}, now)
    return made


def said(of: Facts, measured: Mapping[str, Measured], besides: Mapping[Id, Measured] | None = None) -> list[str]:
    """`severity code path: what` of each finding."""
    module = checks.check("firewall")
    seen = {q: (besides or {}).get(q.id, measured[q.what]) for q in module.questions(of) if isinstance(q, Gauge)}
    return [f"{f.severity} {f.code} {f.path}: {f.what}" for f in module.findings(of, seen)]


def test_nothing_is_said_of_what_is_well(tmp_path: Path) -> None:
    assert said(facts(tmp_path), WELL) == []


@pytest.mark.parametrize(
    ("what", "value", "told"),
    [
        (firewall.SUPPORT, NOW - timedelta(days=1), "severe firewall.support firewall/sede: debian 12 got its last"),
        (firewall.SUPPORT, NOW + timedelta(days=90), "warning firewall.support firewall/sede: debian 12 gets no secur"),
        (firewall.SECURITY, 2, "warning firewall.updates firewall/sede: 2 security updates are pending"),
        (firewall.NEWEST, "1.0.9-1", "info firewall.updates firewall/sede: nftables 1.0.9-1 is the newest known, and"),
        (firewall.REBOOT, 1, "warning firewall.reboot firewall/sede: it waits for a reboot"),
        (firewall.SAVED, 0, "warning firewall.unsaved firewall/sede: its next start loads other rules"),
        (firewall.ASKED, LONG_AGO, "unknown firewall.unchecked firewall/sede: nobody knows which updates there are"),
    ],
)
def test_what_is_not_well(tmp_path: Path, what: str, value: Measured, told: str) -> None:
    (line,) = said(facts(tmp_path), {**WELL, what: value})
    assert line.startswith(told)


@pytest.mark.parametrize(
    "what",
    [
        firewall.SUPPORT, firewall.INSTALLED, firewall.NEWEST, firewall.SECURITY, firewall.ASKED, firewall.REBOOT,
        firewall.SAVED,
    ],
)  # fmt: skip
def test_what_nobody_knows_is_not_current(tmp_path: Path, what: str) -> None:
    (line,) = said(facts(tmp_path), {**WELL, what: Unmeasured("it was asleep")})
    assert line.startswith("unknown firewall.unchecked firewall/sede: nobody knows ")
    assert line.endswith("(it was asleep)")


def test_of_a_device_that_did_not_answer_nothing_is_made_up(tmp_path: Path) -> None:
    assert said(facts(tmp_path, error="no answer"), dict.fromkeys(WELL, Unmeasured("no answer"))) == []


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (NOW - timedelta(hours=47), []),
        (
            NOW - timedelta(hours=49),
            ["warning firewall.archive firewall/sede: its configuration was archived last on 2027-03-03"],
        ),
        (None, ["warning firewall.archive firewall/sede: its configuration was never archived"]),
        (
            Unmeasured("no answer"),
            ["unknown firewall.archive firewall/sede: nobody knows when its configuration was archived: no answer"],
        ),
    ],
)
def test_when_its_configuration_was_archived(tmp_path: Path, last: Measured, told: list[str]) -> None:
    of = facts(tmp_path, error="no answer")  # of a device that is away, that says most
    (question,) = [q for q in checks.check("firewall").questions(of) if isinstance(q, firewall.ArchiveQuestion)]
    found = checks.check("firewall").findings(of, {question: last})
    assert [f"{f.severity} {f.code} {f.path}: {f.what}" for f in found] == told


def test_that_nobody_archives_it_is_told(tmp_path: Path) -> None:
    of = facts(tmp_path)
    bare = replace(of, inventory=replace(of.inventory, archive=None))
    assert said(bare, WELL) == ["info firewall.archive firewall/sede: its configuration is archived nowhere"]


def test_rules_that_nothing_came_to(tmp_path: Path) -> None:
    never: dict[Id, Measured] = {
        Id(firewall.RULE, "browse"): 0,
        Id(firewall.FORWARD, "nvr"): 0,
        Id(firewall.RULE, "ospiti"): Unmeasured(""),
    }
    assert said(facts(tmp_path), WELL, never) == [
        "info firewall.idle firewall/sede/browse: nothing has come to it since 2026-11-25",
        "info firewall.idle firewall/sede/nvr: nothing has come to it since 2026-11-25",
    ]
    for young in (firewall.BOOTED, firewall.LOADED):
        assert said(facts(tmp_path), {**WELL, young: NOW - timedelta(days=3)}, never) == []


def test_what_is_over(tmp_path: Path) -> None:
    lines = said(facts(tmp_path, now=datetime(2027, 4, 1, tzinfo=UTC)), {**WELL, firewall.ASKED: NOW.replace(month=4)})
    assert "info firewall.expired firewall/sede/nvr: nvr expired 2027-03-12 18:00" in lines


def test_a_hand_that_shadows(tmp_path: Path) -> None:
    found = {r.id: r for r in facts(tmp_path).declared[0].resources}
    first = found[Id(firewall.RULE, "browse")]
    wide = replace(first, fields={**first.fields, "from": frozenset({"any"}), "services": frozenset({"any"})})
    drift = Difference(first.id, first, wide, Record((first,)), Cause.DRIFT, {"from": Cause.DRIFT})
    assert said(facts(tmp_path, left=(drift,)), WELL) == [
        "info firewall.shadowed firewall/sede/ospiti: it never counts: browse has said the same before",
        "warning firewall.shadowed firewall/sede/no-smtp: it never counts: browse has decided otherwise before",
    ]


# -- what a device tells --------------------------------------------------------------------------------------------

LTS, LATER = datetime(2028, 6, 30, tzinfo=UTC), datetime(2028, 9, 30, tzinfo=UTC)
TOLD = b"""os.ID debian
os.VERSION_ID "12"
booted 1800000000
running 6.1.0-28-amd64
kernel 6.1.0-28-amd64
kernel 6.1.0-9-amd64
kernel 6.9.0-1-cloud
loaded 1800000100 /etc/mspctl/mspctl-sede.json
installed 1.0.6-2+deb12u2
candidate 1.0.6-2+deb12u3
asked 1800000000
asked 1800003600
Inst libc6 [2.36-9] (2.36-10 Debian-Security:12/stable-security [amd64])
Inst nano [7.2-1] (7.2-2 Debian:12.9/stable [amd64])
counted yes
"""


def told(out: bytes) -> dict[str, Measured]:
    return use.Told.read(out).measured("/etc/mspctl/mspctl-sede.json")


def test_what_a_device_tells() -> None:
    assert told(TOLD) == {
        firewall.RELEASE: "debian 12",
        firewall.SUPPORT: datetime(2028, 6, 30, tzinfo=UTC),
        firewall.INSTALLED: "1.0.6-2+deb12u2",
        firewall.NEWEST: "1.0.6-2+deb12u3",
        firewall.PENDING: 2,
        firewall.SECURITY: 1,
        firewall.ASKED: datetime.fromtimestamp(1800003600, UTC),
        firewall.REBOOT: 0,
        firewall.BOOTED: datetime.fromtimestamp(1800000000, UTC),
        firewall.LOADED: datetime.fromtimestamp(1800000100, UTC),
    }


@pytest.mark.parametrize(
    ("old", "new", "what", "value"),
    [
        (b"running 6.1.0-28-amd64", b"running 6.1.0-9-amd64", firewall.REBOOT, 1),
        (b"counted yes", b"required yes\ncounted yes", firewall.REBOOT, 1),
        (
            b"ID debian",
            b"ID debian\nends 12,Bookworm,bookworm,a,b,2026-07-11,2028-09-30,2033-06-30",
            firewall.SUPPORT,
            LATER,
        ),
        (b"ID debian", b"ID debian\nends 12,Bookworm,bookworm,a,b,2026-07-11,no", firewall.SUPPORT, LTS),
        (b"ID debian", b"ID debian\nos.SUPPORT_END 2027-01-01", firewall.SUPPORT, datetime(2027, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_it_tells_otherwise(old: bytes, new: bytes, what: str, value: Measured) -> None:
    assert old in TOLD
    assert told(TOLD.replace(old, new))[what] == value


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        (b"counted yes", {firewall.PENDING, firewall.SECURITY}),
        (b"candidate ", {firewall.NEWEST}),
        (b"kernel 6.1", {firewall.REBOOT}),
        (b"running ", {firewall.REBOOT}),
        (b"asked ", {firewall.ASKED}),
        (b"os.VERSION_ID", {firewall.SUPPORT}),
        (b"loaded ", {firewall.LOADED}),
        (b"", {*WELL} - {firewall.PACKETS, firewall.SAVED} | {firewall.PENDING}),
    ],
)
def test_what_it_does_not_tell_is_unknown(line: bytes, unknown: set[str]) -> None:
    found = told(b"\n".join(each for each in TOLD.splitlines() if not each.startswith(line)))
    assert {what for what, value in found.items() if isinstance(value, Unmeasured)} == unknown


def test_what_is_saved(tmp_path: Path) -> None:
    resources = facts(tmp_path).declared[0].resources
    commands = native.commands("mspctl-sede", resources, Table())
    listed = [{**each["add"], **({"rule": {**each["add"]["rule"], "handle": n}} if "rule" in each["add"] else {})}
              for n, each in enumerate(commands) if "add" in each]  # fmt: skip
    table, file = Table.read({"nftables": listed}), json.dumps({"nftables": commands}).encode()
    assert use.saved(table, file) == 1
    assert use.saved(None, None) == 1
    fewer = json.dumps({"nftables": [each for each in commands if "browse" not in json.dumps(each)]}).encode()
    for other in (None, b"", b"[]", fewer):
        assert use.saved(table, other) == 0
    assert use.saved(None, file) == 0


# -- the VPN ----------------------------------------------------------------------------------------------------


def with_vpn(tmp_path: Path) -> Facts:
    root = brenta(tmp_path, test_firewall_vpn.SEDE.replace("      mail: luca@brenta.example\n", ""))
    (root / "inventory/archive.yaml").write_text(ARCHIVE)
    (declared,) = declarations(load(root, now=NOW), Selection(), {}, NOW)
    (made,) = checks.facts_of(load(root, now=NOW), [declared], [ScopePlan(declared.scope)], {}, NOW)
    return made


@pytest.mark.parametrize(
    ("luca", "deposito", "told"),
    [
        (NOW, NOW - timedelta(minutes=2), []),
        (
            LONG_AGO, NOW,
            ["info firewall.vpn-idle firewall/sede/luca: VPN user luca connected last on 2026-11-25"],
        ),
        (None, NOW, ["info firewall.vpn-idle firewall/sede/luca: VPN user luca has not connected since 2026-11-25"]),
        (
            NOW, NOW - timedelta(hours=2),
            ["warning firewall.vpn-silent firewall/sede/deposito: VPN site deposito has not been heard of since "
             "2027-03-05 10:00 UTC"],
        ),
        (
            NOW, None,
            ["warning firewall.vpn-silent firewall/sede/deposito: VPN site deposito has not been heard of since the "
             "tunnel is there"],
        ),
        (Unmeasured("no answer"), Unmeasured("no answer"), []),
    ],
)  # fmt: skip
def test_who_does_not_use_the_vpn(tmp_path: Path, luca: Measured, deposito: Measured, told: list[str]) -> None:
    besides = {Id(vpn.USER, "luca"): luca, Id(vpn.SITE, "deposito"): deposito}
    assert said(with_vpn(tmp_path), {**WELL, vpn.HANDSHAKE: NOW}, besides) == told
