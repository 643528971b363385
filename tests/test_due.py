"""What time has made due, told from Git and the ledger alone."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from mspctl.desired import Declaration
from mspctl.due import concerns, due
from mspctl.moments import Hours, Window
from mspctl.record import Record, ScopeRecord
from mspctl.resource import UNKNOWN, Resource, Scope
from tests.drivers.memory import thing

NORTH = Scope("memory-1", "things", "north", "acme")
A, A2, B = thing("a", size=10), thing("a", size=20), thing("b", size=10)
SUNDAY = Hours(((Window.parse("sun 05:00-06:00"), "UTC"),))


def record(*states: tuple[Resource | None, ...]) -> ScopeRecord:
    known = (Record(each, None if any(each) else date(2027, 3, 5)) for each in states)
    ids = [next(filter(None, each), A).id for each in states]
    return ScopeRecord(NORTH, dict(zip(ids, known, strict=True)))


def names(recorded: ScopeRecord | None, *declared: Resource, **more: Any) -> set[str]:
    return {id_.name for id_ in due(Declaration(NORTH, declared, **more), recorded)}


TIMED = {A.id: "expired 2027-03-31"}


@pytest.mark.parametrize(
    ("recorded", "declared", "expected"),
    [
        ([(A,)], [], {"a"}),  # expired, and recorded as ours
        ([(A,), (B,)], [], {"a"}),  # the other left Git: not the doing of time
        ([(None,)], [], set()),  # deleted already
        ([], [], set()),  # never applied
        ([], [A], {"a"}),  # began
        ([(None,)], [A], {"a"}),  # began, and was there before
        ([(A,)], [A], set()),  # began, and is applied
        ([(A,)], [A2, B], {"a"}),  # is otherwise from now on
        ([(A, None)], [], {"a"}),  # an apply was killed
        ([(A, A2)], [A], {"a"}),
        ([(thing("a", secret="x", size=10),)], [thing("a", secret=UNKNOWN, size=10)], set()),
    ],
)
def test_what_time_made_due(
    recorded: list[tuple[Resource | None, ...]], declared: list[Resource], expected: set[str]
) -> None:
    assert names(record(*recorded), *declared, timed=TIMED) == expected


@pytest.mark.parametrize(
    ("recorded", "before", "expected"),
    [
        ([(A,)], [{"size": 10}], {"a"}),
        ([(A,)], [], set()),  # somebody edited it
        ([(A,)], [{"size": 5}], set()),
        ([(thing("a", size=10, tag="x"),)], [{"size": 10}], {"a"}),
        ([], [{"size": 10}], set()),  # somebody made it
        ([(A2,)], [{"size": 10}], set()),
        ([(A, A2)], [{"size": 10}], {"a"}),  # an apply was killed
        ([(A, thing("a", size=5))], [{"size": 10}], set()),  # that of somebody's edit
    ],
)
def test_that_clocks_were_set_makes_nothing_else_due(
    recorded: list[tuple[Resource | None, ...]], before: list[dict[str, Any]], expected: set[str]
) -> None:
    made = names(record(*recorded), A2, timed={A.id: "clocks were set"}, shifted={A.id: before})
    assert made == expected


def test_a_scope_that_was_never_recorded() -> None:
    assert names(None, A, B, timed=TIMED) == {"a"}
    assert names(None, A, B, hours=SUNDAY) == {"a", "b"}


def test_in_an_open_window_all_that_is_pending_is_due() -> None:
    assert names(record((A,), (B,)), A2, hours=SUNDAY) == {"a", "b"}
    assert names(record((A,), (B,)), A, B, hours=SUNDAY) == set()


def test_outside_its_window_nothing_is_due() -> None:
    assert names(record((A,)), A2, hours=SUNDAY, closed="window opens") == set()
    assert names(record((A,)), timed=TIMED, hours=SUNDAY, closed="window opens") == set()


@pytest.mark.parametrize("mode", ["observe", "propose"])
def test_where_we_only_look_nothing_is_due(mode: str) -> None:
    assert names(record((A,)), timed=TIMED, mode=mode) == set()


def test_without_time_nothing_is_due() -> None:
    assert names(record((A,)), A2, B) == set()
    assert not concerns(Declaration(NORTH, [A]))
