"""
Random histories against the real engine: edits in Git, merges, applies that fail or are killed, hands on the targets,
ledgers lost, targets restored, customers renamed. After each step the promises hold, or the shortest history that
breaks one is printed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mspctl.model.permissions import Acceptance, Approval
from mspctl.plan import PENDING, REVERT
from mspctl.resource import Cause
from tests.trust.git import BOX, FACET, SECRET, Held, Typed, value
from tests.trust.world import KINDS, PLACES, SCOPES, TARGETS, Broken, Trouble, World

NAMES = ("a", "b", "c", "d", "e", BOX)
VALUES: dict[str, tuple[str | int, ...]] = {
    "size": (10, 15, 20, 30),
    "label": ("x", "X", "y"),
    "tags": ("", "p", "pq", "pqrst"),
    SECRET: ("s1", "s2"),
}

# The first of each more often than the others, so that histories meet themselves.
places = st.sampled_from((*PLACES[:1] * 4, *PLACES))
names = st.sampled_from((*NAMES[:1] * 3, *NAMES))
several = st.lists(names, min_size=1, max_size=6, unique=True)
fields = st.fixed_dictionaries({}, optional={name: st.sampled_from(found) for name, found in VALUES.items()})
cells = st.sampled_from([(name, typed) for name, found in VALUES.items() for typed in found])
customers = st.sampled_from(("acme", "birch"))
paths = st.sampled_from([f"{FACET}/{s}{n and '/'}{n}" for s in SCOPES for n in ("", "", *NAMES)])


def held(typed: Typed) -> Held:
    return {name: value(name, text) for name, text in typed.items()}


def step(**arguments: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule, after which the plan is checked. An `invariant` would be printed after each line of a history."""

    def made(do: Callable[..., None]) -> Any:
        @wraps(do)
        def done(self: Histories, **drawn: Any) -> None:
            Histories.steps += 1
            try:
                do(self, **drawn)
            except Broken as error:
                raise AssertionError(str(error)) from error  # a failure like any other: its history is shortened
            self.world.check()

        return rule(**arguments)(done)  # type: ignore[no-untyped-call]

    return made


class Histories(RuleBasedStateMachine):
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.git = self.world.git

    @initialize(applied=st.booleans())
    def start(self, applied: bool) -> None:
        """An estate at work, or nothing at all."""
        if applied:
            for place in PLACES[:3]:
                section = self.git.section(place, "acme")
                section.resources |= {name: held({"size": 10, "tags": "pq"}) for name in NAMES}
            self.world.apply()

    # -- Git ------------------------------------------------------------------------------------------------------

    @step(place=places, name=names, fields=fields)
    def declare(self, place: str, name: str, fields: Typed) -> None:
        self.git.section(place, "acme").resources[name] = held(fields)

    @step(place=places, names=several, cell=cells)
    def edit(self, place: str, names: list[str], cell: tuple[str, str | int]) -> None:
        """One field of several resources."""
        self.edit_in_git(place, names, cell)

    def edit_in_git(self, place: str, names: list[str], cell: tuple[str, str | int]) -> None:
        found = self.git.section(place, "acme").resources
        for name in found.keys() & set(names):
            found[name] = {**found[name], **held({cell[0]: cell[1]})}

    @step(place=places, name=names, field=st.sampled_from([*VALUES]))
    def leave_out(self, place: str, name: str, field: str) -> None:
        self.git.section(place, "acme").resources.get(name, {}).pop(field, None)

    @step(place=places, names=several)
    def remove(self, place: str, names: list[str]) -> None:
        found = self.git.section(place, "acme").resources
        for name in names:
            found.pop(name, None)

    @step(place=places)
    def forget_section(self, place: str) -> None:
        self.git.sections.pop(place, None)

    @step(place=places, what=st.sampled_from(["", "", *KINDS]), after=st.integers(0, 4))
    def retire(self, place: str, what: str, after: int) -> None:
        """What left Git goes, when somebody names it."""
        if place not in self.git.sections:
            self.world.retire(place, Trouble(what, place, after))

    @step(place=places)
    def forget_and_retire(self, place: str) -> None:
        self.git.sections.pop(place, None)
        self.world.retire(place, Trouble())

    @step(place=places, to=places)
    def move_section(self, place: str, to: str) -> None:
        if place in self.git.sections and to not in self.git.sections:
            self.git.sections[to] = self.git.sections.pop(place)

    @step(place=places, customer=customers)
    def hand_over(self, place: str, customer: str) -> None:
        self.git.section(place, customer).customer = customer

    @step(old=customers)
    def rename(self, old: str) -> None:
        self.git.rename(old, "birch" if old == "acme" else "acme")

    @step(place=places, mode=st.sampled_from(["observe", "enforce", "enforce", "enforce"]))
    def set_mode(self, place: str, mode: str) -> None:
        self.git.section(place, "acme").mode = "observe" if mode == "observe" else "enforce"

    @step(customer=customers, path=paths, days=st.sampled_from([-1, 0, 14, 14]), why=st.sampled_from(["t1", "t2"]))
    def approve_ahead(self, customer: str, path: str, days: int, why: str) -> None:
        self.approve(customer, path, days, why)

    def approve(self, customer: str, path: str, days: int, why: str) -> None:
        until = str(self.world.witness.today + timedelta(days))
        said = Approval.model_validate({"resource": path, "why": why, "until": until})
        self.git.approvals.setdefault(customer, []).append(said)

    @step(place=places, whole=st.booleans(), revert=st.booleans())
    def approve_what_waits(self, place: str, whole: bool, revert: bool) -> None:
        """Somebody reads the plan, and names what it asks for: each, or the scope."""
        self.approve_what_waits_for(place, whole, REVERT if revert else PENDING)

    def approve_what_waits_for(self, place: str, whole: bool, causes: frozenset[Cause]) -> None:
        for path in self.world.waiting(place, whole, causes):
            self.approve(self.git.sections[place].customer, path, 14, "t3")

    @step(place=places, whole=st.booleans())
    def approve_and_apply(self, place: str, whole: bool) -> None:
        """A pull request that names what waits, and its merge."""
        self.approve_what_waits_for(place, whole, PENDING)
        self.world.apply()

    @step(place=places, also=st.sampled_from(["", "", "drift", "unmanaged"]))
    def opt_in(self, place: str, also: str) -> None:
        causes = {"drift": frozenset({Cause.DRIFT}), "unmanaged": frozenset({Cause.UNMANAGED})}
        self.git.section(place, "acme").also = causes.get(also, frozenset())

    @step(customer=customers, path=paths, days=st.sampled_from([-1, 3]))
    def accept(self, customer: str, path: str, days: int) -> None:
        self.accept_in_git(customer, path, days)

    def accept_in_git(self, customer: str, path: str, days: int) -> None:
        until = str(self.world.witness.today + timedelta(days))
        said = Acceptance.model_validate({"resource": path, "why": "later", "until": until, "who": "Paolo"})
        self.git.accepted.setdefault(customer, []).append(said)

    @step(place=places, names=several, cell=cells)
    def accept_what_is_edited_by_hand(self, place: str, names: list[str], cell: tuple[str, str | int]) -> None:
        """Somebody changes a field by hand, and says that it stays so."""
        self.edit_by_hand_in(place, names, cell)
        for name in names:
            self.accept_in_git(self.git.section(place, "acme").customer, f"{FACET}/{place.partition('@')[0]}/{name}", 3)

    @step(customer=customers)
    def withdraw_permissions(self, customer: str) -> None:
        self.git.approvals.pop(customer, None)
        self.git.accepted.pop(customer, None)

    @step(days=st.sampled_from([1, 15]))
    def days_pass(self, days: int) -> None:
        self.world.witness.today += timedelta(days)
        self.world.ledger.today = self.world.witness.today

    @step(place=places)
    def adopt(self, place: str) -> None:
        if place in self.git.sections:
            self.world.adopt(place)

    # -- hands on the targets, and what becomes of the ledger -----------------------------------------------------

    @step(place=places, name=names, fields=fields)
    def put_by_hand(self, place: str, name: str, fields: Typed) -> None:
        self.world.put(place, name, held(fields))

    @step(place=places, names=several, cell=cells)
    def edit_by_hand(self, place: str, names: list[str], cell: tuple[str, str | int]) -> None:
        self.edit_by_hand_in(place, names, cell)

    def edit_by_hand_in(self, place: str, names: list[str], cell: tuple[str, str | int]) -> None:
        for name in names:
            if (found := self.world.witness.held(place).get(name)) is not None:
                self.world.put(place, name, {**found, **held({cell[0]: cell[1]})})

    @step(place=places, names=several)
    def delete_by_hand(self, place: str, names: list[str]) -> None:
        for name in names:
            self.world.put(place, name, None)

    @step(server=st.sampled_from(TARGETS))
    def back_up(self, server: str) -> None:
        self.world.copy(server)

    @step(server=st.sampled_from(TARGETS))
    def restore(self, server: str) -> None:
        if server in self.world.copies:
            self.world.restore(server)

    @step(lost=st.lists(places, min_size=1, max_size=4, unique=True))
    def lose_ledger(self, lost: list[str]) -> None:
        for place in lost:
            self.world.lose(place)

    # -- runs -----------------------------------------------------------------------------------------------------

    @step(shown=st.booleans())
    def apply(self, shown: bool) -> None:
        self.world.apply(shown=shown)

    @step()
    def apply_and_revert(self) -> None:
        self.world.apply(REVERT)

    @step(
        what=st.sampled_from(KINDS),
        place=places,
        after=st.integers(0, 4),
        revert=st.booleans(),
        shown=st.booleans(),
    )
    def apply_in_trouble(self, what: str, place: str, after: int, revert: bool, shown: bool) -> None:
        self.world.apply(REVERT if revert else PENDING, Trouble(what, place, after), shown)

    @step(revert=st.booleans())
    def save_plan(self, revert: bool) -> None:
        self.world.save(REVERT if revert else PENDING)

    @step(place=places, first=cells, names=several, cell=cells)
    def merge_after_review(
        self, place: str, first: tuple[str, str | int], names: list[str], cell: tuple[str, str | int]
    ) -> None:
        """One edit is reviewed, another is merged before it is applied."""
        self.edit_in_git(place, [*NAMES], first)
        self.world.save(PENDING)
        self.edit_in_git(place, names, cell)
        self.world.apply_saved()

    @precondition(lambda self: self.world.saved is not None)
    @step()
    def apply_saved(self) -> None:
        self.world.apply_saved()


def run(examples: int, **more: Any) -> int:
    Histories.steps = 0
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )
    return Histories.steps


def test_promises_hold_in_every_history() -> None:
    assert run(300, derandomize=True, database=None) >= 10_000


@pytest.mark.soak
def test_promises_hold_in_ten_times_as_many() -> None:
    assert run(2_600) >= 100_000
