"""Carrying out: what lands, what is held, what is told when something breaks, and what the ledger knows afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from functools import partial

import pytest

from mspctl import sealed
from mspctl.apply import MAX_WAVES, Outcome
from mspctl.carry_out import ScopeOutcome, on_target
from mspctl.desired import Outputs
from mspctl.driver import Landed, Traits, Work
from mspctl.errors import LockError, TargetError, Unreachable
from mspctl.exits import Exit
from mspctl.model.permissions import Approval, Permissions
from mspctl.moments import Hours, Window
from mspctl.plan import REVERT, ScopePlan, Standing, Step
from mspctl.record import Emergency
from mspctl.report import outcomes
from mspctl.resource import UNKNOWN, Cause, Change, Id, Resource, Scope
from tests.drivers import memory
from tests.drivers.memory import Server, thing
from tests.drivers.workbench import Inline, Servers, as_plan

NEAR, FAR = "memory-1", "memory-2"


def scope(name: str, *after: Scope, target: str = NEAR) -> Scope:
    return Scope(target, "things", name, "acme", after=after)


NORTH, SOUTH, WEST = scope("north"), scope("south"), scope("west", target=FAR)
A, A2, B = thing("a", size=10), thing("a", size=20), thing("b", size=10)


@pytest.fixture
def bench() -> Servers:
    return Servers(NEAR, FAR)


def held(server: Server, name: str = "north") -> dict[str, object]:
    return {i.name: f.get("size") for i, f in server.held.get(name, {}).items()}


def names(changes: Sequence[Change]) -> list[str]:
    return [change.id.name for change in changes]


# -- what lands -----------------------------------------------------------------------------------------------


def test_what_git_says_is_true_afterwards_and_recorded(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    outcome = bench.converge()
    assert (outcome.landed, names(outcome.scopes[NORTH].landed)) == (2, ["a", "b"])
    assert bench.states(NORTH) == {"a": (A,), "b": (B,)}
    bench.declare(NORTH, A2)
    assert names(bench.converge().scopes[NORTH].landed) == ["b", "a"]
    assert bench.states(NORTH) == {"a": (A2,), "b": (None,)}
    assert held(bench.server[NEAR]) == {"a": 20}


def test_the_ledger_keeps_what_was_there_before(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    bench.converge()
    bench.declare(NORTH, A2)
    bench.apply()
    assert [(c.verb, c.before, c.after) for c in bench.ledger.last(NORTH)] == [("delete", B, None), ("update", A, A2)]


def test_a_plan_that_was_shown_is_what_is_carried_out(bench: Servers) -> None:
    bench.declare(NORTH, A)
    shown = bench.plan()
    reads = bench.server[NEAR].calls.count("read")
    assert bench.apply(first=shown).landed == 1
    assert bench.server[NEAR].calls.count("read") == reads + 1  # the read back


def test_what_is_as_declared_already_is_recorded_without_a_change(bench: Servers) -> None:
    """The estate that was imported; the change made by hand and then written into Git."""
    bench.server[NEAR].put("north", A)
    bench.declare(NORTH, A)
    outcome = bench.converge()
    assert (outcome.landed, outcome.scopes) == (0, {})
    assert bench.states(NORTH) == {"a": (A,)}
    bench.server[NEAR].put("north", A2)
    bench.declare(NORTH, A2)
    bench.converge()
    assert bench.states(NORTH) == {"a": (A2,)}
    bench.declare(NORTH)
    assert names(bench.converge().scopes[NORTH].landed) == ["a"]


def test_drift_is_left_and_stays_drift_when_something_else_lands(bench: Servers) -> None:
    bench.declare(NORTH, thing("a", size=10, label="x"), B)
    bench.converge()
    bench.server[NEAR].put("north", thing("a", size=10, label="theirs"))
    bench.server[NEAR].put("north", thing("b", size=90))
    bench.declare(NORTH, thing("a", size=20, label="x"), B)
    bench.converge()
    assert bench.server[NEAR].held["north"][A.id] == {"size": 20, "label": "theirs"}
    assert bench.causes(NORTH) == {"a": Cause.DRIFT, "b": Cause.DRIFT}
    assert names(bench.converge(causes=REVERT).scopes[NORTH].landed) == ["a", "b"]
    assert bench.causes(NORTH) == {}


def test_what_somebody_else_made_is_not_taken_over_in_passing(bench: Servers) -> None:
    bench.server[NEAR].put("north", thing("a", size=70, label="x"))
    bench.declare(NORTH, thing("a", size=10, label="x"), B)
    assert names(bench.apply().scopes[NORTH].landed) == ["b"]
    assert bench.causes(NORTH) == {"a": Cause.TAKE_OVER}
    bench.declare(NORTH, B)
    bench.converge()
    assert held(bench.server[NEAR]) == {"a": 70, "b": 10}


def test_one_batch_for_all_scopes_of_a_target(bench: Servers) -> None:
    work: list[Sequence[Work]] = []

    class Noting(memory.Driver):
        def apply(self, work_):  # type: ignore[no-untyped-def]
            work.append(work_)
            return super().apply(work_)

    bench.drivers = lambda scope: Noting(bench.server[scope.target])
    bench.server[NEAR].put("north", thing("unmanaged", size=30))
    bench.declare(NORTH, A, B)
    bench.declare(SOUTH, A)
    bench.converge()
    ((first, second),) = work
    assert (first.scope, names(first.changes)) == (NORTH, ["a", "b"])
    assert {r.id.name for r in first.after} == {"unmanaged", "a", "b"}
    assert [r.id.name for r in second.after] == ["a"]


def test_what_is_deleted_is_neither_in_the_work_nor_looked_for_afterwards(bench: Servers) -> None:
    after: list[list[str]] = []
    known: list[list[str]] = []

    class Noting(memory.Driver):
        def apply(self, work):  # type: ignore[no-untyped-def]
            after.extend([r.id.name for r in item.after] for item in work)
            return super().apply(work)

        def read(self, scopes, known_):  # type: ignore[no-untyped-def]
            known.append(sorted({r.id.name for r in known_[NORTH]}))
            return super().read(scopes, known_)

    bench.drivers = lambda scope: Noting(bench.server[scope.target])
    bench.declare(NORTH, A, B)
    bench.converge()
    bench.declare(NORTH, A)
    known.clear()
    after.clear()
    assert bench.apply().landed == 1
    assert after == [["a"]]
    assert known == [["a", "b"], ["a"]]


def test_many_scopes_take_two_commits_a_round(bench: Servers) -> None:
    for number in range(200):
        bench.declare(scope(f"s{number}"), A, B)
    outcome = bench.apply()
    assert (outcome.landed, outcome.exit_code) == (400, Exit.DONE)
    assert bench.ledger.commits == ["begin", "finish"]
    assert bench.server[NEAR].calls.count("apply") == 1
    assert bench.apply().landed == 0
    assert bench.ledger.commits == ["begin", "finish"]


def test_targets_are_written_at_the_same_time(bench: Servers) -> None:
    both = threading.Barrier(2, timeout=10)
    for server in bench.server.values():
        server.before_write = both.wait
    bench.declare(NORTH, A)
    bench.declare(WEST, A)
    with ThreadPoolExecutor(2) as executor:
        bench.executor = executor
        assert bench.apply().landed == 2


# -- modes and selection --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["observe", "propose"])
def test_a_mode_that_only_looks_writes_nothing_and_still_learns(bench: Servers, mode: str) -> None:
    bench.server[NEAR].put("north", A)
    bench.declare(NORTH, A, B, mode=mode)  # type: ignore[arg-type]
    outcome = bench.apply()
    assert (outcome.landed, outcome.exit_code) == (0, Exit.PARTLY)
    assert "apply" not in bench.server[NEAR].calls
    assert bench.states(NORTH) == {"a": (A,)}
    assert bench.ledger.commits == ["finish"]


def test_only_what_was_asked_for_is_done(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    outcome = bench.apply(wanted=lambda scope, id_: id_.name == "b")
    assert (names(outcome.scopes[NORTH].landed), outcome.exit_code) == (["b"], Exit.DONE)
    assert held(bench.server[NEAR]) == {"b": 10}


def approving(*names: str) -> Permissions:
    said = [{"resource": f"things/north/{n}", "why": "ticket 4711", "until": "2099-12-31"} for n in names]
    return Permissions(tuple(map(Approval.model_validate, said)))


def test_what_needs_an_approval_is_left_and_the_rest_is_done(bench: Servers) -> None:
    many = [thing(f"m{number}", size=10) for number in range(5)]
    bench.declare(NORTH, *many)
    bench.converge()
    bench.declare(NORTH, A)
    outcome = bench.apply()
    assert (names(outcome.scopes[NORTH].landed), outcome.exit_code) == (["a"], Exit.PARTLY)
    assert len(held(bench.server[NEAR])) == 6
    bench.declare_from(NORTH, lambda outputs: [A], permissions=approving(*(r.id.name for r in many)))
    assert bench.apply().landed == 5
    bench.converge()


# -- windows and emergencies -----------------------------------------------------------------------------------

SUNDAY = Hours(((Window.parse("sun 05:00-06:00"), "UTC"),))


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2027-03-28T{clock}Z")


def test_a_window_that_closes_during_the_run_holds_what_was_not_begun(bench: Servers) -> None:
    later = scope("later", NORTH)
    bench.declare_from(NORTH, lambda outputs: [A], hours=SUNDAY)
    bench.declare_from(later, lambda outputs: [B], hours=SUNDAY)
    bench.declare_from(scope("last", later), lambda outputs: [B])
    clock = iter([at("05:59"), at("06:00")])
    bench.engine = {"now": lambda: next(clock)}
    outcome = bench.apply()
    assert outcome.exit_code is Exit.PARTLY
    assert names(outcome.scopes[NORTH].landed) == ["a"]
    (plan,) = (plan for plan in outcome.plans if plan.scope == later)
    (step,) = plan.steps
    assert (step.standing, step.reason) == (Standing.HELD, "window opens Sun 4 Apr 05:00 (UTC)")
    assert outcome.scopes[scope("last")].held_by == later
    assert {*bench.server[NEAR].held} == {"north"}
    bench.engine = {"now": lambda: at("05:00")}
    assert bench.apply().landed == 2


def test_an_emergency_goes_on_after_the_window(bench: Servers) -> None:
    bench.declare_from(NORTH, lambda outputs: [A], hours=SUNDAY, closed="window opens", urgent=True)
    bench.engine = {"now": lambda: at("06:00")}
    assert bench.apply().landed == 1


def emergency(bench: Servers, *resources: Resource) -> None:
    """Somebody applies other resources than Git's main says."""
    bench.declare_from(NORTH, lambda outputs: resources, urgent=True)
    marked = Emergency("Paolo Zen", at("05:00"), "it burns", f"emergency/run-{bench.runs + 1}")
    bench.marked = marked
    assert bench.apply().exit_code is Exit.DONE
    bench.marked = None


def told(bench: Servers) -> set[str]:
    return {*bench.ledger.recorded()[NORTH].emergencies}


def test_an_emergency_is_over_when_git_says_what_it_did(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    bench.converge()
    emergency(bench, A2, B)
    assert told(bench) == {"run-3"}
    bench.declare(NORTH, A2, B, thing("c", size=10))
    assert names(bench.converge().scopes[NORTH].landed) == ["c"]
    assert told(bench) == set()


def test_an_emergency_is_not_over_while_something_of_it_waits(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    bench.converge()
    emergency(bench, A2, B)
    bench.declare(NORTH, A)
    outcome = bench.apply()
    assert (names(outcome.scopes[NORTH].landed), outcome.exit_code) == (["b"], Exit.PARTLY)
    assert held(bench.server[NEAR]) == {"a": 20}
    assert told(bench) == {"run-3"}
    bench.declare_from(NORTH, lambda outputs: [A], permissions=approving("a"))
    assert bench.apply().landed == 1
    assert told(bench) == set()


def test_an_emergency_is_over_though_somebody_changed_it_since(bench: Servers) -> None:
    """Git declares it; that it is otherwise now is drift, and told as such."""
    bench.declare(NORTH, A)
    bench.converge()
    emergency(bench, A2)
    bench.server[NEAR].put("north", thing("a", size=90))
    bench.declare(NORTH, A2)
    bench.apply()
    assert told(bench) == set()
    assert bench.causes(NORTH) == {"a": Cause.DRIFT}


@pytest.mark.parametrize("trouble", ["not committed", "down", "another emergency"])
def test_an_emergency_is_not_over_by_any_other_run(bench: Servers, trouble: str) -> None:
    bench.declare(NORTH, A)
    bench.converge()
    emergency(bench, A2)
    bench.engine = {"committed": trouble != "not committed"}
    bench.server[NEAR].down = trouble == "down"
    if trouble == "another emergency":
        emergency(bench, A2)
    else:
        bench.declare(NORTH, A2)
        bench.apply()
    assert told(bench) == {"run-3"}


# -- approvals are used up --------------------------------------------------------------------------------------


def test_an_approval_lets_one_change_through_once(bench: Servers) -> None:
    allowed = approving("a")
    for _ in range(2):
        bench.server[NEAR].put("north", thing("a", size=70))
        bench.declare_from(NORTH, lambda outputs: [A], permissions=allowed)
        outcome = bench.apply()
        bench.server[NEAR].held["north"].pop(A.id)
        bench.declare(NORTH)
        bench.apply()
        if outcome.landed:
            assert bench.ledger.recorded()[NORTH].used == {allowed.approvals[0].key}
    assert outcome.landed == 0
    assert bench.causes(NORTH) == {}


def test_an_approval_of_what_did_not_land_is_not_used_up(bench: Servers) -> None:
    bench.server[NEAR].put("north", thing("a", size=70))
    bench.declare_from(NORTH, lambda outputs: [A], permissions=approving("a"))
    bench.server[NEAR].breaks_after = {"north": 0}
    assert bench.apply().landed == 0
    bench.server[NEAR].breaks_after = {}
    assert bench.converge().landed == 1


def test_what_was_begun_and_never_made_is_not_taken_for_lost(bench: Servers) -> None:
    """Nothing is live and something is recorded: but only as an intent."""
    bench.declare(NORTH, A, B)
    bench.server[NEAR].breaks_after = {"north": 0}
    bench.apply()
    bench.server[NEAR].breaks_after = {}
    assert bench.converge().landed == 2


def test_without_its_locks_a_run_writes_nothing_more(bench: Servers) -> None:
    """Whoever has them may be at work in the same scopes, so nothing is learned either."""
    checks: list[int] = []

    class Lost:
        def check(self) -> None:
            checks.append(1)
            if len(checks) > 1:
                raise LockError("Maria has the lock")

    bench.held = Lost()
    bench.server[FAR].put("west", A)
    bench.declare(WEST, A)
    bench.declare(NORTH, A)
    bench.declare(scope("later", NORTH), A)
    outcome = bench.apply()
    assert names(outcome.scopes[NORTH].landed) == ["a"]
    assert outcome.scopes[scope("later")].error == "not started: Maria has the lock"
    assert outcome.exit_code is Exit.PARTLY
    assert bench.ledger.commits == ["begin", "finish"]
    assert WEST not in bench.ledger.recorded()


# -- failures stay where they are -----------------------------------------------------------------------------


def test_a_scope_that_breaks_half_way_says_what_landed(bench: Servers) -> None:
    bench.declare(NORTH, A, B, thing("c"))
    bench.declare(SOUTH, A)
    bench.server[NEAR].breaks_after = {"north": 1}
    outcome = bench.apply()
    end = outcome.scopes[NORTH]
    assert (names(end.landed), names(end.failed), end.error) == (["a"], ["b", "c"], "north is full")
    assert names(outcome.scopes[SOUTH].landed) == ["a"]
    assert outcome.exit_code is Exit.PARTLY
    assert outcome.unfinished == [end]
    assert bench.states(NORTH)["a"] == (A,)
    bench.server[NEAR].breaks_after = {}
    assert names(bench.converge().scopes[NORTH].landed) == ["b", "c"]


def test_a_target_that_goes_away_keeps_what_was_finished(bench: Servers) -> None:
    for each in (NORTH, SOUTH, WEST):
        bench.declare(each, A, B)
    bench.server[NEAR].down_after = 3
    outcome = bench.apply()
    assert names(outcome.scopes[WEST].landed) == ["a", "b"]
    assert (names(outcome.scopes[NORTH].landed), outcome.scopes[NORTH].error) == (["a", "b"], "")
    end = outcome.scopes[SOUTH]
    assert (names(end.landed), names(end.failed), end.error) == (["a"], ["b"], "memory went away")
    assert (end.unreachable, outcome.exit_code) == (True, Exit.PARTLY)
    bench.server[NEAR].down_after = None
    assert bench.converge().landed == 1


@pytest.mark.parametrize("where", ["opening", "applying", "half-way", "reading back", "traits"])
def test_a_defect_of_one_driver_costs_only_its_target(bench: Servers, where: str) -> None:
    written: list[str] = []

    class Defective(memory.Driver):
        @property
        def traits(self) -> Traits:  # type: ignore[override]
            return Traits(settle=1 / 0) if where == "traits" else Traits()

        def apply(self, work):  # type: ignore[no-untyped-def]
            if where == "half-way":
                yield next(iter(super().apply(work)))
            if where in ("applying", "half-way"):
                raise ZeroDivisionError("division by zero")
            written.append("yes")
            yield from super().apply(work)

        def read(self, scopes, known):  # type: ignore[no-untyped-def]
            if written and where == "reading back":
                raise ZeroDivisionError("division by zero")
            return super().read(scopes, known)

    def driver(scope: Scope) -> memory.Driver:
        if scope.target == FAR:
            return memory.Driver(bench.server[FAR])
        if where == "opening" and shown:
            raise ZeroDivisionError("division by zero")
        return Defective(bench.server[NEAR])

    bench.declare(NORTH, A, B)
    bench.declare(WEST, A)
    shown = bench.plan()
    bench.drivers = driver
    outcome = bench.apply(first=shown)
    assert names(outcome.scopes[WEST].landed) == ["a"]
    assert outcome.scopes[NORTH].error.endswith("the driver failed: ZeroDivisionError: division by zero")
    landed = {"half-way": ["a"], "reading back": ["a", "b"], "traits": ["a", "b"]}.get(where, [])
    assert names(outcome.scopes[NORTH].landed) == landed
    assert outcome.exit_code is Exit.PARTLY
    bench.drivers = lambda scope: memory.Driver(bench.server[scope.target])
    bench.converge()
    assert held(bench.server[NEAR]) == {"a": 10, "b": 10}


def test_a_scope_that_cannot_be_read_costs_only_itself(bench: Servers) -> None:
    for each in (NORTH, SOUTH, WEST):
        bench.declare(each, A)
    bench.server[NEAR].garbled = {"north"}
    bench.server[FAR].down = True
    outcome = bench.apply()
    assert names(outcome.scopes[SOUTH].landed) == ["a"]
    assert {p.scope: p.error for p in outcome.plans if p.error} == {
        NORTH: "north makes no sense",
        WEST: "no route to memory",
    }
    assert outcome.exit_code is Exit.PARTLY


@pytest.mark.parametrize("trouble", ["garbled", "silent"])
def test_what_cannot_be_read_back_is_an_error_and_stays_in_doubt(bench: Servers, trouble: str) -> None:
    bench.declare(NORTH, A)
    shown = bench.plan()
    setattr(bench.server[NEAR], trouble, {"north"})
    end = bench.apply(first=shown).scopes[NORTH]
    assert names(end.landed) == ["a"]
    assert (
        end.error
        == {
            "garbled": "cannot be read back: north makes no sense",
            "silent": "the driver gave no answer when it was read back",
        }[trouble]
    )
    assert bench.states(NORTH) == {"a": (None, A)}
    setattr(bench.server[NEAR], trouble, set())
    assert bench.converge().landed == 0
    assert bench.states(NORTH) == {"a": (A,)}


def test_a_lie_is_found_by_reading_back(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    bench.converge()
    bench.declare(NORTH, A2, thing("n", size=10))
    bench.server[NEAR].lies = {A.id, B.id, Id(memory.THING, "n")}
    outcome = bench.apply()
    end = outcome.scopes[NORTH]
    assert (end.landed, names(end.failed)) == ([], ["b", "a", "n"])
    assert end.error == "the target said yes, but reading back shows otherwise: b, a, n"
    assert outcome.exit_code is Exit.ERROR
    bench.server[NEAR].lies = {A.id}
    assert names(bench.apply().scopes[NORTH].landed) == ["b", "n"]
    bench.server[NEAR].lies = set()
    assert names(bench.converge().scopes[NORTH].landed) == ["a"]


def test_changes_that_a_driver_passes_over_are_not_believed(bench: Servers) -> None:
    class Forgetful(memory.Driver):
        def apply(self, work):  # type: ignore[no-untyped-def]
            foreign = Landed(NORTH, Change(None, thing("zzz")))
            return iter([*list(super().apply(work))[:1] * 2, foreign])

    bench.drivers = lambda scope: Forgetful(bench.server[scope.target])
    bench.declare(NORTH, A, B)
    end = bench.apply().scopes[NORTH]
    assert (names(end.landed), names(end.failed)) == (["a"], ["b"])
    assert end.error == "the driver did not say that these changes landed"


def test_a_target_that_needs_time_is_read_back_when_it_had_it(bench: Servers) -> None:
    times: list[float] = []

    class Slow(memory.Driver):
        traits = Traits(settle=0.05)

        def apply(self, work):  # type: ignore[no-untyped-def]
            yield from super().apply(work)
            times.append(time.monotonic())

        def read(self, scopes, known):  # type: ignore[no-untyped-def]
            times.append(time.monotonic())
            return super().read(scopes, known)

    bench.drivers = lambda scope: Slow(bench.server[scope.target])
    bench.declare(NORTH, A)
    bench.apply()
    assert times[2] - times[1] >= 0.05


def test_what_cannot_be_read_is_known_by_having_landed(bench: Servers) -> None:
    """A password is written when it is made and when Git changes it; then it is its user's."""
    first, second = thing("u", size=10, secret="s1"), thing("u", size=10, secret="s2")
    bench.declare(NORTH, first)
    bench.converge()
    bench.server[NEAR].held["north"][first.id]["secret"] = "the user's own"
    assert bench.causes(NORTH) == {}
    bench.declare(NORTH, thing("u", size=20, secret="s1"))
    bench.converge()
    assert bench.server[NEAR].held["north"][first.id] == {"size": 20, "secret": "the user's own"}
    bench.declare(NORTH, second)
    bench.converge()
    assert bench.server[NEAR].held["north"][first.id] == {"size": 10, "secret": "s2"}


def test_what_was_there_before_us_keeps_the_password_it_has(bench: Servers) -> None:
    bench.server[NEAR].put("north", thing("u", size=10, secret="the user's own"))
    bench.declare(NORTH, thing("u", size=10, secret="s1"))
    assert bench.converge().landed == 0
    bench.declare(NORTH, thing("u", size=10, secret="s2"))
    assert bench.converge().landed == 1


def test_a_password_whose_writing_is_in_doubt_is_written_again(bench: Servers) -> None:
    bench.declare(NORTH, thing("u", secret="s1"))
    bench.converge()
    bench.declare(NORTH, thing("u", secret="s2"))
    bench.server[NEAR].breaks_after = {"north": 0}
    bench.apply()
    bench.server[NEAR].breaks_after = {}
    assert names(bench.converge().scopes[NORTH].landed) == ["u"]


# -- the order of scopes --------------------------------------------------------------------------------------


def test_a_scope_starts_when_those_before_it_are_finished(bench: Servers) -> None:
    first, second = scope("first", target=FAR), scope("second", scope("first", target=FAR))
    third = scope("third", first, second)
    for each in (third, second, first):
        bench.declare(each, A)
    outcome = bench.apply()
    assert outcome.landed == 3
    assert bench.ledger.commits == ["begin", "finish"] * 3
    writes = [c for s in (bench.server[FAR], bench.server[NEAR]) for c in s.calls if c.startswith("create")]
    assert writes == ["create first a", "create second a", "create third a"]


def test_one_failure_holds_those_that_come_after_and_nobody_else(bench: Servers) -> None:
    first = scope("first")
    second, third = scope("second", first), scope("third", scope("second"))
    for each in (first, second, third, SOUTH):
        bench.declare(each, A, B)
    bench.server[NEAR].breaks_after = {"first": 1}
    outcome = bench.apply()
    assert {
        s.name: (len(e.landed), len(e.failed), e.held_by and e.held_by.name) for s, e in outcome.scopes.items()
    } == {
        "first": (1, 1, None),
        "south": (2, 0, None),
        "second": (0, 2, "first"),
        "third": (0, 2, "second"),
    }
    assert outcome.exit_code is Exit.PARTLY
    bench.server[NEAR].breaks_after = {}
    assert bench.converge().landed == 5


def unreadable(bench: Servers, first: Scope) -> None:
    bench.server[NEAR].garbled = {first.name}


def looked_at_only(bench: Servers, first: Scope) -> None:
    bench.declare(first, A, mode="observe")


def waiting(bench: Servers, first: Scope) -> None:
    bench.declare(first, thing("k", size=UNKNOWN))


@pytest.mark.parametrize("why", [unreadable, looked_at_only, waiting])
def test_what_is_not_finished_holds_even_if_nothing_failed(
    bench: Servers, why: Callable[[Servers, Scope], None]
) -> None:
    first = scope("first")
    bench.declare(first, A)
    bench.declare(scope("second", first), A)
    why(bench, first)
    outcome = bench.apply()
    assert (outcome.landed, outcome.exit_code) == (0, Exit.PARTLY)
    assert outcome.scopes[scope("second")].held_by == first
    assert names(outcome.scopes[scope("second")].failed) == ["a"]


def test_what_nobody_asked_for_and_what_is_done_holds_nothing(bench: Servers) -> None:
    bench.declare(NORTH, A)
    bench.converge()
    bench.declare(scope("second", NORTH, scope("elsewhere")), A)
    assert bench.converge().landed == 1


def test_scopes_that_wait_for_each_other_are_named(bench: Servers) -> None:
    one, other = scope("one", scope("other")), scope("other", scope("one"))
    bench.declare(one, A)
    bench.declare(other, A)
    bench.declare(scope("later", one), A)
    bench.declare(SOUTH, A)
    outcome = bench.apply()
    assert names(outcome.scopes[SOUTH].landed) == ["a"]
    for each in (one, other, scope("later")):
        assert names(outcome.scopes[each].failed) == ["a"]
        assert "wait for each other" in outcome.scopes[each].error
    assert "create one a" not in bench.server[NEAR].calls
    assert outcome.exit_code is Exit.PARTLY


# -- what a scope hands out -----------------------------------------------------------------------------------


def key_of(outputs: Outputs) -> list[Resource]:
    """A record with the key that the scope `north` hands out."""
    return [thing("record", label=outputs.get(NORTH, {}).get("key", UNKNOWN)), B]


def label(bench: Servers) -> object:
    return bench.server[FAR].held["west"][Id(memory.THING, "record")]["label"]


def test_an_output_is_waited_for_and_used_in_the_same_apply(bench: Servers) -> None:
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare_from(WEST, key_of)
    bench.declare(NORTH, A)
    assert bench.plan()[WEST].unknown == [Id(memory.THING, "record")]
    outcome = bench.converge()
    assert label(bench) == "k1"
    assert names(outcome.scopes[WEST].landed) == ["b", "record"]
    assert sorted(p.scope for p in outcome.plans) == [NORTH, WEST]
    assert bench.outputs() == {NORTH: {"key": "k1"}}


def test_an_output_that_is_there_already_is_read(bench: Servers) -> None:
    """The ledger was lost, or the estate imported: nothing is applied to the scope that hands it out."""
    bench.server[NEAR].put("north", A)
    bench.server[NEAR].outputs = {"north": {"key": "k1"}}
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    bench.converge()
    assert label(bench) == "k1"
    assert bench.outputs() == {NORTH: {"key": "k1"}}


def test_an_output_that_is_told_once_and_never_read_is_used(bench: Servers) -> None:
    """A password that the target makes."""

    class Once(memory.Driver):
        def apply(self, work):  # type: ignore[no-untyped-def]
            for answer in super().apply(work):
                assert isinstance(answer, Landed)
                yield replace(answer, outputs={"key": "k1"})

    bench.drivers = lambda scope: (Once if scope == NORTH else memory.Driver)(bench.server[scope.target])
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    bench.converge()
    assert label(bench) == "k1"
    assert bench.outputs() == {NORTH: {"key": "k1"}}


def test_an_output_that_changed_outside_is_followed(bench: Servers) -> None:
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    bench.converge()
    bench.server[NEAR].outputs = {"north": {"key": "k2"}}
    assert names(bench.converge().scopes[WEST].landed) == ["record"]
    assert label(bench) == "k2"


def test_a_later_wave_does_what_was_awaited_and_nothing_else(bench: Servers) -> None:
    """What nobody saw when the plan was shown waits for the next run."""
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    shown = as_plan(bench.plan())
    limit = partial(sealed.later, shown=shown)
    assert names(bench.apply(limit=limit).scopes[WEST].landed) == ["b", "record"]
    bench.server[NEAR].hands_out = {"north": {"key": "k2"}}
    bench.declare(NORTH, thing("a", size=30))
    shown = as_plan(bench.plan())
    outcome = bench.apply(limit=partial(sealed.later, shown=shown))
    assert names(outcome.scopes[NORTH].landed) == ["a"]
    assert label(bench) == "k1"
    (west,) = (plan for plan in outcome.plans if plan.scope == WEST)
    assert [(s.standing, s.reason) for s in west.steps] == [
        (Standing.HELD, "changes by what this run has made (run again)")
    ]
    assert outcome.exit_code == Exit.PARTLY
    bench.converge()
    assert label(bench) == "k2"


def test_an_unreachable_source_keeps_what_was_recorded(bench: Servers) -> None:
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    bench.converge()
    bench.server[NEAR].down = True
    outcome = bench.apply()
    assert (outcome.landed, outcome.exit_code) == (0, Exit.UNREACHABLE)
    assert label(bench) == "k1"


def test_outputs_go_down_a_chain(bench: Servers) -> None:
    def from_west(outputs: Outputs) -> list[Resource]:
        return [thing("last", label=outputs.get(WEST, {}).get("address", UNKNOWN))]

    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare_from(SOUTH, from_west)
    bench.declare_from(WEST, key_of)
    bench.declare(NORTH, A)

    class HandsOut(memory.Driver):
        def apply(self, work):  # type: ignore[no-untyped-def]
            for answer in super().apply(work):
                if isinstance(answer, Landed) and answer.change.id.name == "record":
                    self.server.outputs["west"] = {"address": "192.0.2.1"}
                yield answer

    bench.drivers = lambda scope: HandsOut(bench.server[scope.target])
    bench.converge()
    assert bench.server[NEAR].held["south"][Id(memory.THING, "last")]["label"] == "192.0.2.1"


def test_only_what_an_output_changes_is_declared_and_read_again(bench: Servers) -> None:
    asked: list[Outputs] = []

    def counting(outputs: Outputs) -> list[Resource]:
        asked.append(dict(outputs))
        return [A]

    bench.declare_from(SOUTH, counting)
    bench.apply()
    assert asked == [{}]
    assert bench.server[NEAR].calls.count("read") == 2
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    bench.apply()
    assert asked == [{}, {}, {NORTH: {"key": "k1"}}]
    assert bench.server[NEAR].calls.count("read") == 4  # planned, and read back
    assert bench.server[FAR].calls.count("read") == 4  # both of that twice


def test_what_failed_is_not_tried_again_when_outputs_arrive(bench: Servers) -> None:
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.server[FAR].breaks_after = {"west": 0}
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    outcome = bench.apply()
    assert outcome.scopes[WEST].error == "west is full"
    assert bench.server[FAR].calls.count("apply") == 1


def test_what_was_due_is_forgotten_when_an_output_makes_it_true(bench: Servers) -> None:
    """It waits for a scope that waits for the output, so it is planned again before it starts."""

    def beside_the_key(outputs: Outputs) -> list[Resource]:
        return [A] if NORTH in outputs else [A, B]

    bench.server[FAR].put("west", A)
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare(NORTH, A)
    bench.declare_from(SOUTH, key_of)
    bench.declare_from(scope("west", SOUTH, target=FAR), beside_the_key)
    outcome = bench.apply()
    assert (WEST in outcome.scopes, outcome.exit_code) == (False, Exit.DONE)


def test_what_nobody_makes_is_not_called_done(bench: Servers) -> None:
    bench.declare(NORTH, A)
    bench.declare_from(WEST, key_of)
    outcome = bench.apply()
    end = outcome.scopes[WEST]
    assert (names(end.landed), end.waits) == (["b"], [Id(memory.THING, "record")])
    assert outcome.exit_code is Exit.PARTLY


def test_a_scope_that_cannot_be_read_for_its_second_wave_is_not_finished(bench: Servers) -> None:
    def key_and_no_answer(outputs: Outputs) -> list[Resource]:
        bench.server[FAR].garbled = {"west"} if NORTH in outputs else set()
        return key_of(outputs)

    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.declare_from(WEST, key_and_no_answer)
    bench.declare(NORTH, A)
    outcome = bench.apply()
    end = outcome.scopes[WEST]
    assert (names(end.landed), end.error) == (["b"], "west makes no sense")
    assert outcome.exit_code is Exit.PARTLY
    bench.declare_from(WEST, key_of)
    bench.server[FAR].garbled = set()
    bench.converge()
    assert label(bench) == "k1"


def test_outputs_of_a_failed_scope_hold_what_waits_for_them(bench: Servers) -> None:
    bench.server[NEAR].hands_out = {"north": {"key": "k1"}}
    bench.server[NEAR].breaks_after = {"north": 0}
    bench.declare(NORTH, A)
    bench.declare_from(scope("west", NORTH, target=FAR), key_of)
    outcome = bench.apply()
    assert outcome.scopes[WEST].held_by == NORTH
    assert outcome.scopes[WEST].waits == [Id(memory.THING, "record")]
    assert bench.server[FAR].held == {}
    bench.server[NEAR].breaks_after = {}
    bench.converge()


def test_outputs_that_change_with_every_apply_are_a_defect(bench: Servers) -> None:
    def counting(outputs: Outputs) -> list[Resource]:
        number = outputs.get(NORTH, {}).get("n", 0)
        assert isinstance(number, int)
        return [thing("n", size=number * 10)]

    class Counting(memory.Driver):
        def apply(self, work):  # type: ignore[no-untyped-def]
            self.server.outputs["north"] = {"n": self.server.calls.count("apply") + 1}
            yield from super().apply(work)

    bench.drivers = lambda scope: Counting(bench.server[scope.target])
    bench.declare_from(NORTH, counting)
    outcome = bench.apply()
    assert outcome.scopes[NORTH].error == "what it is made from changes with every apply"
    assert bench.server[NEAR].calls.count("apply") == MAX_WAVES


# -- the ledger -----------------------------------------------------------------------------------------------


def test_without_a_recorded_intent_nothing_is_written(bench: Servers) -> None:
    bench.ledger.begin_fails = True
    bench.declare(NORTH, A)
    bench.declare(scope("later", NORTH), A)
    bench.server[FAR].put("west", A)
    bench.declare(WEST, A)
    outcome = bench.apply()
    assert (outcome.landed, outcome.exit_code) == (0, Exit.ERROR)
    assert outcome.ledger_error == "the ledger cannot be pushed"
    for each in (NORTH, scope("later")):
        assert outcome.scopes[each].error == "not started: the ledger cannot be pushed"
        assert names(outcome.scopes[each].failed) == ["a"]
    assert bench.server[NEAR].held == {}
    assert bench.ledger.commits == []


def test_an_outcome_that_cannot_be_recorded_is_told_and_nothing_is_lost(bench: Servers) -> None:
    bench.declare(NORTH, A)
    bench.converge()
    bench.declare(NORTH, A2, B)
    bench.ledger.finish_fails = True
    outcome = bench.apply()
    assert (outcome.landed, outcome.exit_code) == (2, Exit.ERROR)
    assert outcome.ledger_error == "the outcome cannot be pushed"
    assert bench.states(NORTH) == {"a": (A, A2), "b": (None, B)}
    bench.ledger.finish_fails = False
    assert bench.converge().landed == 0
    assert bench.states(NORTH) == {"a": (A2,), "b": (B,)}


class Killed(BaseException):
    pass


class Killing(Inline):
    """Kills us when it is about to write, or when it has written."""

    def __init__(self, when: str) -> None:
        self.when = when

    def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
        if fn is on_target:
            if self.when == "before":
                raise Killed
            super().submit(fn, *args, **kwargs)
            raise Killed
        return super().submit(fn, *args, **kwargs)


def killed(when: str, bench: Servers) -> None:
    bench.executor = Killing(when)
    with pytest.raises(Killed):
        bench.apply()
    bench.executor = Inline()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("then", ["the same", "back", "on", "gone"])
def test_after_a_kill_a_new_run_converges_without_a_conflict(bench: Servers, when: str, then: str) -> None:
    """Whether the writes happened or not, and wherever Git went since."""
    old = [thing("a", size=10, secret="s1"), thing("gone", size=10)]
    new = [thing("a", size=20, secret="s2"), thing("new", size=10)]
    newer = [thing("a", size=30, secret="s3"), thing("new", size=50), thing("gone", size=50)]
    bench.declare(NORTH, *old)
    bench.converge()
    bench.declare(NORTH, *new)
    killed(when, bench)
    assert len(bench.in_doubt()) == 3
    bench.declare(NORTH, *{"the same": new, "back": old, "on": newer, "gone": []}[then])
    assert set(bench.causes(NORTH).values()) <= {Cause.PENDING}
    bench.converge()
    assert bench.causes(NORTH) == {}
    sizes = {"the same": {"a": 20, "new": 10}, "back": {"a": 10, "gone": 10}, "on": {"a": 30, "new": 50, "gone": 50}}
    assert held(bench.server[NEAR]) == sizes.get(then, {})
    if then != "gone":
        secret = bench.server[NEAR].held["north"][A.id]["secret"]
        assert secret == {"the same": "s2", "back": "s1", "on": "s3"}[then]


def test_what_a_killed_run_had_done_is_found_and_told_once(bench: Servers) -> None:
    bench.declare(NORTH, A, thing("gone", size=10))
    bench.converge()
    bench.declare(NORTH, A2, B)
    killed("after", bench)
    bench.declare(NORTH, A2, thing("b", size=30))
    outcome = bench.apply()
    end = outcome.scopes[NORTH]
    assert (names(end.landed), outcome.exit_code) == (["b"], Exit.DONE)
    assert {(c.verb, c.id.name) for c in end.found} == {("update", "a"), ("create", "b"), ("delete", "gone")}
    assert bench.ledger.last(NORTH) == (*end.found, *end.landed)
    shown = outcomes.of_outcome(outcome, "mspctl apply")
    assert {(line.label, line.name) for line in shown.blocks[0].lines} == {
        *(("found done", name) for name in ("a", "b", "gone")),
        ("updated", "b"),
    }
    said = "1 change landed. 3 changes found done, of a run that did not come to its end. Nothing is pending."
    assert shown.summary == said
    assert bench.apply().scopes == {}


def test_what_a_killed_run_had_done_is_found_where_nothing_is_left_to_do(bench: Servers) -> None:
    for when, found, landed in (("after", ["a"], 0), ("before", [], 1)):
        bench.declare(NORTH, thing("a", size=10))
        bench.converge()
        bench.declare(NORTH, A2)
        killed(when, bench)
        outcome = bench.apply()
        assert (names(outcome.scopes[NORTH].found), outcome.landed, outcome.exit_code) == (found, landed, Exit.DONE)
        assert names(bench.ledger.last(NORTH)) == ["a"]


def test_a_killed_run_leaves_the_drift_that_it_did_not_mend(bench: Servers) -> None:
    bench.declare(NORTH, thing("a", size=10, label="x"))
    bench.converge()
    bench.server[NEAR].put("north", thing("a", size=10, label="theirs"))
    bench.declare(NORTH, thing("a", size=20, label="x"))
    killed("before", bench)
    bench.converge()
    assert bench.causes(NORTH) == {"a": Cause.DRIFT}
    assert bench.server[NEAR].held["north"][A.id]["label"] == "theirs"


def test_a_kill_among_several_targets_records_those_that_were_done(bench: Servers) -> None:
    class Half(Inline):
        def submit(self, fn, /, *args, **kwargs):  # type: ignore[no-untyped-def]
            future: Future[object] = Future()
            if fn is not on_target or args[1][0].plan.scope != WEST:
                return super().submit(fn, *args, **kwargs)
            threading.Timer(0.1, future.set_exception, [Killed()]).start()
            return future

    bench.declare(NORTH, A)
    bench.declare(WEST, A)
    bench.executor = Half()
    with pytest.raises(Killed):
        bench.apply()
    assert bench.states(NORTH) == {"a": (A,)}
    assert bench.states(WEST) == {"a": (None, A)}


def test_looking_at_what_is_in_doubt_does_not_end_the_doubt_wrongly(bench: Servers) -> None:
    """A run that may not write, and cannot tell, learns nothing; and what it can tell is right."""
    bench.declare(NORTH, A, B)
    bench.converge()
    bench.declare(NORTH, A2, B)
    killed("after", bench)
    bench.declare(NORTH, thing("a", size=30), B, mode="observe")
    bench.apply()
    assert bench.states(NORTH)["a"] == (A2,)
    bench.declare(NORTH, thing("a", size=30), B)
    assert bench.causes(NORTH) == {"a": Cause.PENDING}
    bench.converge()


def test_failures_leave_doubt_only_where_there_is_some(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    bench.converge()
    bench.declare(NORTH, A2, thing("b", size=20))
    bench.server[NEAR].breaks_after = {"north": 1}
    bench.apply()
    assert bench.states(NORTH) == {"a": (A2,), "b": (B,)}


def test_kinds_that_cannot_be_read_keep_what_is_recorded(bench: Servers) -> None:
    sole = thing("s", kind=memory.SOLE, size=10)
    bench.declare(NORTH, A, sole)
    bench.converge()
    bench.server[NEAR].missing = frozenset({memory.SOLE})
    bench.declare(NORTH, A2)
    bench.converge()
    assert bench.states(NORTH) == {"a": (A2,), "s": (sole,)}
    bench.server[NEAR].missing = frozenset()
    bench.declare(NORTH, A2, sole)
    bench.converge()


def test_handing_a_resource_over_to_somebody_else_deletes_nothing(bench: Servers) -> None:
    bench.declare(NORTH, A, B)
    bench.converge()
    bench.declare(NORTH, B, ignore=["a"])
    bench.converge()
    assert held(bench.server[NEAR]) == {"a": 10, "b": 10}


# -- exit codes -----------------------------------------------------------------------------------------------


def end(landed: int = 0, **more: object) -> ScopeOutcome:
    return ScopeOutcome(NORTH, [Change(None, A)] * landed, **more)  # type: ignore[arg-type]


HELD_STEP = ScopePlan(NORTH, steps=[Step(Change(None, A), Standing.HELD)])
SILENT, BROKEN = ScopePlan(SOUTH, error="silent", unreachable=True), ScopePlan(WEST, error="500")
EXITS: list[tuple[str, list[ScopePlan], list[ScopeOutcome], Exit]] = [
    ("nothing to do", [ScopePlan(NORTH)], [], Exit.DONE),
    ("all landed", [], [end(2)], Exit.DONE),
    ("failed", [], [end(error="x")], Exit.ERROR),
    ("failed half-way", [], [end(1, error="x")], Exit.PARTLY),
    ("failed, another landed", [], [end(error="x"), end(1)], Exit.PARTLY),
    ("failed, and held by it", [], [end(error="x"), end(held_by=SOUTH)], Exit.PARTLY),
    ("waits", [], [end(waits=[A.id])], Exit.PARTLY),
    ("held by its mode", [HELD_STEP], [], Exit.PARTLY),
    ("unreachable", [SILENT], [], Exit.UNREACHABLE),
    ("unreachable, another landed", [SILENT], [end(1)], Exit.PARTLY),
    ("unreachable when written", [], [end(error="silent", unreachable=True)], Exit.UNREACHABLE),
    ("unreachable, and failed", [SILENT], [end(error="x")], Exit.ERROR),
    ("unreachable, and not readable", [SILENT, BROKEN], [], Exit.ERROR),
    ("not readable, another landed", [BROKEN], [end(1)], Exit.PARTLY),
]


@pytest.mark.parametrize(("plans", "ends", "code"), [row[1:] for row in EXITS], ids=[row[0] for row in EXITS])
def test_exit_codes(plans: list[ScopePlan], ends: list[ScopeOutcome], code: Exit) -> None:
    scopes = {replace(NORTH, name=str(number)): one for number, one in enumerate(ends)}
    assert Outcome(plans, scopes).exit_code is code
    assert Outcome(plans, scopes, "the ledger cannot be pushed").exit_code is Exit.ERROR


@pytest.mark.parametrize(("error", "code"), [(Unreachable("x"), Exit.UNREACHABLE), (TargetError("x"), Exit.ERROR)])
def test_a_target_that_is_gone_when_it_is_written(bench: Servers, error: Exception, code: Exit) -> None:
    bench.declare(NORTH, A)
    shown = bench.plan()
    bench.server[NEAR].defect = error
    assert bench.apply(first=shown).exit_code is code
