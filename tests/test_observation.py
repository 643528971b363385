"""What was seen of a scope comes back as the same plan, holds only as long as it may, and gives nothing away."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspctl.desired import Declaration
from mspctl.driver import Reading, Traits
from mspctl.model.permissions import Acceptance, Approval, Permissions
from mspctl.observation import OLDEST, Observation, as_seen, basis, observed, parsed, reading, rendered, since
from mspctl.plan import ScopePlan, plan_scope
from mspctl.record import Record, ScopeRecord
from mspctl.resource import UNKNOWN, Cause, Id, Resource, Scope
from mspctl.secrets import Secret
from tests.drivers.memory import THING, thing
from tests.drivers.workbench import everything

NORTH = Scope("memory-1", "things", "north", "acme")
TOKEN = "t1"
NOW = datetime(2027, 3, 5, 3, 10, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

ids = st.builds(Id, st.just(THING), st.sampled_from("abcdef"))
states = st.builds(
    Resource,
    ids,
    st.fixed_dictionaries(
        {"size": st.sampled_from([10, 20])},
        optional={"tags": st.frozensets(st.sampled_from("xyz")), "secret": st.just(UNKNOWN)},
    ),
)
RENAMES = Traits(renames=frozenset({THING}))
lists = st.lists(states, unique_by=lambda r: r.id)
records = st.dictionaries(
    ids,
    st.one_of(
        st.builds(Record, st.lists(states | st.none(), min_size=1, max_size=2, unique_by=repr).map(tuple)),
        st.just(Record((None,), date(2027, 1, 1))),
    ),
)
soon = {"why": "#212", "until": "2099-01-01"}
permitted = st.sampled_from(
    [
        Permissions(),
        Permissions((Approval.model_validate(soon | {"resource": "things/north"}),)),
        Permissions((), (Acceptance.model_validate(soon | {"resource": "things/north/a", "who": "Paolo"}),)),
    ]
)


def plan_of(declaration: Declaration, record: ScopeRecord, reading: Reading) -> ScopePlan:
    return plan_scope(declaration, record, reading, traits=RENAMES)


def told(plan: ScopePlan) -> ScopePlan:
    """All that a report can say."""
    lists = {"steps": [*plan.steps], "left": [*plan.left], "accepted": [*plan.accepted]}
    return replace(plan, live=(), settles={}, seen_at=None, since=None, **lists)  # type: ignore[arg-type]


def seen(plan: ScopePlan, before: Observation | None = None, now: datetime = NOW) -> Observation:
    """There and back again."""
    back = parsed(rendered(observed(plan, now, "basis", "page", before)))
    assert back is not None
    return back


def drifted(size: int, token: str = TOKEN) -> ScopePlan:
    record = ScopeRecord(NORTH, {Id(THING, "a"): Record((thing("a", size=10),))})
    return plan_of(
        Declaration(NORTH, [thing("a", size=10)]), record, Reading(NORTH, [thing("a", size=size)], {}, token)
    )


@given(lists, records, lists, permitted, st.none() | ids)
def test_the_plan_is_the_same_as_if_it_had_been_read(
    declared: list[Resource], recorded: dict[Id, Record], live: list[Resource], allowed: Permissions, was: Id | None
) -> None:
    """Whatever is declared, renamed, recorded, live, approved and accepted."""
    declared = [replace(r, fields={n: v for n, v in r.fields.items() if v is not UNKNOWN}) for r in declared]
    declared[:1] = [replace(r, was=was) for r in declared[:1]]
    recorded = {
        i: Record(tuple(s and replace(s, id=i) for s in record.states), record.tombstone)
        for i, record in recorded.items()
    }
    declaration, record = Declaration(NORTH, declared, permissions=allowed), ScopeRecord(NORTH, recorded)
    fresh = plan_of(declaration, record, Reading(NORTH, live, {"key": "k"}, "t1"))
    observation = seen(fresh)
    assert observation == observed(fresh, NOW, "basis", "page", None)
    again = plan_of(declaration, record, reading(observation, declaration))
    assert told(again) == told(fresh)
    if not observation.seen:
        assert told(as_seen(observation, declaration, everything)) == told(fresh)


def test_what_waits_for_something_still_waits() -> None:
    declaration = Declaration(NORTH, [thing("a", size=10), thing("b", key=UNKNOWN)])
    fresh = plan_of(declaration, ScopeRecord(NORTH), Reading(NORTH, [thing("a", size=20)], {}, "t1"))
    again = plan_of(declaration, ScopeRecord(NORTH), reading(seen(fresh), declaration))
    assert told(again) == told(fresh)
    assert [i.name for i in again.unknown] == ["b"]


def test_what_git_renames_keeps_its_old_name_until_then() -> None:
    declaration = Declaration(NORTH, [replace(thing("new", size=10), was=Id(THING, "old"))])
    record = ScopeRecord(NORTH, {Id(THING, "old"): Record((thing("old", size=10),))})
    fresh = plan_of(declaration, record, Reading(NORTH, [thing("old", size=10)], {}, "t1"))
    assert [step.change.verb for step in fresh.steps] == ["rename"]
    again = plan_of(declaration, record, reading(seen(fresh), declaration))
    assert told(again) == told(fresh)


def test_a_scope_that_is_not_there() -> None:
    declaration = Declaration(NORTH, [thing("a", size=10)])
    fresh = plan_of(declaration, ScopeRecord(NORTH), Reading(NORTH, (), {}, "t1", exists=False))
    again = plan_of(declaration, ScopeRecord(NORTH), reading(seen(fresh), declaration))
    assert told(again) == told(fresh)
    assert not again.exists


# -- how long it holds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "after", "holds"),
    [
        ({}, timedelta(), True),
        ({}, OLDEST - timedelta(seconds=1), True),
        ({}, OLDEST, False),
        ({}, -timedelta(minutes=4), True),
        ({}, -timedelta(hours=1), False),  # of a clock that is ahead
        ({"token": ""}, timedelta(), False),
        ({"basis": "other"}, timedelta(), False),
        ({"page": "other"}, timedelta(), False),
    ],
)
def test_it_holds_for_a_while_and_while_nothing_else_changed(
    change: dict[str, str], after: timedelta, holds: bool
) -> None:
    observation = Observation(NORTH, NOW, "t1", "basis", "page")
    assert replace(observation, **change).holds("basis", "page", NOW + after) is holds  # type: ignore[arg-type]


def test_what_could_not_be_read_whole_has_no_token() -> None:
    declaration = Declaration(NORTH, [thing("a", size=10)])
    half = Reading(NORTH, [thing("a", size=10)], {}, "t1", missing=frozenset({"memory.sole"}))
    assert not seen(plan_of(declaration, ScopeRecord(NORTH), half)).holds("basis", "page", NOW)


def test_the_basis_is_all_that_decides_what_is_seen() -> None:
    a, b = thing("a", size=10, tags=frozenset({"x", "y"})), thing("b", size=10)
    first = basis(Declaration(NORTH, [a, b], "file.yaml"), "driven")
    assert basis(Declaration(NORTH, [b, replace(a, source="elsewhere:9")], "other.yaml", "observe"), "driven") == first
    others = [
        basis(Declaration(NORTH, [a, b]), "driven otherwise"),
        basis(Declaration(NORTH, [a]), "driven"),
        basis(Declaration(NORTH, [a, b], ignore=("b",)), "driven"),
        basis(Declaration(NORTH, [a, thing("b", size=11)]), "driven"),
        basis(Declaration(NORTH, [a, thing("b", size="10")]), "driven"),
        basis(Declaration(NORTH, [a, replace(b, was=Id(THING, "c"))]), "driven"),
        basis(Declaration(NORTH, [a, thing("b", size=UNKNOWN)]), "driven"),
        basis(Declaration(replace(NORTH, name="south"), [a, b]), "driven"),
    ]
    assert len({first, *others}) == len(others) + 1


# -- since when -----------------------------------------------------------------------------------------------


def test_drift_is_known_since_it_was_first_seen_as_it_is() -> None:
    first = seen(drifted(20))
    same, other = seen(drifted(20, "t2"), first, LATER), seen(drifted(30, "t2"), first, LATER)
    (a,) = same.seen.values()
    assert (a.since, a.cause, same.read_at) == (NOW, Cause.DRIFT, LATER)
    assert [it.since for it in other.seen.values()] == [LATER]
    assert same.digest == first.digest != other.digest
    assert since(drifted(20), first) == {Id(THING, "a"): NOW}
    assert since(drifted(30), first) == {}


# -- what it gives away, and what is not believed -------------------------------------------------------------


def test_a_secret_that_shows_is_not_written_down() -> None:
    secret = Secret("mail-password", b"correct horse")
    assert secret.reveal()
    record, declaration = ScopeRecord(NORTH), Declaration(NORTH, [thing("a", label="x")])
    live = [thing("a", label="it is correct horse"), thing("correct horse", size=10)]
    observation = observed(plan_of(declaration, record, Reading(NORTH, live, {}, "t1")), NOW, "b", "p", None)
    assert b"correct horse" not in rendered(observation)
    assert b"<secret mail-password>" in rendered(observation)
    assert parsed(rendered(observation)) == observation
    handed = observed(
        plan_of(declaration, record, Reading(NORTH, [], {"k": "correct horse"}, "t1")), NOW, "b", "p", None
    )
    assert b"correct horse" not in rendered(handed)
    assert handed.token == ""


def test_it_is_one_line_for_each_thing_that_can_change() -> None:
    assert rendered(observed(drifted(20), NOW, "basis", "page", None)).decode().splitlines() == [
        "{",
        '"format": 1,',
        '"scope": {"target": "memory-1", "facet": "things", "name": "north", "customer": "acme", "engine": "mspctl"},',
        '"read": "2027-03-05T03:10:00+00:00",',
        '"token": "t1",',
        '"basis": "basis",',
        '"page": "page",',
        '"seen": [',
        '{"kind": "memory.thing", "name": "a", "cause": "drift", "since": "2027-03-05T03:10:00+00:00", '
        '"live": {"size": 20}}',
        "],",
        '"digest": "06d2f332ff1e7086"',
        "}",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"format": 1', '"format": 2'),
        ('"size": 20', '"size": 30'),  # by hand
        ('"memory-1", "facet"', '"memory-1", "where"'),
        ("03:10:00+00:00", "03:10:00"),
        ('"drift"', '"whim"'),
        ('"seen": [', '"seen": ['[:-1]),
        ('"token"', '"tokens"'),
        ("{", ""),
    ],
)
def test_what_is_not_as_written_is_as_good_as_not_there(old: str, new: str) -> None:
    content = rendered(observed(drifted(20), NOW, "basis", "page", None)).decode()
    assert old in content
    assert parsed(content.replace(old, new).encode()) is None


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda it: json.dumps(it).encode()))
def test_nothing_in_a_file_is_an_error(content: bytes) -> None:
    assert parsed(content) is None
