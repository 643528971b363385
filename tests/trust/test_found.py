"""Shortest histories of what the model found once."""

from __future__ import annotations

from tests.trust.git import BOX
from tests.trust.test_model import NAMES, Histories

NORTH, PATH = "north@one", "things/north"


def at_work() -> Histories:
    state = Histories()
    state.start(applied=True)
    return state


def test_a_name_for_some_losses_does_not_let_the_rest_through_at_the_next_apply() -> None:
    state = at_work()
    state.remove(place=NORTH, names=["a", "b", "c"])
    state.approve_ahead(customer="acme", path=f"{PATH}/a", days=14, why="t1")
    state.apply(shown=False)
    assert {*state.world.witness.held(NORTH)} == {*NAMES}
    for name in "bc":
        state.approve_ahead(customer="acme", path=f"{PATH}/{name}", days=14, why="t1")
    state.apply(shown=False)
    assert {*state.world.witness.held(NORTH)} == {"d", "e", BOX}


def test_an_apply_that_broke_half_way_finishes_under_the_approval_that_it_began_with() -> None:
    state = at_work()
    state.remove(place=NORTH, names=["a", "b", "c", "d", "e"])
    state.approve_ahead(customer="acme", path=PATH, days=14, why="t1")
    state.apply_in_trouble(what="scope breaks", place=NORTH, after=1, revert=False, shown=True)
    assert len(state.world.witness.held(NORTH)) == len(NAMES) - 1
    state.apply(shown=False)
    assert [*state.world.witness.held(NORTH)] == [BOX]


def test_a_target_that_says_nothing_is_there_is_not_believed_at_the_second_apply_either() -> None:
    state = at_work()
    state.delete_by_hand(place=NORTH, names=[*NAMES])
    state.remove(place=NORTH, names=[*NAMES])
    state.declare(place=NORTH, name="a", fields={"size": 20})
    state.apply(shown=False)
    state.apply(shown=False)
    assert state.world.witness.held(NORTH) == {}


def test_a_password_is_not_written_at_each_apply_while_another_field_is_contested() -> None:
    state = Histories()
    state.start(applied=False)
    state.declare(place=NORTH, name="a", fields={"secret": "s1", "tags": "pq"})
    state.apply_in_trouble(what="no end can be written", place=NORTH, after=0, revert=False, shown=True)
    state.edit_by_hand(place=NORTH, names=["a"], cell=("tags", ""))
    state.apply(shown=False)
    state.apply(shown=False)
    assert state.world.writes == []


def test_somebody_who_was_faster_is_drift_once_git_says_again_what_was_applied() -> None:
    state = at_work()
    state.declare(place=NORTH, name="a", fields={"size": 15})
    state.apply_in_trouble(what="somebody is faster", place=NORTH, after=0, revert=False, shown=False)
    state.merge_after_review(place=NORTH, first=("size", 10), names=["a"], cell=("size", 10))
    state.apply_and_revert()
    assert state.world.witness.held(NORTH)["a"] == {"size": 10}


def test_a_create_that_never_was_takes_nothing_from_whoever_made_it_otherwise() -> None:
    """What is there lacks a field that we declare; that is not our resource without the field."""
    state = Histories()
    state.start(applied=False)
    state.declare(place=NORTH, name="a", fields={"size": 10})
    state.apply_in_trouble(what="dies when it is begun", place=NORTH, after=0, revert=False, shown=True)
    state.put_by_hand(place=NORTH, name="a", fields={})
    state.apply(shown=False)
    assert state.world.witness.held(NORTH)["a"] == {}
