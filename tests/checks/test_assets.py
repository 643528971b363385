"""What was collected of hosts, judged."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from mspctl import assets, checks
from mspctl.checks import EVERYTHING
from mspctl.desired import Selection
from mspctl.finding import Finding
from mspctl.kinds.assets import AssetsOf
from tests.checks.test_hosts import DRIVEN, facts
from tests.model.test_hosts import POLICY

HOSTS = f"hosts:\n  srv-1: {{{DRIVEN}, serial: S1}}\n  nas: {{{DRIVEN}, port: 2222}}\n"
READ = "read: 2027-03-15\n"
FORBIDDEN = "software:\n  forbidden: {'any*': {why: remote access is ours}}\n"


def found(tmp_path: Path, text: str | None, hosts: str = HOSTS, selection: Selection = EVERYTHING) -> list[Finding]:
    of = facts(tmp_path, hosts, POLICY, selection)
    if text is not None:
        (tmp_path / "inventory/assets").mkdir()
        (tmp_path / "inventory/assets/acme.yaml").write_text(text)
    seen = assets.looked_up(tmp_path, [AssetsOf("acme")])
    return [*checks.check("hosts").findings(of, seen)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, []),
        (READ, []),
        ("read: 2027-03-07\n", []),
        ("read: 2027-03-06\n", ["hosts.collected unknown hosts/acme"]),
        (READ + "hosts: {srv-1: {serial: S2}}\n", ["hosts.serial warning hosts/acme/srv-1"]),
        (READ + "hosts: {srv-1: {serial: S1, os: debian-12}, nas: {serial: S9}}\n", []),
        (READ + "hosts: {srv-1: {os: debian-11}}\n", ["hosts.os warning hosts/acme/srv-1"]),
        (READ + "hosts: {srv-1: {seen: 2027-03-01}}\n", []),
        (READ + "hosts: {srv-1: {seen: 2027-02-28}}\n", ["hosts.missing warning hosts/acme/srv-1"]),
        (READ + "hosts: {nas: {seen: never}}\n", ["hosts.missing warning hosts/acme/nas"]),
        (READ + "hosts: {gone: {seen: never}}\n", []),
        (
            READ + "devices: {10.20.1.9: {mac: 'a', since: 2027-03-01}}\n",
            ["hosts.unknown warning hosts/acme/10.20.1.9"],
        ),
        ("read: [\n", ["hosts.collected unknown hosts/acme"]),
    ],
)
def test_what_was_collected(tmp_path: Path, text: str | None, said: list[str]) -> None:
    assert [f"{f.code} {f.severity} {f.path}" for f in found(tmp_path, text)] == said


def test_only_what_was_asked_for_is_told(tmp_path: Path) -> None:
    text = READ + "hosts: {srv-1: {serial: S2}, nas: {seen: never}}\n"
    (one,) = found(tmp_path, text, selection=Selection(paths=["hosts/acme/srv-1"]))
    assert (one.code, one.source) == ("hosts.serial", "customers/acme/hosts.yaml:2")
    assert one.what == "srv-1 has serial S2, hosts.yaml says S1"


INSTALLED = READ + "hosts: {srv-1: {packages: {anydesk: '7', sudo: '1'}}}\n"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("", []),
        ("forbidden: {'any*': {why: no}}", ["anydesk is installed on srv-1: no"]),
        ("forbidden: {'*': {why: only what is named}}\n  allowed: {sudo: {why: x}, anydesk: {why: x}}", []),
        ("forbidden: {'any*': {why: no, hosts: nas}}", []),
        ("forbidden: {'any*': {why: no, until: 2027-03-14}}", []),
        ("forbidden: {'any*': {why: no, until: 2027-03-15}}", ["anydesk is installed on srv-1: no"]),
        ("forbidden: {'any*': {why: no}}\n  allowed: {anydesk: {why: ticket 1, until: 2027-03-15}}", []),
        (
            "forbidden: {'any*': {why: no}}\n  allowed: {anydesk: {why: ticket 1, until: 2027-03-14}}",
            ["anydesk is installed on srv-1: no; it was allowed until 2027-03-14 (ticket 1)"],
        ),
        (
            "forbidden: {'any*': {why: no}}\n  allowed: {anydesk: {why: ticket 1, hosts: [nas]}}",
            ["anydesk is installed on srv-1: no"],
        ),
    ],
)
def test_software(tmp_path: Path, rules: str, said: list[str]) -> None:
    hosts = HOSTS + (f"software:\n  {rules}\n" if rules else "")
    each = found(tmp_path, INSTALLED, hosts)
    assert [f.what for f in each] == said
    assert all((f.code, f.path) == ("hosts.software", "hosts/acme/srv-1/anydesk") for f in each)
    assert all(f.source == "customers/acme/hosts.yaml:5" for f in each)


def test_what_is_forbidden_and_was_never_looked_for_is_not_known(tmp_path: Path) -> None:
    (one,) = found(tmp_path, None, HOSTS + FORBIDDEN)
    assert (one.code, one.severity) == ("hosts.collected", "unknown")
    assert one.remedy == "mspctl inventory collect acme, and commit what it writes"


def test_a_device_says_since_when(tmp_path: Path) -> None:
    text = READ + "devices: {10.20.1.9: {mac: 'aa:bb', since: 2027-03-01, seen: 2027-03-10}}\n"
    (one,) = found(tmp_path, text)
    assert one.what == "10.20.1.9 (aa:bb) is nobody's host; it was met last on 2027-03-10"
    assert one.since == date(2027, 3, 1)
