"""What a plan says of each scope, and what one target's trouble costs the others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mspctl.desired import Declaration, Selection
from mspctl.driver import Driver, Measured, Reading, Unmeasured
from mspctl.errors import Error, InputError, SecretError, TargetError, Unreachable
from mspctl.exits import Exit
from mspctl.model.permissions import NONE, Acceptance, Approval, Permissions
from mspctl.plan import REVERT, Plan, ScopePlan, Standing, Step, accept, plan_all, plan_scope
from mspctl.proof import Proof, Verdict
from mspctl.proof import Step as Tried
from mspctl.record import Record, ScopeRecord
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Scope
from tests.drivers import memory
from tests.drivers.memory import SOLE, Server, thing
from tests.drivers.workbench import Inline, Servers, as_plan

NORTH, SOUTH = Scope("memory-1", "things", "north", "acme"), Scope("memory-1", "things", "south", "acme")
FAR = Scope("memory-2", "things", "north", "acme")
A, B = thing("a", size=10), thing("b", size=10)
A2 = thing("a", size=20)


@pytest.fixture
def bench() -> Servers:
    return Servers("memory-1", "memory-2")


def planned(
    declared: Sequence[Resource], live: Sequence[Resource], recorded: Sequence[Resource] = (), **reading: object
) -> ScopePlan:
    record = ScopeRecord(NORTH, {r.id: Record((r,)) for r in recorded})
    return plan_scope(Declaration(NORTH, declared), record, Reading(NORTH, live, **reading))  # type: ignore[arg-type]


def names(changes: Sequence[Change]) -> list[str]:
    return [change.id.name for change in changes]


# -- one scope ------------------------------------------------------------------------------------------------


def test_what_is_pending_is_due_and_the_rest_is_left() -> None:
    drifted = thing("d", size=10)
    plan = planned([A2, drifted, thing("n")], [A, thing("d", size=70), thing("u")], [A, drifted])
    assert [(s.change.verb, s.change.id.name, s.standing) for s in plan.steps] == [
        ("update", "a", Standing.DUE),
        ("create", "n", Standing.DUE),
    ]
    assert [(d.id.name, d.cause) for d in plan.left] == [("u", Cause.UNMANAGED), ("d", Cause.DRIFT)]
    assert [d.id.name for d in plan.drifted] == ["d"]
    assert (plan.declared, plan.error) == (3, "")


def test_a_merge_that_changes_one_field_leaves_the_drift_of_another() -> None:
    live = thing("a", size=10, label="theirs")
    plan = planned([thing("a", size=20, label="ours")], [live], [thing("a", size=10, label="ours")])
    (step,), (left,) = plan.steps, plan.left
    assert (step.change.after, step.change.changed) == (thing("a", size=20, label="theirs"), ("size",))
    assert left.fields == {"label": Cause.DRIFT}


def test_revert_ends_drift_and_what_came_back() -> None:
    record = ScopeRecord(NORTH, {A.id: Record((A,)), B.id: Record((None,), memory.Ledger().today)})
    reading = Reading(NORTH, [A2, B])
    assert plan_scope(Declaration(NORTH, [A]), record, reading).due == []
    reverted = plan_scope(Declaration(NORTH, [A]), record, reading, REVERT)
    assert [(c.verb, c.id.name, c.cause) for c in reverted.due] == [
        ("delete", "b", Cause.CAME_BACK),
        ("update", "a", Cause.DRIFT),
    ]


def test_kinds_that_could_not_be_read_are_never_planned() -> None:
    hidden, seen = thing("x", kind=SOLE, size=10), thing("seen", kind=SOLE, size=10)
    plan = planned([A2, hidden], [A, seen], [A, hidden, thing("y", kind=SOLE)], missing=frozenset({SOLE}))
    assert [s.change.id for s in plan.steps] == [A.id]
    assert plan.left == []
    assert plan.settles == {}


def test_what_matches_an_ignore_pattern_belongs_to_somebody_else() -> None:
    theirs, ours = thing("acme-1"), thing("acme-2", size=10)
    declaration = Declaration(NORTH, [ours], ignore=("acme-*",))
    plan = plan_scope(declaration, None, Reading(NORTH, [theirs, thing("acme-2", size=70), thing("Acme-3")]))
    assert [(d.id.name, d.cause) for d in plan.left] == [("Acme-3", Cause.UNMANAGED), ("acme-2", Cause.TAKE_OVER)]


def test_handing_a_resource_over_deletes_nothing() -> None:
    """It leaves Git, and a pattern says whose it is now."""
    record = ScopeRecord(NORTH, {A.id: Record((A,))})
    plan = plan_scope(Declaration(NORTH, [], ignore=("a",)), record, Reading(NORTH, [A]))
    assert (plan.steps, plan.left) == ([], [])
    assert plan.settles == {A.id: None}


@pytest.mark.parametrize("mode", ["observe", "propose"])
def test_modes_that_only_look_hold_every_change(mode: str) -> None:
    plan = plan_scope(Declaration(NORTH, [A], mode=mode), None, Reading(NORTH, []))  # type: ignore[arg-type]
    assert plan.steps == [Step(Change(None, A), Standing.HELD, f"mode is {mode}")]
    assert plan.due == []
    assert plan.live == ()


def test_what_waits_for_an_output_is_named_and_not_made() -> None:
    waiting = thing("k", size=UNKNOWN)
    plan = planned([A, waiting], [A], [A])
    assert (plan.steps, plan.unknown) == ([], [waiting.id])
    assert as_plan({NORTH: plan}).exit_code is Exit.DIFFERS


def test_only_what_was_asked_for_is_due() -> None:
    record = ScopeRecord(NORTH, {})
    declaration = Declaration(NORTH, [A, B, thing("k", size=UNKNOWN)])
    plan = plan_scope(declaration, record, Reading(NORTH, []), wanted=lambda scope, id_: id_.name == "a")
    assert [s.change.id.name for s in plan.steps] == ["a"]
    assert [d.id.name for d in plan.left] == ["b"]
    assert plan.unknown == []


def test_a_reading_is_kept_whole_where_something_is_due_only() -> None:
    unmanaged = thing("u")
    assert planned([A2], [A, unmanaged], [A]).live == [A, unmanaged]
    assert planned([A], [A, unmanaged], [A]).live == ()


def test_what_the_reading_says_beside_the_resources_is_kept() -> None:
    plan = planned([A], [A], [A], token="t1", exists=True, outputs={"key": "k"})
    assert (plan.token, plan.exists, plan.outputs) == ("t1", True, {"key": "k"})
    assert planned([A], [], exists=False).exists is False


def test_the_ledger_learns_only_what_is_new() -> None:
    assert planned([A, B], [A, B], [A]).settles == {B.id: B}
    assert planned([A, B], [A, B], [A, B]).settles == {}


# -- what needs a name ----------------------------------------------------------------------------------------


def approval(name: str, why: str = "ticket 4711") -> Approval:
    return Approval.model_validate({"resource": f"things/north/{name}", "why": why, "until": "2027-03-31"})


def acceptance(name: str) -> Acceptance:
    said = {"resource": f"things/north/{name}", "why": "the customer's own", "who": "Maria", "until": "2027-03-31"}
    return Acceptance.model_validate(said)


SOLE_ONE = thing("s", kind=SOLE, size=10)


def guarded(permissions: Permissions = NONE, used: frozenset[str] = frozenset(), mode: str = "enforce") -> ScopePlan:
    """Git no longer declares something that holds data."""
    record = ScopeRecord(NORTH, {SOLE_ONE.id: Record((SOLE_ONE,))}, used=used)
    declaration = Declaration(NORTH, [A], mode=mode, permissions=permissions)  # type: ignore[arg-type]
    return plan_scope(declaration, record, Reading(NORTH, [SOLE_ONE]), traits=memory.Reader.traits)


def test_what_takes_away_data_waits_for_an_approval() -> None:
    plan = guarded()
    assert [(s.change.id.name, s.standing, s.reason) for s in plan.steps] == [
        ("s", Standing.APPROVAL, "what it holds would be lost"),
        ("a", Standing.DUE, ""),
    ]
    assert names(plan.due) == ["a"]


def test_an_approval_that_names_it_makes_it_due() -> None:
    step = guarded(Permissions((approval("s"),))).steps[0]
    assert (step.standing, step.reason) == (Standing.DUE, "approved: ticket 4711")
    assert step.approval == approval("s").key


def test_an_approval_is_used_once_and_names_one_thing() -> None:
    used = frozenset({approval("s").key})
    assert names(guarded(Permissions((approval("s"),)), used).due) == ["a"]
    assert names(guarded(Permissions((approval("s"), approval("s", "again"))), used).due) == ["s", "a"]
    assert names(guarded(Permissions((approval("x"),))).due) == ["a"]


def test_an_approval_does_not_lift_the_mode() -> None:
    assert guarded(Permissions((approval("s"),)), mode="propose").due == []


def test_the_traits_of_the_target_say_what_holds_data(bench: Servers) -> None:
    bench.declare(NORTH, SOLE_ONE)
    bench.converge()
    bench.declare(NORTH)
    (step,) = bench.plan()[NORTH].steps
    assert step.standing is Standing.APPROVAL


@pytest.mark.parametrize(
    ("recorded", "live", "cause"), [((), A2, Cause.TAKE_OVER), ((thing("a", size=30),), A2, Cause.CONFLICT)]
)
def test_what_is_contested_is_left_until_an_approval_names_it(
    recorded: tuple[Resource, ...], live: Resource, cause: Cause
) -> None:
    record = ScopeRecord(NORTH, {r.id: Record((r,)) for r in recorded})
    plan = plan_scope(Declaration(NORTH, [A]), record, Reading(NORTH, [live]))
    assert (plan.steps, [d.cause for d in plan.left]) == ([], [cause])
    approved = Declaration(NORTH, [A], permissions=Permissions((approval("a"),)))
    plan = plan_scope(approved, record, Reading(NORTH, [live]))
    assert ([(s.change.cause, s.standing) for s in plan.steps], plan.left) == ([(cause, Standing.DUE)], [])


def test_an_approval_does_not_widen_what_was_asked_for() -> None:
    approved = Declaration(NORTH, [A], permissions=Permissions((approval("a"),)))
    plan = plan_scope(approved, None, Reading(NORTH, [A2]), wanted=lambda scope, id_: False)
    assert (plan.steps, len(plan.left)) == ([], 1)


def test_an_accepted_difference_is_set_aside_even_when_others_are_reverted() -> None:
    record = ScopeRecord(NORTH, {A.id: Record((A,)), B.id: Record((B,))})
    declaration = Declaration(NORTH, [A, B], permissions=Permissions(accepted=(acceptance("a"),)))
    plan = plan_scope(declaration, record, Reading(NORTH, [A2, thing("b", size=70)]), REVERT)
    assert (names(plan.due), plan.left, plan.drifted) == (["b"], [], [])
    ((accepted),) = plan.accepted
    assert (accepted.difference.id, accepted.who, accepted.why) == (A.id, "Maria", "the customer's own")


def test_what_git_changes_is_done_beside_an_accepted_difference() -> None:
    record = ScopeRecord(NORTH, {A.id: Record((thing("a", size=10, label="x"),))})
    declaration = Declaration(
        NORTH, [thing("a", size=20, label="x")], permissions=Permissions(accepted=(acceptance("a"),))
    )
    plan = plan_scope(declaration, record, Reading(NORTH, [thing("a", size=10, label="theirs")]))
    assert [s.change.changed for s in plan.steps] == [("size",)]
    assert [a.difference.fields for a in plan.accepted] == [{"label": Cause.DRIFT}]


# -- paths ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "covers", "wants"),
    [
        ("things", True, {"a", "a/1", "b c"}),
        ("things/", True, {"a", "a/1", "b c"}),
        ("things/north", True, {"a", "a/1", "b c"}),
        ("things/north/", True, {"a", "a/1", "b c"}),
        ("things/north/a", True, {"a", "a/1"}),
        ("things/north/b c", True, {"b c"}),
        ("things/north/b", True, set()),
        ("things/nor", False, set()),
        ("thing", False, set()),
        ("things/south", False, set()),
        ("north", False, set()),
    ],
)
def test_a_path_selects_a_facet_a_scope_or_a_resource(path: str, covers: bool, wants: set[str]) -> None:
    selection = Selection(paths=[path])
    assert selection.covers(NORTH) is covers
    assert {name for name in ("a", "a/1", "b c") if selection.wants(NORTH, Id("k", name))} == wants


def test_a_selection_names_customers_and_targets() -> None:
    assert Selection().covers(NORTH)
    assert Selection().wants(NORTH, A.id)
    assert Selection(customers=["acme"], targets=["memory-1"]).covers(NORTH)
    assert not Selection(customers=["other"]).covers(NORTH)
    assert not Selection(targets=["memory-2"]).covers(NORTH)
    assert Selection(paths=["things/south", "things/north/a"]).wants(NORTH, A.id)
    assert not Selection(paths=["things/south", "things/north/a"]).wants(NORTH, B.id)


# -- accept ---------------------------------------------------------------------------------------------------


def test_a_scope_with_a_refused_resource_is_not_planned_and_not_read(bench: Servers) -> None:
    bench.declare(NORTH, A, thing("x", kind="ghost", source="customers/acme/things.yaml:7"))
    bench.declare(SOUTH, A)
    plans = bench.plan()
    assert plans[NORTH].error == ("customers/acme/things.yaml:7:1: x: memory-1 cannot hold this: memory holds no ghost")
    assert not plans[NORTH].unreachable
    assert plans[SOUTH].due == [Change(None, A)]


def test_every_refusal_is_told_with_its_place() -> None:
    declared = [Resource(Id("ghost", "x"), {}), thing("y", kind="ghost", source="y.yaml:3"), A]
    taken, problems = accept(memory.Reader(Server()), Declaration(NORTH, declared, "things.yaml"))
    assert taken.resources == [A]
    assert [(p.file, p.line, p.path) for p in problems] == [("things.yaml", 0, "x"), ("y.yaml", 3, "y")]


class Folding(memory.Reader):
    def accept(self, resource: Resource) -> Resource:
        return replace(resource, id=Id(resource.id.kind, resource.id.name.lower()))


def test_two_that_become_one_on_the_target_are_refused() -> None:
    declared = [thing("a", source="x.yaml:1"), thing("A", source="x.yaml:2")]
    taken, (problem,) = accept(Folding(Server()), Declaration(NORTH, declared))
    assert [r.id.name for r in taken.resources] == ["a"]
    assert str(problem) == "x.yaml:2:1: A: memory-1 cannot hold this: is the same there as x.yaml:1"


def test_the_plan_is_of_what_the_target_will_hold(bench: Servers) -> None:
    bench.declare(NORTH, thing("a", size=11))
    (change,) = bench.plan()[NORTH].due
    assert change.after is not None
    assert change.after.fields == {"size": 20}


# -- several targets ------------------------------------------------------------------------------------------


def test_plans_hold_readers_which_cannot_write(bench: Servers) -> None:
    asked: list[object] = []

    def reader(scope: Scope) -> memory.Reader:
        asked.append(made := memory.Reader(bench.server[NORTH.target]))
        return made

    bench.readers = reader
    bench.declare(NORTH, A)
    bench.declare(SOUTH, A)
    assert len(bench.plan()) == 2
    assert len(asked) == 1
    assert not isinstance(asked[0], Driver)
    assert bench.server[NORTH.target].calls == ["read"]


def test_what_is_recorded_and_declared_is_known_to_the_reader(bench: Servers) -> None:
    known: list[object] = []

    class Curious(memory.Reader):
        def read(self, scopes, known_):  # type: ignore[no-untyped-def]
            known.append({s: sorted(r.id.name for r in rs) for s, rs in known_.items()})
            return super().read(scopes, known_)

    bench.readers = lambda scope: Curious(bench.server[NORTH.target])
    bench.declare(NORTH, A)
    bench.apply()
    bench.declare(NORTH, B)
    bench.plan()
    assert known == [{NORTH: ["a", "b"]}]


FAILURES: list[tuple[Exception, str, bool]] = [
    (Unreachable("no route"), "no route", True),
    (TargetError("it says 500"), "it says 500", False),
    (SecretError("secret PDNS_KEY is not set"), "secret PDNS_KEY is not set", False),
    (Error("odd"), "odd", False),
    (ZeroDivisionError("division by zero"), "the driver failed: ZeroDivisionError: division by zero", False),
]


@pytest.mark.parametrize(("error", "text", "unreachable"), FAILURES, ids=[type(f[0]).__name__ for f in FAILURES])
@pytest.mark.parametrize("where", ["opening", "accepting", "reading", "half-way"])
def test_a_target_that_fails_costs_only_its_own_scopes(
    bench: Servers, error: Exception, text: str, unreachable: bool, where: str
) -> None:
    class Failing(memory.Reader):
        def accept(self, resource):  # type: ignore[no-untyped-def]
            if where == "accepting":
                raise error
            return resource

        def read(self, scopes, known):  # type: ignore[no-untyped-def]
            if where == "half-way":
                yield next(iter(super().read(scopes, known)))
            raise error

    def reader(scope: Scope) -> memory.Reader:
        if scope.target == FAR.target:
            return memory.Reader(bench.server[FAR.target])
        if where == "opening":
            raise error
        return Failing(bench.server[NORTH.target])

    bench.readers = reader
    for scope in (NORTH, SOUTH, FAR):
        bench.declare(scope, A)
    plans = bench.plan()
    assert plans[FAR].due == [Change(None, A)]
    assert (plans[SOUTH].error, plans[SOUTH].unreachable) == (text, unreachable)
    expected = ("", False) if where == "half-way" else (text, unreachable)
    assert (plans[NORTH].error, plans[NORTH].unreachable) == expected


def test_a_scope_without_an_answer_is_an_error_and_never_empty(bench: Servers) -> None:
    bench.declare(NORTH, A)
    bench.declare(SOUTH, A)
    bench.converge()
    bench.server[NORTH.target].silent = {"north"}
    plans = bench.plan()
    assert plans[NORTH].error == "the driver gave no answer for this scope"
    assert (plans[SOUTH].error, plans[SOUTH].due) == ("", [])


def test_a_driver_that_answers_for_what_nobody_asked_is_a_defect(bench: Servers) -> None:
    class Chatty(memory.Reader):
        def read(self, scopes, known):  # type: ignore[no-untyped-def]
            return super().read([*scopes, SOUTH], known)

    bench.readers = lambda scope: Chatty(bench.server[NORTH.target])
    bench.declare(NORTH, A)
    assert [p.due for p in bench.plan().values()] == [[Change(None, A)]]


def test_a_scope_that_is_declared_twice_is_refused() -> None:
    twice = [Declaration(NORTH, [A], "a.yaml"), Declaration(NORTH, [B], "b.yaml")]
    with pytest.raises(InputError, match=r"b\.yaml: things north on memory-1 is declared in a\.yaml too"):
        list(plan_all(twice, lambda scope: memory.Reader(Server()), {}, Inline()))


def test_targets_are_read_at_the_same_time_and_progress_is_told(bench: Servers) -> None:
    for scope in (NORTH, SOUTH, FAR):
        bench.declare(scope, A)
    done: list[int] = []
    with ThreadPoolExecutor(2) as executor:
        declared = bench.declarations({})
        plans = list(plan_all(declared, bench.readers, {}, executor, progress=done.append))
    assert {p.scope for p in plans} == {NORTH, SOUTH, FAR}
    assert sum(done) == 3


# -- the whole ------------------------------------------------------------------------------------------------


def scope_plan(scope: Scope, *changes: Change, **more: object) -> ScopePlan:
    return ScopePlan(scope, steps=[Step(c) for c in changes], **more)  # type: ignore[arg-type]


DRIFTED = planned([A], [A2], [A])
EXITS: list[tuple[str, list[ScopePlan], Exit]] = [
    ("nothing", [], Exit.DONE),
    ("nothing to do", [scope_plan(NORTH)], Exit.DONE),
    ("pending", [scope_plan(NORTH, Change(None, A))], Exit.DIFFERS),
    ("held", [ScopePlan(NORTH, steps=[Step(Change(None, A), Standing.HELD)])], Exit.DIFFERS),
    ("drift", [DRIFTED], Exit.DIFFERS),
    ("unmanaged only", [planned([A], [A, B], [A])], Exit.DONE),
    ("unreachable", [scope_plan(NORTH, error="silent", unreachable=True)], Exit.UNREACHABLE),
    ("unreachable and pending", [scope_plan(NORTH, error="s", unreachable=True), DRIFTED], Exit.DIFFERS),
    ("an error and pending", [scope_plan(NORTH, error="500"), DRIFTED], Exit.ERROR),
]


@pytest.mark.parametrize(("plans", "code"), [row[1:] for row in EXITS], ids=[row[0] for row in EXITS])
def test_exit_codes(plans: list[ScopePlan], code: Exit) -> None:
    assert as_plan(dict(enumerate(plans))).exit_code is code  # type: ignore[arg-type]


def digest(*plans: ScopePlan) -> str:
    return Plan(plans, as_plan({}).read_at).digest


def test_equal_changes_have_equal_digests_in_any_order_and_from_any_line() -> None:
    one, other = scope_plan(NORTH, Change(A, A2)), scope_plan(SOUTH, Change(None, B))
    moved = Change(replace(A, source="x:1", handle="42"), replace(A2, source="x:99"))
    assert digest(one, other) == digest(other, one) == digest(scope_plan(NORTH, moved), other, scope_plan(FAR))


@pytest.mark.parametrize(
    "other",
    [
        scope_plan(SOUTH, Change(A, A2)),
        scope_plan(NORTH, Change(None, A2)),
        scope_plan(NORTH, Change(A, None)),
        scope_plan(NORTH, Change(A, thing("a", size=21))),
        scope_plan(NORTH, Change(thing("a", size=11), A2)),
        scope_plan(NORTH, Change(A, A2, Cause.DRIFT)),
        scope_plan(NORTH, Change(A, A2), Change(None, B)),
        scope_plan(NORTH),
    ],
)
def test_other_changes_have_another_digest(other: ScopePlan) -> None:
    assert digest(other) != digest(scope_plan(NORTH, Change(A, A2)))


def test_changes_that_are_not_due_are_not_sealed() -> None:
    held = ScopePlan(NORTH, steps=[Step(Change(A, A2), Standing.HELD)])
    assert digest(held) == digest()


# -- what goes when its time is over ----------------------------------------------------------------------------

GONE = thing("gone", kind=SOLE, size=10)
DAY = datetime(2027, 9, 5, 12, tzinfo=UTC)


def backup(verdict: Verdict = Verdict.PASSED, state: datetime | None = DAY) -> Proof:
    return Proof(
        NORTH, "backup", DAY + timedelta(days=1), 9.0, (Tried("every file is as it was", verdict),), state=state
    )


def purged(proof: Proof | None, newest: Measured, timed: bool = True, more: int = 0) -> Step:
    """The step of a thing whose time is over, as a plan of the whole target has it."""
    bench = Servers("memory-1")
    server = bench.server["memory-1"]
    others = [thing(f"o{n}", kind=SOLE, size=10) for n in range(more)]
    bench.declare(NORTH, GONE, *others, *(thing(f"k{n}") for n in range(9)))
    bench.converge()
    server.newest = {("north", r.id): newest for r in (GONE, *others)}
    said = {r.id: "was kept until 2027-09-05" for r in (GONE, *others)} if timed else {}
    kept = tuple(thing(f"k{n}") for n in range(9))
    bench.declare_from(NORTH, lambda outputs: kept, timed=said, backup=proof)
    return next(step for step in bench.plan()[NORTH].steps if step.change.id == GONE.id)


def test_what_is_in_a_backup_that_was_restored_goes_when_its_time_is_over() -> None:
    step = purged(backup(), DAY - timedelta(minutes=6))
    assert step.standing is Standing.DUE
    assert step.reason == "was kept until 2027-09-05; all of it is in the backup of 2027-09-05, which was restored"
    assert purged(backup(), None).standing is Standing.DUE  # nothing ever came into it


@pytest.mark.parametrize(
    ("proof", "newest", "why"),
    [
        (None, DAY, "it was never proved that a backup of it can be restored"),
        (backup(Verdict.FAILED), DAY, "the last proof of its backup, on 2027-09-06, failed (every file is as it was: "),
        (backup(Verdict.UNKNOWN), DAY, "the last proof of its backup, on 2027-09-06, could not be made"),
        (backup(), Unmeasured("no clock"), "nobody knows when something came into it last (no clock)"),
        (backup(), 7, "nobody knows when something came into it last (7 is no time)"),
        (
            backup(),
            DAY,
            "something came into it on 2027-09-05 12:00 UTC, and the backup that was proved is of 2027-09-05",
        ),
        (backup(), DAY - timedelta(minutes=5), "something came into it on 2027-09-05 11:55 UTC, and"),  # clocks differ
        (
            backup(state=None),
            DAY + timedelta(days=2),
            "something came into it on 2027-09-07 12:00 UTC, and",
        ),
    ],
)
def test_all_else_waits_and_says_why(proof: Proof | None, newest: Measured, why: str) -> None:
    step = purged(proof, newest)
    assert step.standing is Standing.APPROVAL
    assert step.reason.startswith(f"was kept until 2027-09-05; {why}")


def test_a_backup_is_no_leave_to_delete_what_nobody_said_is_over() -> None:
    step = purged(backup(), None, timed=False)
    assert (step.standing, step.reason) == (Standing.APPROVAL, "what it holds would be lost")


def test_a_backup_is_no_leave_to_delete_many_at_once() -> None:
    step = purged(backup(), None, more=4)
    assert step.standing is Standing.APPROVAL
    assert "5 losses in a scope of 14" in step.reason


def test_nothing_is_measured_unless_something_is_to_go() -> None:
    bench = Servers("memory-1")
    bench.declare(NORTH, A)
    bench.converge()
    assert "measure" not in bench.server["memory-1"].calls
