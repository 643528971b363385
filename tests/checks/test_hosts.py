"""Hosts that nobody looks after, and dates that end."""

from __future__ import annotations

from pathlib import Path

import pytest

from mspctl import checks
from mspctl.checks import Facts
from mspctl.desired import Selection, declarations
from mspctl.finding import Finding
from tests.checks.facts import NOW
from tests.model.test_hosts import KEY, POLICY, loaded

ENTRY = "site: sede, waived: {backup: {why: w, until: 2027-12-31}, antivirus: {why: w, until: 2027-12-31}}"

DRIVEN = f"{ENTRY}, target: servers, os: debian-12, host_key: {KEY}, address: 10.20.1.10"


def facts(
    tmp_path: Path,
    hosts: str,
    patching: str = "",
    selection: Selection = checks.EVERYTHING,
    more: str = "",
    said: str = "",
) -> Facts:
    """`more` is a further file, which says `said`."""
    estate = loaded(tmp_path, hosts, patching, **({more: said} if more else {}))
    (made,) = checks.facts_of(estate, declarations(estate, selection, {}, NOW), [], {}, NOW, selection)
    return made


def found(of: Facts) -> list[Finding]:
    return [f for f in checks.find([of], {}).open if f.code.startswith("hosts.")]


def codes(of: Facts) -> list[str]:
    return [f"{f.code} {f.severity} {f.path}" for f in found(of)]


def test_a_host_that_is_not_patched_is_told_with_its_place(tmp_path: Path) -> None:
    (one,) = found(facts(tmp_path, f"hosts:\n  srv-1: {{{ENTRY}}}\n"))
    assert (one.code, one.path, one.source) == (
        "hosts.uncovered",
        "hosts/acme/srv-1/patching",
        "customers/acme/hosts.yaml:2",
    )
    assert one.what == "srv-1 is not patched"
    assert "waived: {patching: {why: …, until: …}}" in one.remedy


def test_a_policy_for_all_covers_every_host(tmp_path: Path) -> None:
    hosts = f"hosts:\n  srv-1: {{{DRIVEN}}}\n  srv-2: {{{DRIVEN}, port: 2222}}\n"
    assert codes(facts(tmp_path, hosts, POLICY)) == []


def test_a_policy_for_all_is_none_for_a_host_that_nobody_drives(tmp_path: Path) -> None:
    said = codes(facts(tmp_path, f"hosts:\n  nas: {{{ENTRY}}}\n", POLICY))
    assert said == ["hosts.uncovered warning hosts/acme/nas/patching"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (f"target: servers, os: debian-12, host_key: {KEY}, address: 10.20.1.10", []),
        ("address: 10.20.1.10", ["antivirus", "backup"]),
        ("site: sede", ["antivirus", "backup"]),
    ],
)
def test_who_is_reached_by_nobody_has_neither_antivirus_nor_backup(tmp_path: Path, entry: str, said: list[str]) -> None:
    """Whatever is declared for all, or for its role: nothing of it can have come there."""
    hosts = f"hosts:\n  srv-1: {{role: files, waived: {{patching: {{why: w, until: 2027-12-31}}}}, {entry}}}\n"
    job = '{role: files, paths: /srv, repository: disk, schedule: "02:30", rpo: 26h}'
    texts = {
        "antivirus": "policy: {product: clamav}\n",
        "backup": f"repositories: {{disk: {{local: /mnt/backup, password: ACME_RESTIC}}}}\njobs: {{notte: {job}}}\n",
    }
    estate = loaded(tmp_path, hosts, "", **{f"customers/acme/{name}.yaml": text for name, text in texts.items()})
    (made,) = checks.facts_of(estate, declarations(estate, checks.EVERYTHING, {}, NOW), [], {}, NOW)
    assert [c.rpartition("/")[2] for c in codes(made)] == said


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2027-03-14", ["hosts.uncovered warning hosts/acme/srv-1/patching"]),
        ("2027-03-15", ["hosts.waiver info hosts/acme/srv-1/patching"]),
        ("2027-03-29", ["hosts.waiver info hosts/acme/srv-1/patching"]),
        ("2027-03-30", []),
    ],
)
def test_a_waiver_has_its_days(tmp_path: Path, until: str, said: list[str]) -> None:
    entry = ENTRY.removesuffix("}") + f", patching: {{why: its vendor does it, until: {until}}}}}"
    assert codes(facts(tmp_path, f"hosts:\n  srv-1: {{{entry}}}\n")) == said


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("warranty: 2027-03-14", "the warranty of srv-1 has ended (2027-03-14)"),
        ("warranty: 2027-03-15", "the warranty of srv-1 ends today (2027-03-15)"),
        ("warranty: 2027-05-14", "the warranty of srv-1 ends in 60 days (2027-05-14)"),
        ("warranty: 2027-05-15", ""),
        ("owner: {loaned_until: 2027-03-16}", "the loan of srv-1 ends tomorrow (2027-03-16)"),
        ("owner: {loaned_until: 2027-03-01}", "the loan of srv-1 has ended (2027-03-01)"),
        ("owner: {loaned_until: 2027-04-15}", ""),
        ("owner: msp", ""),
    ],
)
def test_dates_that_end(tmp_path: Path, entry: str, said: str) -> None:
    assert [f.what for f in found(facts(tmp_path, f"hosts:\n  srv-1: {{{DRIVEN}, {entry}}}\n", POLICY))] == [
        said
    ] * bool(said)


def test_how_early_is_said_in_the_inventory(tmp_path: Path) -> None:
    hosts, said = f"hosts:\n  srv-1: {{{DRIVEN}, warranty: 2027-06-01}}\n", "hosts: {warranty: 90d}\n"
    of = facts(tmp_path, hosts, POLICY, more="inventory/checks.yaml", said=said)
    assert codes(of) == ["hosts.warranty warning hosts/acme/srv-1"]


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(), 2),
        (Selection(sections=["hosts"]), 2),
        (Selection(sections=["patching"]), 1),
        (Selection(sections=["dns"]), 0),
        (Selection(targets=["other"]), 0),
        (Selection(paths=["hosts/acme/srv-1"]), 2),
        (Selection(paths=["hosts/acme/srv-2"]), 0),
    ],
)
def test_only_what_was_asked_for_is_told(tmp_path: Path, selection: Selection, count: int) -> None:
    hosts = f"hosts:\n  srv-1: {{{ENTRY}, warranty: 2027-03-01}}\n"
    assert len(found(facts(tmp_path, hosts, selection=selection))) == count


def test_a_finding_can_be_accepted(tmp_path: Path) -> None:
    entry = "resource: hosts/acme/srv-1/patching, finding: hosts.uncovered, why: w, who: Paolo, until: 2027-04-01"
    said = f"accepted:\n  - {{{entry}}}\n"
    of = facts(tmp_path, f"hosts:\n  srv-1: {{{ENTRY}}}\n", more="customers/acme/accepted.yaml", said=said)
    result = checks.find([of], {})
    assert ([*result.open], len(result.accepted)) == ([], 1)
