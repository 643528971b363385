"""What takes away needs a name. The cases that slipped through elsewhere come first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspctl import guards
from mspctl.kinds import dns
from mspctl.proof import Proof, Proving, Step, Verdict
from mspctl.resource import Cause, Change, Id, Resource, Scope

NOW = datetime(2027, 3, 15, 6, tzinfo=UTC)
PROVING = Proving("antivirus", "eset", 7 * 86400)


def proof(verdict: Verdict, days: int) -> Proof:
    made = NOW - timedelta(days=days)
    return Proof(Scope("servers", "hosts", "x"), "antivirus", made, 1, (Step("it is caught", verdict, "no"),), "eset")


@pytest.mark.parametrize(
    ("proving", "last", "said"),
    [
        (PROVING, proof(Verdict.PASSED, 8), ""),
        (PROVING, proof(Verdict.PASSED, 9), "eset was proved last on 2027-03-06: mspctl prove --section antivirus"),
        (PROVING, proof(Verdict.FAILED, 0), "the last proof of eset, on 2027-03-15, failed (it is caught: no)"),
        (PROVING, proof(Verdict.UNKNOWN, 0), "could not be made"),
        (PROVING, None, "eset is proved first: mspctl prove --section antivirus"),
        (Proving("antivirus", "eset", 0), proof(Verdict.PASSED, 0), "nothing proves eset (write proof: {every: 7d}"),
    ],
)
def test_what_takes_a_place_is_proved_first(proving: Proving, last: Proof | None, said: str) -> None:
    why = guards.unproved(proving, last, NOW)
    assert said in why
    assert bool(said) is bool(why)


def test_what_is_wrong_with_a_thing_is_no_part_of_it() -> None:
    before, after = (
        Resource(Id("antivirus.engine", "clamav"), {"amiss": frozenset(map(str, range(n)))}) for n in (9, 0)
    )
    assert guards.losses(Change(before, after)) == 0


def zone(count: int) -> list[Resource]:
    return [dns.rrset(f"h{n}", "A", 300, ["192.0.2.1"]) for n in range(count)]


def deletes(resources: list[Resource]) -> list[Change]:
    return [Change(resource, None) for resource in resources]


def judged(changes: list[Change], live: list[Resource]) -> dict[Id, str]:
    return guards.judge(changes, live, [r.id for r in live])


@pytest.mark.parametrize(("held", "gone"), [(9, 8), (12, 11), (1000, 4), (3, 3), (9, 3), (6, 6)])
def test_many_losses_need_a_name_each(held: int, gone: int) -> None:
    live = zone(held)
    reasons = judged(deletes(live[:gone]), live)
    assert set(reasons) == {r.id for r in live[:gone]}
    assert all(text.startswith(f"{gone} losses in a scope of {held}") for text in reasons.values())


@pytest.mark.parametrize(("held", "gone"), [(9, 2), (2, 2), (10, 3), (1000, 3), (1, 1)])
def test_everyday_losses_do_not(held: int, gone: int) -> None:
    live = zone(held)
    assert judged(deletes(live[:gone]), live) == {}


def test_creates_and_updates_beside_many_losses_need_none() -> None:
    live = zone(12)
    create, change = dns.rrset("new", "A", 300, ["192.0.2.9"]), dns.rrset("h11", "A", 60, ["192.0.2.1"])
    reasons = judged([*deletes(live[:11]), Change(None, create), Change(live[11], change)], live)
    assert set(reasons) == {r.id for r in live[:11]}


def test_values_that_go_are_losses_and_values_that_change_are_not() -> None:
    five = dns.rrset("www", "A", 300, [f"192.0.2.{n}" for n in range(5)])
    one = dns.rrset("www", "A", 300, ["192.0.2.1"])
    others = dns.rrset("www", "A", 300, [f"198.51.100.{n}" for n in range(5)])
    assert guards.losses(Change(five, one)) == 4
    assert set(judged([Change(five, one)], [five])) == {five.id}
    assert guards.losses(Change(five, others)) == 0
    assert guards.losses(Change(None, five)) == 0


def test_a_disabled_account_is_a_loss() -> None:
    on, off = Resource(Id("mail.box", "x"), {"enabled": True}), Resource(Id("mail.box", "x"), {"enabled": False})
    assert guards.losses(Change(on, off)) == 1
    assert guards.losses(Change(off, on)) == 0


@pytest.mark.parametrize("rtype", ["MX", "NS"])
def test_the_last_of_what_a_zone_cannot_do_without(rtype: str) -> None:
    value = "10 mx.example." if rtype == "MX" else "ns.example."
    last, other = dns.rrset("@", rtype, 300, [value]), dns.rrset("sub", rtype, 300, [value])
    live = [last, other, *zone(5)]
    assert judged([Change(last, None)], live) == {last.id: f"it is the last {rtype} of the zone"}
    assert judged([Change(last, dns.rrset("@", rtype, 60, [value]))], live) == {}


def test_kinds_that_hold_data_are_never_lost_in_passing() -> None:
    box = Resource(Id("mail.mailbox", "luca"), {"quota": 5})
    live = [box, *(Resource(Id("mail.mailbox", f"m{n}"), {"quota": 5}) for n in range(20))]
    reasons = guards.judge([Change(box, None)], live, [], frozenset({"mail.mailbox"}))
    assert reasons == {box.id: "what it holds would be lost"}


@pytest.mark.parametrize("cause", [Cause.CONFLICT, Cause.TAKE_OVER])
def test_what_two_sides_want_differently_needs_a_name(cause: Cause) -> None:
    before, after = dns.rrset("www", "A", 300, ["192.0.2.1"]), dns.rrset("www", "A", 300, ["192.0.2.2"])
    assert judged([Change(before, after, cause)], [before]) == {before.id: guards.CONTESTED[cause]}


def test_a_target_that_says_nothing_is_there_is_not_believed() -> None:
    recorded = [r.id for r in zone(5)]
    creates = [Change(None, r) for r in zone(5)]
    assert set(guards.judge(creates, [], recorded)) == set(recorded)
    assert guards.judge(creates, [], []) == {}


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_numbers_are_those_at_the_top_of_the_file(held: int, gone: int) -> None:
    live = zone(held)
    gone = min(held, gone)
    expected = gone >= guards.LOSSES_FROM and (gone > guards.LOSSES or gone > guards.SHARE * held)
    assert bool(judged(deletes(live[:gone]), live)) is expected
