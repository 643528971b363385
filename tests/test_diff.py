"""The three-way table, row by row and field by field, and what holds for whatever it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mspctl.diff import Difference, diff, found, settled
from mspctl.record import Record
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Value

ID = Id("mail.mailbox", "paolo")
PENDING, DRIFT, CONFLICT, TAKE_OVER = Cause.PENDING, Cause.DRIFT, Cause.CONFLICT, Cause.TAKE_OVER
CAME_BACK, UNMANAGED = Cause.CAME_BACK, Cause.UNMANAGED
EVERY = frozenset(Cause)

Fields = Mapping[str, Value]
X: Fields = {"quota": 1}
Y: Fields = {"quota": 2}
Z: Fields = {"quota": 3}
NEVER = Record(())
DELETED = Record((None,), date(2027, 3, 5))


def box(fields: Fields, source: str = "") -> Resource:
    return Resource(ID, fields, source)


def left(*states: Fields | None) -> Record:
    """The states in which we may have left it; None is absent."""
    return Record(tuple(None if fields is None else box(fields) for fields in states))


def all_differences(declared: Fields | None, recorded: Record, live: Fields | None) -> list[Difference]:
    return diff(
        [] if declared is None else [box(declared, "mail.yaml:12")],
        {} if recorded is NEVER else {ID: recorded},
        [] if live is None else [box(live)],
    )


def difference(declared: Fields | None, recorded: Record, live: Fields | None) -> Difference | None:
    found = all_differences(declared, recorded, live)
    assert len(found) <= 1
    return found[0] if found else None


@dataclass(frozen=True)
class Row:
    name: str
    declared: Fields | None
    recorded: Record
    live: Fields | None
    cause: Cause | None
    verb: str = ""


TABLE = [
    # declared, recorded, live: each row of the table
    Row("as declared, never recorded", X, NEVER, X, None),
    Row("as declared and recorded", X, left(X), X, None),
    Row("as declared, recorded otherwise", X, left(Y), X, None),
    Row("as declared, though we deleted it once", X, DELETED, X, None),
    Row("new in Git", X, NEVER, None, PENDING, "create"),
    Row("new in Git again, after we deleted it", X, DELETED, None, PENDING, "create"),
    Row("changed in Git", Y, left(X), X, PENDING, "update"),
    Row("left Git", None, left(X), X, PENDING, "delete"),
    Row("changed outside", X, left(X), Z, DRIFT, "update"),
    Row("deleted outside", X, left(X), None, DRIFT, "create"),
    Row("changed in Git and outside", Y, left(X), Z, CONFLICT, "update"),
    Row("changed in Git and deleted outside", Y, left(X), None, CONFLICT, "create"),
    Row("one field changed in Git, deleted outside", {**Y, "a": 1}, left({**X, "a": 1}), None, CONFLICT, "create"),
    Row("a field new in Git, deleted outside", {**X, "a": 1}, left(X), None, CONFLICT, "create"),
    Row("take-over", X, NEVER, Z, TAKE_OVER, "update"),
    Row("take-over of what we deleted once", X, DELETED, Z, TAKE_OVER, "update"),
    Row("left Git and changed outside", None, left(X), Z, CONFLICT, "delete"),
    Row("left Git and deleted outside", None, left(X), None, None),
    Row("came back", None, DELETED, Z, CAME_BACK, "delete"),
    Row("deleted and gone", None, DELETED, None, None),
    Row("unmanaged", None, NEVER, Z, UNMANAGED, "delete"),
    # an apply was begun and never finished: all states that it may have left are ours
    Row("in doubt, the new one is live", Y, left(X, Y), Y, None),
    Row("in doubt, the old one is live", Y, left(X, Y), X, PENDING, "update"),
    Row("in doubt, Git moved on, the old one is live", Z, left(X, Y), X, PENDING, "update"),
    Row("in doubt, Git moved on, the new one is live", Z, left(X, Y), Y, PENDING, "update"),
    Row("in doubt, changed outside", Y, left(X, Y), Z, CONFLICT, "update"),
    Row("in doubt, deleted outside", Y, left(X, Y), None, CONFLICT, "create"),
    Row("in doubt, left Git, the new one is live", None, left(X, Y), Y, PENDING, "delete"),
    Row("in doubt, left Git, changed outside", None, left(X, Y), Z, CONFLICT, "delete"),
    Row("create in doubt, it landed", X, left(None, X), X, None),
    Row("create in doubt, it did not land", X, left(None, X), None, PENDING, "create"),
    Row("create in doubt, something else is there", X, left(None, X), Z, TAKE_OVER, "update"),
    Row("create in doubt, Git moved on", Y, left(None, X), X, PENDING, "update"),
    Row("create in doubt, left Git, it landed", None, left(None, X), X, PENDING, "delete"),
    Row("create in doubt, left Git, it did not land", None, left(None, X), None, None),
    Row("delete in doubt, it landed", None, left(X, None), None, None),
    Row("delete in doubt, it did not land", None, left(X, None), X, PENDING, "delete"),
    Row("delete in doubt, changed outside", None, left(X, None), Z, CONFLICT, "delete"),
    Row("delete in doubt, declared again, it landed", X, left(X, None), None, PENDING, "create"),
    Row("delete in doubt, declared again, it did not land", X, left(X, None), X, None),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_each_row_of_the_table(row: Row) -> None:
    found = difference(row.declared, row.recorded, row.live)
    if row.cause is None:
        assert found is None
        return
    assert found is not None
    assert (found.id, found.cause, found.record) == (ID, row.cause, row.recorded)
    change = found.change({row.cause})
    assert change is not None
    assert (change.verb, change.cause) == (row.verb, row.cause)
    assert change.before == (row.live and box(row.live))
    assert change.after == (row.declared and box(row.declared))
    assert found.change(EVERY - {row.cause}) is None
    assert found.without({row.cause}) is None
    assert found.without(EVERY - {row.cause}) == found


@pytest.mark.parametrize(("declared", "cause"), [(X, TAKE_OVER), (None, CONFLICT)])
def test_what_may_never_have_been_made_is_not_there_without_a_field(declared: Fields | None, cause: Cause) -> None:
    found = difference(declared, left(None, X), {"name": "Paolo"})
    assert found is not None
    assert (found.cause, found.change({PENDING})) == (cause, None)


def test_the_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
    assert {row.cause for row in TABLE} == {*Cause, None}


@pytest.mark.parametrize(
    ("declared", "recorded", "live", "verb"),
    [
        (Y, left(X, Y), Y, "update"),
        (Z, left(X, Y), Y, "update"),  # Git moved on: that is a change of its own
        (X, left(X, Y), X, ""),  # it was not done
        (Y, left(X, Y), Z, ""),  # somebody else did something
        (X, left(None, X), X, "create"),
        (X, left(None, X), None, ""),
        (None, left(X, None), None, "delete"),
        (X, left(X, None), X, ""),
        (None, left(None, X), None, ""),
        (Y, left(X), Y, ""),  # nobody began it
        ({**X, "a": 1}, left({**X, "a": 0}, {**X, "a": 1}), {**X, "a": 1}, "update"),
    ],
)
def test_what_was_begun_and_is_done(declared: Fields | None, recorded: Record, live: Fields | None, verb: str) -> None:
    wanted, there = ([box(fields)] if fields else [] for fields in (declared, live))
    done = found(wanted, {ID: recorded}, settled(wanted, {ID: recorded}, there))
    assert [change.verb for change in done] == ([verb] if verb else [])
    assert all(change.before == recorded.states[0] for change in done)


def test_a_rename_that_was_begun_and_is_done_is_one_change() -> None:
    old, new = Resource(Id("box", "old"), X), Resource(Id("box", "new"), X)
    records = {old.id: Record((old, None)), new.id: Record((None, new))}
    wanted = [replace(new, was=old.id)]
    (change,) = found(wanted, records, settled(wanted, records, [new], renames={"box"}))
    assert (change.verb, change.before, change.id) == ("rename", old, new.id)


# -- per field ------------------------------------------------------------------------------------------------


FIELD_TABLE: list[tuple[str, Value, list[Value | None], Value | None, Cause | None]] = [
    # declared, the values we may have left (none: not ours), live
    ("equal", 1, [1], 1, None),
    ("equal, not ours", 1, [], 1, None),
    ("changed in Git", 2, [1], 1, PENDING),
    ("changed outside", 1, [1], 3, DRIFT),
    ("removed outside", 1, [1], None, DRIFT),
    ("three values", 2, [1], 3, CONFLICT),
    ("changed in Git and removed outside", 2, [1], None, CONFLICT),
    ("new in Git", 1, [None], None, PENDING),
    ("new in Git, another is live", 1, [None], 3, TAKE_OVER),
    ("new in Git, empty live", "x", [None], "", PENDING),
    ("new in Git, nobody is in it", frozenset({"x"}), [None], frozenset(), PENDING),
    ("emptied outside", "x", ["x"], "", DRIFT),
    ("not ours, and empty", "x", [], "", TAKE_OVER),
    ("not ours", 1, [], 3, TAKE_OVER),
    ("not ours and not there", 1, [], None, TAKE_OVER),
    ("in doubt, old is live", 2, [1, 2], 1, PENDING),
    ("in doubt, Git moved on", 3, [1, 2], 2, PENDING),
    ("in doubt, both as declared, changed outside", 1, [1, 1], 3, DRIFT),
    ("cannot be read, as written", 1, [1], UNKNOWN, None),
    ("cannot be read, changed in Git", 2, [1], UNKNOWN, PENDING),
    ("cannot be read, new in Git", 2, [None], UNKNOWN, PENDING),
    ("cannot be read, in doubt", 2, [1, 2], UNKNOWN, PENDING),
    ("cannot be read, not ours: whoever made it has it", 1, [], UNKNOWN, None),
    ("not known yet", UNKNOWN, [1], 3, None),
    ("not known yet, not ours", UNKNOWN, [], 3, None),
    ("a set in another order", frozenset("ab"), [frozenset("ab")], frozenset("ba"), None),
    ("a tuple in another order", ("a", "b"), [("a", "b")], ("b", "a"), DRIFT),
    ("a set is no tuple", frozenset("a"), [frozenset("a")], ("a",), DRIFT),
    ("empty is not absent", frozenset(), [frozenset()], None, DRIFT),
]


@pytest.mark.parametrize(
    ("declared", "ours", "live", "cause"), [row[1:] for row in FIELD_TABLE], ids=[row[0] for row in FIELD_TABLE]
)
def test_each_field_has_its_own_cause(
    declared: Value, ours: list[Value | None], live: Value | None, cause: Cause | None
) -> None:
    name: Fields = {"name": "Paolo"}
    states = [box({**name, **({} if value is None else {"f": value})}) for value in ours]
    found = diff(
        [box({"name": "Paolo", "f": declared})],
        {ID: Record(tuple(states))},
        [box({**name, "theirs": 7, **({} if live is None else {"f": live})})],
    )
    assert {name: c for d in found for name, c in d.fields.items()} == ({} if cause is None else {"f": cause})
    for each in found:
        change = each.change(EVERY)
        assert change is not None
        assert change.after == box({"name": "Paolo", "theirs": 7, "f": declared})


def test_the_gravest_field_names_the_whole() -> None:
    declared = {"a": 1, "b": 1, "c": 1, "d": 1}
    recorded = left({"a": 0, "b": 1, "c": 2})
    live = {"a": 0, "b": 5, "c": 5, "d": 5}
    found = difference(declared, recorded, live)
    assert found is not None
    assert found.fields == {"a": PENDING, "b": DRIFT, "c": CONFLICT, "d": TAKE_OVER}
    for names, cause in (("abcd", CONFLICT), ("abd", TAKE_OVER), ("ab", DRIFT), ("a", PENDING)):
        part = found.without({found.fields[name] for name in declared if name not in names})
        assert part is not None
        assert part.cause is cause


def test_a_merge_changes_what_git_changed_and_leaves_drift() -> None:
    found = difference({"quota": 2, "name": "Paolo"}, left({"quota": 1, "name": "Paolo"}), {"quota": 1, "name": "P."})
    assert found is not None
    change = found.change({PENDING})
    assert change is not None
    assert change.changed == ("quota",)
    assert change.after == box({"quota": 2, "name": "P."})
    rest = found.without({PENDING})
    assert rest is not None
    assert (rest.cause, rest.fields) == (DRIFT, {"name": DRIFT})


def test_a_change_carries_where_it_is_declared_and_the_handle_it_was_read_with() -> None:
    live = Resource(ID, X, handle="42")
    (update,) = diff([box(Y, "mail.yaml:12")], {ID: left(X)}, [live])
    change = update.change({PENDING})
    assert change is not None
    assert change.after is not None
    assert (change.after.source, change.after.handle) == ("mail.yaml:12", "42")
    (delete,) = diff([], {ID: left(X)}, [live])
    change = delete.change({PENDING})
    assert change is not None
    assert change.before is not None
    assert change.before.handle == "42"


def test_what_is_not_known_yet_is_not_made() -> None:
    assert difference({"key": UNKNOWN, "quota": 1}, NEVER, None) is None
    assert difference({"key": UNKNOWN, "quota": 1}, left({"key": 5, "quota": 1}), None) is None


def test_what_is_not_known_yet_does_not_hold_up_the_other_fields() -> None:
    found = difference({"key": UNKNOWN, "quota": 2}, left({"key": 5, "quota": 1}), {"key": 5, "quota": 1})
    assert found is not None
    change = found.change({PENDING})
    assert change is not None
    assert change.after == box({"key": 5, "quota": 2})


def test_a_half_written_update_is_ours() -> None:
    """Neither state as a whole is live, but each field is as one of them."""
    doubt = left({"a": 1, "b": 1}, {"a": 2, "b": 2})
    for declared in ({"a": 2, "b": 2}, {"a": 3, "b": 3}, None):
        found = difference(declared, doubt, {"a": 2, "b": 1})
        assert found is not None
        assert found.cause is PENDING


def test_what_left_git_is_ours_though_parts_cannot_be_read_or_were_never_declared() -> None:
    found = difference(None, left({"quota": 1, "password": "p"}), {"quota": 1, "password": UNKNOWN, "theirs": 9})
    assert found is not None
    assert found.cause is PENDING


def test_deletes_come_first_then_updates_then_creates_each_in_order() -> None:
    def r(name: str, quota: int) -> Resource:
        return Resource(Id("k", name), {"quota": quota})

    found = diff(
        [r("f", 1), r("a", 1), r("d", 2), r("c", 2)],
        {r("b", 1).id: Record((r("b", 1),)), r("c", 1).id: Record((r("c", 1),)), r("d", 1).id: Record((r("d", 1),))},
        [r("e", 1), r("d", 1), r("c", 1), r("b", 1)],
    )
    verbs = [(d.id.name, change.verb) for d in found if (change := d.change(EVERY))]
    assert verbs == [
        ("b", "delete"),
        ("e", "delete"),
        ("c", "update"),
        ("d", "update"),
        ("a", "create"),
        ("f", "create"),
    ]


def test_a_thing_without_fields_is_there_or_not() -> None:
    """A member of a group: all of it is its id."""
    assert settled([box({})], {}, [box({})]) == {ID: box({})}
    found = difference(None, left({}), {})
    assert found is not None
    assert found.cause is PENDING


# -- what the ledger learns -----------------------------------------------------------------------------------


SETTLED: list[tuple[str, Fields | None, Record, Fields | None, Fields | str]] = [
    ("as declared", X, NEVER, X, X),
    ("as declared, recorded otherwise", X, left(Y), X, X),
    ("as declared, in doubt", X, left(Y, X), X, X),
    ("drift stays drift", X, left(X), Z, X),
    ("a pending change was not made", Y, left(X), X, X),
    ("a conflict stays one", Y, left(X), Z, X),
    ("somebody else's", X, NEVER, Z, "nothing"),
    ("somebody else's, with a field that happens to agree", {"quota": 1, "name": "P"}, NEVER, {"quota": 1}, "nothing"),
    ("deleted outside", X, left(X), None, "nothing"),
    ("gone, and left Git", None, left(X), None, "gone"),
    ("still there, and left Git", None, left(X), X, "nothing"),
    ("deleted long ago", None, DELETED, None, "nothing"),
    ("unmanaged", None, NEVER, X, "nothing"),
    ("in doubt, Git moved on, the old one is live", Z, left(X, Y), X, X),
    ("in doubt, Git moved on, the new one is live", Z, left(X, Y), Y, Y),
    ("in doubt, and none of it is live", Y, left(X, Y), Z, "nothing"),
    ("create in doubt, left Git, did not land", None, left(None, X), None, "gone"),
    ("create in doubt, did not land", X, left(None, X), None, "nothing"),
    ("delete in doubt, landed", None, left(X, None), None, "gone"),
    (
        "a field is no longer declared",
        X,
        left({"quota": 1, "name": "P"}),
        {"quota": 1, "name": "P"},
        {**X, "name": "P"},
    ),
    ("a field is no longer declared, and not as it was left", X, left({**X, "name": "P"}), {**X, "name": "Q"}, X),
    (
        "a field is no longer declared, and cannot be read",
        X,
        left({**X, "p": "a"}),
        {**X, "p": UNKNOWN},
        {**X, "p": "a"},
    ),
    ("a field is no longer declared, in doubt", X, left({**X, "p": "a"}, {**X, "p": "b"}), {**X, "p": "a"}, X),
    ("a field is declared first, another is live", {"quota": 1, "name": "P"}, left(X), {"quota": 1, "name": "Q"}, X),
    ("cannot be read, as recorded", {"p": "a"}, left({"p": "a"}), {"p": UNKNOWN}, {"p": "a"}),
    ("cannot be read, changed in Git", {"p": "b"}, left({"p": "a"}), {"p": UNKNOWN}, {"p": "a"}),
    ("cannot be read, in doubt", {"p": "b"}, left({"p": "a"}, {"p": "b"}), {"p": UNKNOWN}, "nothing"),
    ("cannot be read, found for the first time", {"p": "a"}, NEVER, {"p": UNKNOWN}, {"p": "a"}),
    ("not known yet", {"k": UNKNOWN}, left({"k": 1}), {"k": 1}, {"k": 1}),
    ("not known yet, found for the first time", {"k": UNKNOWN}, NEVER, {"k": 1}, "nothing"),
]


@pytest.mark.parametrize(
    ("declared", "recorded", "live", "learned"), [row[1:] for row in SETTLED], ids=[row[0] for row in SETTLED]
)
def test_the_ledger_learns_what_is_true_and_ours(
    declared: Fields | None, recorded: Record, live: Fields | None, learned: Fields | str
) -> None:
    said = settled(
        [] if declared is None else [box(declared)],
        {} if recorded is NEVER else {ID: recorded},
        [] if live is None else [box(live)],
    )
    expected = {} if learned == "nothing" else {ID: None if isinstance(learned, str) else box(learned)}
    assert said == expected


def test_what_was_written_and_cannot_be_read_is_true_once_it_landed() -> None:
    for recorded in (left({"p": "a"}), left({"p": "a"}, {"p": "b"}), left(None, {"p": "b"})):
        landed = Change(box({"p": UNKNOWN}), box({"p": "b"}))
        assert settled([box({"p": "b"})], {ID: recorded}, [box({"p": UNKNOWN})], [landed]) == {ID: box({"p": "b"})}


def test_that_another_field_landed_says_nothing_of_what_cannot_be_read() -> None:
    landed = Change(box({"p": UNKNOWN, "quota": 1}), box({"p": UNKNOWN, "quota": 2}))
    said = settled(
        [box({"p": "b", "quota": 2})],
        {ID: left({"p": "a", "quota": 1})},
        [box({"p": UNKNOWN, "quota": 2})],
        [landed],
    )
    assert said == {ID: box({"p": "a", "quota": 2})}


# -- for whatever it is given ---------------------------------------------------------------------------------


VALUES: list[Value] = [1, 2, "a", True, ("a", "b"), ("b", "a"), frozenset("ab"), frozenset("a"), UNKNOWN]
values = st.sampled_from(VALUES)
known = values.filter(lambda value: value is not UNKNOWN)
names = st.sampled_from("abc")
ids = st.builds(Id, st.just("k"), st.sampled_from("pqrs"))


def resources(of: st.SearchStrategy[Value]) -> st.SearchStrategy[list[Resource]]:
    made = st.builds(Resource, ids, st.dictionaries(names, of, max_size=3))
    return st.lists(made, max_size=4, unique_by=lambda resource: resource.id)


@st.composite
def records(draw: st.DrawFn) -> dict[Id, Record]:
    made: dict[Id, Record] = {}
    for id_ in draw(st.lists(ids, unique=True, max_size=4)):
        state = st.none() | st.builds(Resource, st.just(id_), st.dictionaries(names, known, max_size=3))
        states = tuple(draw(st.lists(state, min_size=1, max_size=2, unique_by=repr)))
        made[id_] = Record(states, date(2027, 3, 5) if states == (None,) else None)
    return made


causes = st.frozensets(st.sampled_from(Cause))


def carried_out(live: list[Resource], changes: list[Change]) -> list[Resource]:
    held = {resource.id: resource for resource in live}
    for change in changes:
        held.pop(change.id, None)
        if change.after is not None:
            held[change.id] = change.after
    return [*held.values()]


def chosen(differences: list[Difference], of: frozenset[Cause]) -> list[Change]:
    return [change for d in differences if (change := d.change(of)) is not None]


def explained(differences: list[Difference]) -> dict[tuple[Id, str], Cause]:
    """(id, field) → cause; "" stands for the whole."""
    return {(d.id, name): cause for d in differences for name, cause in (d.fields or {"": d.cause}).items()}


@settings(deadline=None)  # a busy machine is no failure
@given(resources(known), records(), resources(known))
def test_carrying_out_everything_leaves_nothing(
    declared: list[Resource], recorded: dict[Id, Record], live: list[Resource]
) -> None:
    after = carried_out(live, chosen(diff(declared, recorded, live), EVERY))
    assert diff(declared, recorded, after) == []
    assert {r.id for r in after} == {r.id for r in declared}


@settings(deadline=None)
@given(resources(values), records(), resources(values), causes)
def test_what_is_carried_out_and_what_is_left_are_the_whole(
    declared: list[Resource], recorded: dict[Id, Record], live: list[Resource], of: frozenset[Cause]
) -> None:
    found = diff(declared, recorded, live)
    rest = [part for d in found if (part := d.without(of)) is not None]
    whole = explained(found)
    assert explained(rest) == {key: cause for key, cause in whole.items() if cause not in of}
    done = {(c.id, name): c.cause for c in chosen(found, of) for name in (c.changed if c.verb == "update" else [""])}
    assert done.keys() == {key for key, cause in whole.items() if cause in of}
    for difference in (*found, *rest):
        assert difference.cause in (difference.fields.values() or [difference.cause])


@settings(deadline=None)
@given(resources(known), records(), resources(known))
def test_there_is_no_difference_where_what_is_declared_is_live(
    declared: list[Resource], recorded: dict[Id, Record], live: list[Resource]
) -> None:
    different = {d.id for d in diff(declared, recorded, live)}
    found = {r.id: r for r in live}
    for resource in declared:
        same = resource.id in found and resource.fields.items() <= found[resource.id].fields.items()
        assert (resource.id in different) is not same


@settings(deadline=None)
@given(resources(values), records(), resources(values), causes)
def test_a_change_touches_the_fields_of_its_causes_only(
    declared: list[Resource], recorded: dict[Id, Record], live: list[Resource], of: frozenset[Cause]
) -> None:
    for each in diff(declared, recorded, live):
        change = each.change(of)
        if change is None or change.before is None or change.after is None:
            continue
        assert each.declared is not None
        assert {*change.changed} == {name for name, cause in each.fields.items() if cause in of}
        for name, value in change.after.fields.items():
            assert value == (each.declared if name in change.changed else change.before).fields[name]


def learned(recorded: dict[Id, Record], said: Mapping[Id, Resource | None]) -> dict[Id, Record]:
    return recorded | {id_: Record((state,), None if state else date(2027, 3, 5)) for id_, state in said.items()}


@settings(deadline=None)
@given(resources(values), records(), resources(values), causes | st.just(EVERY))
def test_after_everything_landed_the_ledger_agrees(
    declared: list[Resource], recorded: dict[Id, Record], live: list[Resource], of: frozenset[Cause]
) -> None:
    """What was carried out is over, what was left is still there for the same reason; nothing new appears."""
    found = diff(declared, recorded, live)
    changes = chosen(found, of)
    after = carried_out(live, changes)
    new = learned(recorded, settled(declared, recorded, after, changes))
    again = explained(diff(declared, new, after))
    assert again == {key: cause for key, cause in explained(found).items() if cause not in of}


@settings(deadline=None)
@given(resources(values), records(), resources(values))
def test_learning_what_is_true_moves_no_cause(
    declared: list[Resource], recorded: dict[Id, Record], live: list[Resource]
) -> None:
    new = learned(recorded, settled(declared, recorded, live))
    assert explained(diff(declared, new, live)) == explained(diff(declared, recorded, live))
    assert learned(new, settled(declared, new, live)) == new


# -- renames --------------------------------------------------------------------------------------------------

OLD, NEW = ID, Id("mail.mailbox", "paolo.zen")
RENAMES = frozenset({"mail.mailbox"})


def renaming(fields: Fields, recorded: Mapping[Id, Record], *live: Resource) -> list[Difference]:
    return diff([Resource(NEW, fields, was=OLD)], recorded, live, RENAMES)


def test_a_rename_in_git_is_one_change() -> None:
    (found,) = renaming(X, {OLD: left(X)}, box(X))
    assert (found.id, found.cause, found.fields, found.renamed) == (NEW, PENDING, {}, PENDING)
    change = found.change({PENDING})
    assert change is not None
    assert (change.verb, change.before, change.after) == ("rename", box(X), Resource(NEW, X))
    assert found.change({DRIFT}) is None
    assert found.without({DRIFT}) == found
    assert found.without({PENDING}) is None


def test_a_rename_and_a_change_are_one_step() -> None:
    (found,) = renaming(Y, {OLD: left(X)}, box({**X, "name": "Paolo"}))
    change = found.change({PENDING})
    assert change is not None
    assert (change.verb, change.changed) == ("rename", ("quota",))
    assert change.after == Resource(NEW, {**Y, "name": "Paolo"})


def test_a_rename_leaves_what_was_changed_outside() -> None:
    (found,) = renaming(X, {OLD: left(X)}, box(Z))
    assert (found.cause, found.fields) == (DRIFT, {"quota": DRIFT})
    change = found.change({PENDING})
    assert change is not None
    assert change.after == Resource(NEW, Z)
    rest = found.without({PENDING})
    assert rest is not None
    assert (rest.cause, rest.renamed) == (DRIFT, None)


def test_a_rename_of_what_is_not_ours_needs_a_name() -> None:
    (found,) = renaming(X, {}, box(X))
    assert (found.cause, found.change({PENDING})) == (TAKE_OVER, None)
    change = found.change({PENDING, TAKE_OVER})
    assert change is not None
    assert change.verb == "rename"


@pytest.mark.parametrize(
    ("recorded", "live", "verbs"),
    [
        ({OLD: left(X)}, [], ["create"]),  # deleted outside meanwhile
        ({OLD: left(X)}, [Resource(NEW, X)], []),  # done already
        ({OLD: left(X)}, [box(X), Resource(NEW, X)], ["delete"]),  # both are there
        ({OLD: left(X, None), NEW: left(None, X)}, [Resource(NEW, X)], []),  # in doubt, it landed
        ({OLD: left(X, None), NEW: left(None, X)}, [box(X)], ["rename"]),  # in doubt, it did not
    ],
)
def test_a_rename_is_only_what_is_left_to_do(
    recorded: Mapping[Id, Record], live: list[Resource], verbs: list[str]
) -> None:
    changes = [found.change({PENDING}) for found in renaming(X, recorded, *live)]
    assert [change.verb for change in changes if change] == verbs


def test_a_kind_that_cannot_be_renamed_is_made_anew() -> None:
    found = diff([Resource(NEW, X, was=OLD)], {OLD: left(X)}, [box(X)])
    changes = [difference.change({PENDING}) for difference in found]
    assert [change.verb for change in changes if change] == ["delete", "create"]


def test_a_name_that_is_declared_again_is_not_renamed_away() -> None:
    found = diff([Resource(NEW, X, was=OLD), box(X)], {OLD: left(X)}, [box(X)], RENAMES)
    assert [(d.id, d.cause) for d in found] == [(NEW, PENDING)]
    assert found[0].live is None


# -- passwords, when a run did not come to its end ------------------------------------------------------------

HELD, A, B = {"p": UNKNOWN}, {"p": "a"}, {"p": "b"}
RENAMING = {OLD: left(A, None), NEW: left(None, A)}


def test_a_delete_that_was_begun_says_nothing_of_what_cannot_be_read() -> None:
    """It is there, so it was not deleted; its password is its owner's."""
    assert difference(A, left(A, None), HELD) is None
    assert settled([box(A)], {ID: left(A, None)}, [box(HELD)]) == {ID: box(A)}


def test_a_create_that_was_begun_may_have_stopped_before_the_password() -> None:
    found = difference(A, left(None, A), HELD)
    assert found is not None
    assert found.fields == {"p": PENDING}
    assert settled([box(A)], {ID: left(None, A)}, [box(HELD)]) == {}


def test_a_rename_that_was_begun_writes_no_password() -> None:
    (found,) = renaming(A, RENAMING, box(HELD))
    change = found.change({PENDING})
    assert change is not None
    assert (change.verb, change.changed) == ("rename", ())


def test_a_rename_that_landed_unseen_writes_no_password() -> None:
    live = Resource(NEW, HELD)
    assert renaming(A, RENAMING, live) == []
    said = settled([Resource(NEW, A, was=OLD)], RENAMING, [live], renames=RENAMES)
    assert said == {OLD: None, NEW: Resource(NEW, A)}


def test_a_rename_with_a_new_password_that_was_begun_writes_it_again() -> None:
    begun = {OLD: left(A, None), NEW: left(None, B)}
    for live in (box(HELD), Resource(NEW, HELD)):
        (found,) = renaming(B, begun, live)
        assert found.fields == {"p": PENDING}
    assert settled([Resource(NEW, B, was=OLD)], begun, [Resource(NEW, HELD)], renames=RENAMES) == {OLD: None}


def test_where_nothing_can_be_renamed_the_new_one_was_made_anew() -> None:
    (found,) = diff([Resource(NEW, A, was=OLD)], RENAMING, [Resource(NEW, HELD)])
    assert found.fields == {"p": PENDING}
