"""A report of drift: one cause is one line, new comes first, known is folded, and what is covered is counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from click import unstyle

from mspctl.desired import Declaration
from mspctl.diff import Difference
from mspctl.driver import Touched
from mspctl.errors import Problem
from mspctl.finding import Finding, Findings, Severity
from mspctl.model.permissions import Acceptance
from mspctl.moments import Ending
from mspctl.notified import NOTHING
from mspctl.plan import Plan, ScopePlan
from mspctl.record import Record
from mspctl.report import as_issues, as_message, digest, drifts, kept, render, soon
from mspctl.report.drifts import Beside
from mspctl.report.italian import sentence as italian_sentence
from mspctl.report.view import FINDINGS, SOON, Line, Tone, View
from mspctl.resource import Cause, Id, Resource, Scope

NOW = datetime(2027, 3, 15, 7, 0, tzinfo=UTC)
YESTERDAY = NOW - timedelta(hours=23)
LONG_AGO = NOW - timedelta(days=3)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOBODY = Record((None,))
DOWN = "hosting gave no answer within 30 seconds"


def difference(name: str, cause: Cause = Cause.DRIFT) -> Difference:
    id_ = Id("dns.rrset", name)
    declared = Resource(id_, {"values": frozenset({"192.0.2.1"})}, "customers/acme/dns.yaml:3")
    live = Resource(id_, {"values": frozenset({"192.0.2.9"})})
    if cause is Cause.UNMANAGED:
        return Difference(id_, None, live, NOBODY, cause, {})
    return Difference(id_, declared, live, NOBODY, cause, {"values": cause})


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("3 mailboxes are full", "12 mailboxes are full", True),
        ("expires in 13 days", "expires in 2 days", True),
        ("was seen last on 2027-03-14 06:00", "was seen last on 2027-03-15 06:00", True),
        ("ns1 gives no answer", "ns2 gives no answer", False),
        ("192.0.2.1 is on a block list", "192.0.2.11 is on a block list", False),
        ("tcp/25 is open", "tcp/587 is open", False),
        ("port 25 is open", "port 587 is open", False),
        ("has no SPF", "has two SPF records", False),
    ],
)
def test_two_findings_of_one_code_are_two_and_what_only_counts_on_is_one(before: str, after: str, same: bool) -> None:
    facts = {as_issues.fact(FINDINGS, Line(Tone.WARN, "warning", "x", f"{t} [mail.listed]")) for t in (before, after)}
    assert (len(facts) == 1) is same
    unknown = {as_issues.fact(FINDINGS, Line(Tone.WARN, "not checked", "x", f"{t} [m.x]")) for t in (before, after)}
    assert len(unknown) == 1


def scope(customer: str, target: str = "ns-1", **fields: Any) -> ScopePlan:
    where = Scope(target, "dns", f"{customer}.example", customer)
    return replace(ScopePlan(where, f"customers/{customer}/dns.yaml", declared=10), **fields)


def silent(customer: str) -> ScopePlan:
    return scope(customer, "hosting", error=DOWN, unreachable=True)


def finding(customer: str, what: str = "is on block list zen") -> Finding:
    return Finding("mail.listed", Severity.WARNING, customer, f"mail/{customer}.example", what, "ask to be taken off")


def report(*scopes: ScopePlan, findings: tuple[Finding, ...] = (), beside: Beside | None = None) -> View:
    return drifts.of_drift(Plan(scopes, NOW), Findings(findings, (), True), beside)


def test_a_provider_that_is_down_is_one_line_with_its_customers() -> None:
    view = report(*map(silent, ("a", "b", "c")), scope("d", left=[difference("www A")]))
    said = render(view, "text")
    assert said.count(DOWN) == 1
    assert f"hosting  {DOWN}; 3 customers (3 lines): a, b, c" in said
    assert "a.example" not in said
    for form in ("markdown", "html"):
        assert render(view, form).count(DOWN) == 1
    assert len(view.blocks) == 4  # an issue of each still knows that nobody knows


def test_one_customer_is_no_group() -> None:
    assert not digest.grouped(report(silent("a"))).causes


def test_a_finding_that_several_have_is_one_line() -> None:
    view = digest.grouped(report(findings=(finding("a"), finding("b"), finding("c", "has no SPF record"))))
    (cause,) = view.causes
    assert cause.detail == "is on block list zen [mail.listed]; 2 customers (2 lines): a, b"
    assert cause.answers[0] == "mspctl accept a mail/a.example --finding mail.listed --why '…' --until '…'"
    assert [block.customer for block in view.blocks] == ["c"]


def test_of_many_customers_the_first_are_named() -> None:
    (cause,) = digest.grouped(report(*(silent(f"c{n:03}") for n in range(120)))).causes
    names = ", ".join(f"c{n:03}" for n in range(digest.NAMES))
    assert cause.detail.endswith(f"120 customers (120 lines): {names} and 112 more")


def test_each_line_has_its_answers() -> None:
    plan = scope("acme", left=[difference("www A"), difference("m'x A", Cause.CONFLICT)])
    drift, conflict = report(plan).blocks[0].aside
    assert drift.answers == (
        "mspctl apply --revert -c acme 'dns/acme.example/www A'",
        "mspctl adopt acme 'dns/acme.example/www A'",
        "mspctl accept acme 'dns/acme.example/www A' --why '…' --until '…'",
    )
    assert conflict.answers[0] == """mspctl adopt acme 'dns/acme.example/m'"'"'x A'"""
    assert conflict.answers[2] == "$EDITOR customers/acme/approvals.yaml"
    text = render(report(scope("acme", left=[difference("www A"), difference("b A")])), "text")
    assert text.count("mspctl adopt acme 'dns/acme.example/b A'") == 1


def test_new_is_first_and_known_is_folded() -> None:
    left = [difference("old A"), difference("new A"), difference("day A")]
    since = {left[0].id: LONG_AGO, left[2].id: NOW - timedelta(hours=2)}
    view = report(scope("acme", left=left, since=since, looked=YESTERDAY))
    lines = view.blocks[0].aside
    assert [(line.name, line.new, line.known) for line in lines] == [
        ("new A", True, False),
        ("old A", False, True),
        ("day A", False, False),
    ]
    assert lines[0].detail.endswith("(new: not seen on 2027-03-14 08:00)")
    said = render(view, "markdown")
    said = said[said.index("####") :]
    assert said.index("day A") < said.index("<summary>1 more</summary>") < said.index("old A")


@pytest.mark.parametrize(
    ("first", "watched", "news"),
    [(None, False, (False, False)), (None, True, (True, False)), (LONG_AGO, True, (False, True))],
    ids=["nobody kept any", "it was not there", "it was"],
)
def test_a_finding_is_new_once_an_earlier_run_kept_what_it_found(
    first: datetime | None, watched: bool, news: tuple[bool, bool]
) -> None:
    one = finding("a")
    beside = Beside(first={drifts.key(one): first} if first else {}, watched=frozenset("a" if watched else ""))
    line = report(findings=(one,), beside=beside).blocks[0].lines[0]
    assert (line.new, line.known) == news


def test_coverage_is_counted_for_each_customer() -> None:
    unmanaged = difference("x A", Cause.UNMANAGED)
    view = report(scope("a", left=[unmanaged], unknown=[Id("k", "n")]), silent("a"), scope("b"))
    assert digest.coverage(view, "a") == "20 declared · 1 unmanaged · 11 unknown"
    assert digest.coverage(view, "b") == "10 declared · 0 unmanaged · 0 unknown"
    assert "30 declared · 1 unmanaged · 11 unknown" in view.facts


def test_an_acceptance_that_ran_out_comes_back_and_says_so() -> None:
    said = {"resource": "dns/acme.example/www A", "why": "they asked", "until": "2027-03-01", "who": "Paolo"}
    over = Acceptance.model_validate(said)
    beside = Beside(lapsed={"acme": [over]})
    first, second = report(scope("acme", left=[difference("www A"), difference("b A")]), beside=beside).blocks[0].aside
    assert first.detail.endswith("; accepted by Paolo until 2027-03-01, which is over")
    assert "over" not in second.detail


def test_lines_that_say_nothing_any_more_are_named_with_their_place() -> None:
    warnings = [
        Problem("customers/acme/firewall.yaml", 9, 5, "allow[2].until", "2027-03-12 is over (take it out)", "warning"),
        Problem("customers/acme/firewall.yaml", 3, 5, "networks.x", "is used nowhere", "warning"),
    ]
    (block,) = report(beside=Beside(warnings=warnings)).blocks
    assert [(line.label, line.source) for line in block.lines] == [("expired", "customers/acme/firewall.yaml:9")]
    assert (block.customer, block.heading) == ("acme", "expired")


TOUCHED = [
    (Touched(LONG_AGO, "anna@msp.example"), "last touched by anna@msp.example, 2027-03-12 07:00 UTC"),
    (Touched(LONG_AGO.astimezone(timezone(9 * HOUR))), "last touched 2027-03-12 07:00 UTC"),
    (Touched(LONG_AGO, whole="file"), "file written 2027-03-12 07:00 UTC"),
    (
        Touched(LONG_AGO, "a\x1b[2J\n\u202e" + "x" * 300),
        f"last touched by a[U+001B][2J[U+000A][U+202E]{'x' * 52}… (248 more characters), 2027-03-12 07:00 UTC",
    ),
]


@pytest.mark.parametrize(("touched", "said"), TOUCHED)
def test_who_touched_it_is_told_as_far_as_the_target_knows(touched: Touched, said: str) -> None:
    known, new = difference("www A"), difference("mx A")
    since: dict[Id, datetime] = {known.id: LONG_AGO}
    plan = scope("acme", left=[known, new], touched={known.id: touched, new.id: touched}, since=since, looked=YESTERDAY)
    view, before = (report(p) for p in (plan, replace(plan, touched={})))
    assert [line.detail for line in view.blocks[0].aside] == [
        f"values: Git says 192.0.2.1, live is 192.0.2.9; {said} (new: not seen on 2027-03-14 08:00)",
        f"values: Git says 192.0.2.1, live is 192.0.2.9; {said} (since 2027-03-12 07:00)",
    ]
    # Whoever touches it once more has not made another thing of it.
    assert [told.facts.keys() for told in as_issues.of_drift(view)] == [
        t.facts.keys() for t in as_issues.of_drift(before)
    ]
    left: Any = view.document["scopes"]
    assert left[0]["left"][0]["touched"]["when"] == touched.when.isoformat()
    italian = italian_sentence(view.blocks[0].aside[1].detail)
    assert italian.startswith("values: Git dice 192.0.2.1, dal vivo è 192.0.2.9; ")
    assert italian.endswith("2027-03-12 07:00 UTC (dal 2027-03-12 07:00)")
    assert not {"touched", "written"} & {*italian.split()}


def test_who_made_what_nobody_declared_is_told() -> None:
    one, two = difference("x A", Cause.UNMANAGED), difference("y A", Cause.UNMANAGED)
    touched = {one.id: Touched(LONG_AGO, "anna@msp.example"), two.id: Touched(LONG_AGO, whole="file")}
    (line,) = report(scope("acme", left=[one, two], touched=touched)).blocks[0].aside
    assert line.detail == (
        "x A (last touched by anna@msp.example, 2027-03-12 07:00 UTC), y A: live, not in Git; left alone"
    )
    assert "x A (toccato per ultimo da anna@msp.example, il 2027-03-12 07:00 UTC)" in italian_sentence(line.detail)


def test_an_acceptance_that_ran_out_says_so_behind_who_touched_it() -> None:
    left = difference("www A")
    said = {"resource": "dns/acme.example/www A", "why": "a test", "until": "2027-03-14", "who": "Paolo"}
    plan = scope("acme", left=[left], touched={left.id: Touched(LONG_AGO, "anna")})
    beside = Beside(lapsed={"acme": [Acceptance.model_validate(said)]})
    (line,) = report(plan, beside=beside).blocks[0].aside
    assert "; toccato per ultimo da anna, il 2027-03-12 07:00 UTC; " in italian_sentence(line.detail)


def ends(customer: str = "acme", target: str = "ns-1", /, **at: timedelta) -> Declaration:
    where = Scope(target, "dns", f"{customer}.example", customer)
    found = {Id("dns.rrset", f"{name} A"): Ending(NOW + left, "until 2027-03-17") for name, left in at.items()}
    resources = [Resource(id_, {}, f"customers/{customer}/dns.yaml:{n}") for n, id_ in enumerate(found, 3)]
    return Declaration(where, resources, f"customers/{customer}/dns.yaml", ends=found)


def test_what_ends_by_itself_soon_is_told_quietly_the_next_first() -> None:
    declared = ends(late=8 * DAY, over=-HOUR, week=7 * DAY, now=HOUR / 2, two=5 * HOUR, one=30 * HOUR)
    found = soon.soon([declared, ends("acme", "ns-2", two=5 * HOUR)], NOW)
    view = report(scope("acme"), beside=Beside(soon=found))
    (block,) = view.blocks
    assert (block.customer, block.heading) == ("acme", SOON)
    assert [(line.name.rpartition("/")[2], line.detail[len("until 2027-03-17 ") :]) for line in block.lines] == [
        ("now A", "(within the hour)"),
        ("two A", "(in 5 hours)"),
        ("two A", "(in 5 hours)"),  # of another line of the file
        ("one A", "(in 1 day)"),
        ("week A", "(in 7 days)"),
    ]
    assert block.lines[0].source == "customers/acme/dns.yaml:6"
    told: Any = view.document["ends_soon"]
    assert (told[0]["resources"][0]["name"], told[0]["at"]) == ("now A", "2027-03-15T07:30:00+00:00")
    (issue,) = as_issues.of_drift(view)
    assert not issue.facts
    assert as_message.message(view, (), NOTHING, NOW).title == ""
    assert "<summary>5 lines</summary>" in render(view, "markdown")
    assert "Nothing was changed outside" in view.summary


def test_what_ends_with_one_line_of_a_file_and_on_several_targets_is_told_once() -> None:
    declared = [ends("acme", target, **dict.fromkeys("abcde", 2 * DAY)) for target in ("ns-1", "ns-2")]
    same = [replace(d, resources=[replace(r, source="leavers.yaml:7") for r in d.resources]) for d in declared]
    (line,) = report(beside=Beside(soon=soon.soon(same, NOW))).blocks[0].lines
    assert (line.name, line.source) == ("dns/acme.example/a A, b A, c A and 2 more", "leavers.yaml:7")


def test_what_has_no_line_of_its_own_is_told_with_its_file() -> None:
    taken_out = replace(ends("acme", a=2 * DAY), resources=())
    said = render(report(beside=Beside(soon=soon.soon([taken_out], NOW))), "text")
    assert "until 2027-03-17 (in 2 days)  customers/acme/dns.yaml\n" in unstyle(said)


@pytest.mark.parametrize("form", ["text", "markdown", "html"])
def test_it_is_the_same_after_it_was_kept(form: str) -> None:
    left = [difference("old A"), difference("new A")]
    plan = scope("a", left=left, since={left[0].id: LONG_AGO}, looked=YESTERDAY)
    beside = Beside(soon=soon.soon([ends(a=timedelta(days=2))], NOW))
    view = report(plan, silent("b"), silent("c"), beside=beside)
    assert render(kept.parse(kept.dump(view)), form) == render(view, form)
