"""At apply, what was reviewed and only that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from mspctl import sealed
from mspctl.desired import Declaration
from mspctl.driver import Reading
from mspctl.errors import InputError
from mspctl.kinds import dns
from mspctl.plan import Plan, ScopePlan, Standing, plan_scope
from mspctl.record import Record, ScopeRecord
from mspctl.resource import Resource, Scope

ZONE = Scope("ns-1", "dns", "acme.example", "acme")
NOW = datetime(2026, 11, 22, 14, 2, tzinfo=UTC)


def a(name: str, address: str, ttl: int = 300) -> Resource:
    return dns.rrset(name, "A", ttl, [address])


OLD = [a("www", "192.0.2.1"), a("mail", "192.0.2.2"), a("ftp", "192.0.2.3")]
NEW = [a("www", "192.0.2.11"), a("mail", "192.0.2.2"), a("shop", "192.0.2.4")]


def planned(declared: Sequence[Resource], live: Sequence[Resource]) -> ScopePlan:
    record = ScopeRecord(ZONE, {r.id: Record((r,)) for r in OLD})
    return plan_scope(Declaration(ZONE, declared), record, Reading(ZONE, live))


def saved(plan: ScopePlan) -> sealed.Sealed:
    return sealed.parse(sealed.dump(Plan([plan], NOW)), "plan.json")


def due(plan: ScopePlan) -> set[tuple[str, str]]:
    return {(change.verb, change.id.name) for change in plan.due}


REVIEWED = {("update", "www A"), ("delete", "ftp A"), ("create", "shop A")}


def test_what_was_reviewed_is_due_when_nothing_moved() -> None:
    plan = planned(NEW, OLD)
    limited = sealed.limit([plan], saved(plan))
    assert due(limited[0]) == due(plan) == REVIEWED
    assert sealed.missed(limited, saved(plan)) == []


def test_what_is_true_already_is_skipped() -> None:
    review = saved(planned(NEW, OLD))
    limited = sealed.limit([planned(NEW, [*OLD[:2], a("shop", "192.0.2.4")])], review)
    assert due(limited[0]) == {("update", "www A")}
    assert sealed.missed(limited, review) == []


def test_what_came_up_since_is_held() -> None:
    review = saved(planned(NEW, OLD))
    limited = sealed.limit([planned([*NEW, a("blog", "192.0.2.9")], OLD)], review)
    assert due(limited[0]) == REVIEWED
    held = [step for step in limited[0].steps if step.standing is Standing.HELD]
    assert [(s.change.id.name, s.reason) for s in held] == [("blog A", "not in the plan that was reviewed")]


def test_what_git_says_differently_now_is_held() -> None:
    review = saved(planned(NEW, OLD))
    limited = sealed.limit([planned([a("www", "192.0.2.99"), *NEW[1:]], OLD)], review)
    assert due(limited[0]) == REVIEWED - {("update", "www A")}


def test_what_somebody_changed_meanwhile_is_missed() -> None:
    review = saved(planned(NEW, OLD))
    limited = sealed.limit([planned(NEW, [a("www", "203.0.113.1"), *OLD[1:]])], review)
    assert due(limited[0]) == REVIEWED - {("update", "www A")}
    assert [(scope, change.id.name) for scope, change in sealed.missed(limited, review)] == [(ZONE, "www A")]


def test_another_field_that_moved_does_not_matter() -> None:
    review = saved(planned(NEW, OLD))
    limited = sealed.limit([planned(NEW, [a("www", "192.0.2.1", ttl=60), *OLD[1:]])], review)
    assert ("update", "www A") in due(limited[0])
    change = next(c for c in limited[0].due if c.id.name == "www A")
    assert change.after is not None
    assert change.after.fields["ttl"] == 60


def test_two_reviewed_plans_of_one_state_both_land() -> None:
    first, second = [NEW[0], *OLD[1:]], [*OLD, NEW[2]]
    reviews = saved(planned(first, OLD)), saved(planned(second, OLD))
    after_first = [NEW[0], *OLD[1:]]
    limited = sealed.limit([planned([NEW[0], *OLD[1:], NEW[2]], after_first)], reviews[1])
    assert due(limited[0]) == {("create", "shop A")}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "mspctl.sealed/2"}', '{"format": 1', "[" * 100_000])
def test_what_is_no_saved_plan_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a plan that mspctl saved"):
        sealed.parse(text, "plan.json")


def test_a_plan_that_was_edited_is_refused() -> None:
    content = json.loads(sealed.dump(Plan([planned(NEW, OLD)], NOW)))
    content["scopes"][0]["changes"].pop()
    with pytest.raises(InputError, match="was changed since mspctl saved it"):
        sealed.parse(json.dumps(content), "plan.json")
