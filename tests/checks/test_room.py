"""The room of checks: found by name, documented, and fit for sections that are still to come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mspctl import checks
from mspctl.checks import Facts, Seen
from mspctl.desired import Selection, declarations
from mspctl.driver import Gauge, Measured, Unmeasured
from mspctl.exits import Exit
from mspctl.finding import Finding, Findings, Severity
from mspctl.kinds.answers import ZoneQuestion
from mspctl.load import load
from mspctl.model import sections
from mspctl.plan import ScopePlan
from mspctl.resource import Scope
from tests.checks.facts import NOW, TARGETS, facts
from tests.conftest import ROOT
from tests.estate import estate

PAGE = (ROOT / "docs/findings.md").read_text()


def test_every_check_is_that_of_a_section_and_names_its_codes() -> None:
    for section in checks.names():
        assert section in sections.names()
        assert all(code.startswith(f"{section}.") for code in checks.check(section).CODES)


def test_every_code_that_the_checks_say_is_listed_and_documented() -> None:
    source = "".join(p.read_text() for room in ("checks", "proofs") for p in (ROOT / "mspctl" / room).rglob("*.py"))
    used = set(re.findall(rf'"((?:{"|".join((*checks.names(), "proof"))})\.[a-z-]+)"', source))
    assert used == {*checks.codes()}
    assert re.findall(r"^### `([a-z.-]+)`", PAGE, re.MULTILINE) == [*checks.codes()]


class Backups:
    """A stand-in for a section to come: what a driver hands out is judged by its age, and what the ledger says."""

    CODES: Mapping[str, str] = {"dns.too-old": "the newest copy is older than agreed"}

    def findings(self, facts: Facts, seen: Seen) -> Iterator[Finding]:
        for declaration in facts.declared:
            scope = declaration.scope
            last = str(facts.live[scope].outputs["last"])
            age = facts.now - datetime.fromisoformat(last)
            path = f"{scope.facet}/{scope.name}"
            known = "recorded" if scope in facts.history else "new"
            if age > timedelta(hours=26):
                yield Finding(
                    "dns.too-old", Severity.SEVERE, facts.customer.name, path, f"{age} old, {known}", "look", since=None
                )


def test_a_section_judges_what_targets_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "check", lambda section: Backups())
    scope = Scope("files", "dns", "acme.example")
    for hours, expected in ((3, []), (30, ["1 day, 6:00:00 old, new"])):
        last = (NOW - timedelta(hours=hours)).isoformat()
        of = facts(tmp_path, live=[ScopePlan(scope, outputs={"last": last})])
        assert [f.what for f in checks.find([of], {}).open] == expected


class Rules(Backups):
    """Another: what a target measures decides."""

    def questions(self, facts: Facts) -> Iterator[Any]:
        return (Gauge(d.scope, r.id, "hits") for d in facts.declared for r in d.resources)

    def findings(self, facts: Facts, seen: Seen) -> Iterator[Finding]:
        for gauge in self.questions(facts):
            hits = seen[gauge]
            severity = Severity.UNKNOWN if isinstance(hits, Unmeasured) else Severity.INFO
            if not isinstance(hits, int) or hits == 0:
                yield Finding("dns.too-old", severity, facts.customer.name, "dns/acme.example", f"{hits}", "look")


@pytest.mark.parametrize(
    ("hits", "expected"),
    [(7, []), (0, [Severity.INFO]), (None, [Severity.INFO]), (Unmeasured("silence"), [Severity.UNKNOWN])],
)
def test_a_section_judges_what_targets_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hits: Measured, expected: list[Severity]
) -> None:
    monkeypatch.setattr(checks, "check", lambda section: Rules())

    def measure(gauges: Sequence[Gauge]) -> Seen:
        return dict.fromkeys(gauges, hits)

    found = checks.find([facts(tmp_path)], {Gauge: measure})
    assert ([f.severity for f in found.open], found.asked) == (expected, False)


def accepting(tmp_path: Path, entry: str) -> Facts:
    (tmp_path / "customers/acme").mkdir(parents=True)
    (tmp_path / "customers/acme/accepted.yaml").write_text(f"accepted:\n  - {{{entry}, why: w, who: Paolo}}\n")
    return facts(tmp_path, zone="target: files, renewal: {at: aruba, ends: 2027-03-20}")


@pytest.mark.parametrize(
    ("entry", "accepted"),
    [
        ("resource: dns/acme.example, finding: dns.registration, until: 2027-03-15", True),
        ("resource: dns/acme.example, finding: dns.registration, until: 2027-03-14", False),
        ("resource: dns/acme.example, finding: dns.parent-ns, until: 2027-03-15", False),
        ("resource: dns/acme.example, until: 2027-03-15", False),
        ("resource: dns/other.example, finding: dns.registration, until: 2027-03-15", False),
        ("resource: dns/acme.example/www A, finding: dns.registration, until: 2027-03-15", False),
    ],
)
def test_a_finding_is_accepted_by_its_code_until_its_day(tmp_path: Path, entry: str, accepted: bool) -> None:
    result = checks.find([accepting(tmp_path, entry)], {})
    assert [a.finding.code for a in result.accepted] == ["dns.registration"] * accepted
    assert [f.code for f in result.open] == ["dns.registration"] * (not accepted)
    assert result.exit_code is (Exit.DONE if accepted else Exit.DIFFERS)


def test_an_accepted_finding_accepts_no_difference(tmp_path: Path) -> None:
    of = accepting(tmp_path, "resource: dns/acme.example, finding: dns.registration, until: 2027-03-15")
    (declared,) = of.declared
    assert declared.permissions.acceptance(declared.scope, declared.resources[0].id) is None


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], Exit.DONE),
        ([Severity.INFO], Exit.DONE),
        ([Severity.UNKNOWN, Severity.INFO], Exit.UNREACHABLE),
        ([Severity.UNKNOWN, Severity.WARNING], Exit.DIFFERS),
        ([Severity.SEVERE], Exit.DIFFERS),
    ],
)
def test_what_nobody_could_check_is_never_good(severities: list[Severity], code: Exit) -> None:
    found = [Finding("dns.x", severity, "acme", "dns/acme.example", "w", "r") for severity in severities]
    assert Findings(found).exit_code is code


def test_a_day_is_that_of_the_customer(tmp_path: Path) -> None:
    late = datetime(2027, 3, 15, 23, 30, tzinfo=UTC)
    of = facts(tmp_path, now=late)
    assert of.today == date(2027, 3, 15)
    info = of.customer.info.model_copy(update={"timezone": "Europe/Rome"})
    assert replace(of, customer=replace(of.customer, info=info)).today == date(2027, 3, 16)


def test_who_answers_is_asked_what_is_of_his_kind(tmp_path: Path) -> None:
    asked: list[object] = []

    def ask(questions: Sequence[Any]) -> Seen:
        asked.extend(question.name for question in questions)
        return {}

    checks.find([facts(tmp_path)], {Gauge: ask})
    assert asked == []
    checks.find([facts(tmp_path)], {ZoneQuestion: ask})
    assert asked == ["acme.example."]


def test_the_gravest_of_each_customer_comes_first(tmp_path: Path) -> None:
    ends = {"late": "2027-03-10", "soon": "2027-03-20", "auto": "2027-03-01, auto: true"}
    zones = {f"{name}.example": f"{{target: files, renewal: {{at: aruba, ends: {day}}}}}" for name, day in ends.items()}
    files = {"inventory/targets.yaml": TARGETS}
    for customer, mine in (("brenta", ["auto", "late"]), ("acme", ["auto", "soon"])):
        lines = [f"  {customer}-{zone}: {said}\n" for zone, said in zones.items() if zone.split(".")[0] in mine]
        files[f"customers/{customer}/dns.yaml"] = f"zones:\n{''.join(lines)}"
        files |= {f"customers/{customer}/dns/{customer}-{name}.example.yaml": "{}\n" for name in mine}
    found = load(estate(tmp_path, files), now=NOW)
    of = checks.facts_of(found, declarations(found, Selection(), {}, NOW), [], {}, NOW)
    assert [(f.severity.value, f.path) for f in checks.find(of, {}).open] == [
        ("warning", "dns/acme-soon.example"),
        ("info", "dns/acme-auto.example"),
        ("severe", "dns/brenta-late.example"),
        ("info", "dns/brenta-auto.example"),
    ]
