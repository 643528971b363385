"""Which steps are for the run of another merge: by what is declared here, was before, and is in main by now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from mspctl.apply import Outcome
from mspctl.desired import Declaration
from mspctl.exits import Exit
from mspctl.kinds import dns
from mspctl.other_merges import DUE, EARLIER, NEWER, Says, set_aside
from mspctl.plan import ScopePlan, Standing, Step
from mspctl.report import as_issues, outcomes
from mspctl.resource import Cause, Change, Resource, Scope

ZONE = Scope("ns-1", "dns", "acme.example", "acme")


def a(name: str, address: str, ttl: int = 300) -> Resource:
    return dns.rrset(name, "A", ttl, [address])


OLD, NEW, NEWEST = a("www", "192.0.2.1"), a("www", "192.0.2.2"), a("www", "192.0.2.3")
UPDATE = Step(Change(OLD, NEW))


def says(
    here: Sequence[Resource], before: Sequence[Resource] | None = None, main: Sequence[Resource] | None = None
) -> Says:
    made = [{ZONE: Declaration(ZONE, it)} if it is not None else None for it in (here, before, main)]
    return Says(made[0] or {}, *made[1:])


@pytest.mark.parametrize(
    ("known", "step", "reviewed", "why"),
    [
        (says([NEW], before=[OLD]), UPDATE, False, ""),  # this merge's own, and nobody reviewed it
        (says([NEW], before=[NEW]), UPDATE, False, EARLIER),
        (says([NEW], before=[NEW]), UPDATE, True, ""),  # it was in the plan, because it was not applied then
        (says([NEW]), UPDATE, False, ""),  # what was before is not known
        (says([NEW], before=[NEW]), replace(UPDATE, change=Change(OLD, NEW, Cause.DRIFT)), False, ""),
        (says([NEW], before=[NEW]), replace(UPDATE, standing=Standing.APPROVAL), False, ""),
        (says([NEW], before=[OLD], main=[NEW]), UPDATE, True, ""),
        (says([NEW], before=[OLD], main=[NEWEST]), UPDATE, True, NEWER),
        (says([NEW], before=[OLD], main=[]), UPDATE, True, NEWER),
        (says([NEW], before=[NEW], main=[NEWEST]), replace(UPDATE, standing=Standing.APPROVAL), False, NEWER),
        # Main says something else of a field that this does not change.
        (says([NEW], before=[OLD], main=[a("www", "192.0.2.2", 60)]), UPDATE, True, ""),
        (says([], before=[], main=[OLD]), Step(Change(OLD, None)), False, NEWER),
        (says([], before=[], main=[]), Step(Change(OLD, None)), False, EARLIER),
        (says([], before=[OLD], main=[]), Step(Change(OLD, None)), True, ""),
        (says([OLD], before=[OLD], main=[]), Step(Change(None, OLD)), False, NEWER),
        (Says({}, {}), UPDATE, False, ""),  # a scope that left Git is nobody's but whose approval names it
        (Says({}, {}, {}), Step(Change(OLD, None)), True, ""),
        *(
            (Says({}, {}, {ZONE: Declaration(ZONE, left)}), Step(Change(OLD, None)), True, NEWER)  # it came back
            for left in ([OLD], [])
        ),
        # An approval lets Git win over a hand, and main says something else by now.
        (
            says([NEW], before=[OLD], main=[OLD]),
            Step(Change(NEWEST, NEW, Cause.CONFLICT), approval="ours"),
            True,
            NEWER,
        ),
    ],
)
def test_whose_a_step_is(known: Says, step: Step, reviewed: bool, why: str) -> None:
    assert known.why(ZONE, step, reviewed=reviewed) == why


def test_what_main_only_looks_at_by_now_is_not_written() -> None:
    observed = Says({ZONE: Declaration(ZONE, [NEW])}, {}, {ZONE: Declaration(ZONE, [NEW], mode="observe")})
    assert observed.why(ZONE, UPDATE, reviewed=True) == NEWER
    # And where this merge says that it is written, what becomes of that was to be reviewed.
    enforced = Says({ZONE: Declaration(ZONE, [NEW])}, {ZONE: Declaration(ZONE, [NEW], mode="observe")})
    assert enforced.why(ZONE, UPDATE, reviewed=False) == ""


def test_what_time_made_due_is_for_the_schedule() -> None:
    timed = Declaration(ZONE, [NEW], timed={NEW.id: "began 2027-03-05"})
    assert Says({ZONE: timed}, {ZONE: timed}).why(ZONE, UPDATE, reviewed=False) == DUE
    for before, why in ((OLD, DUE), (NEWEST, EARLIER)):  # clocks were set, or somebody edited it
        clocks = replace(timed, shifted={NEW.id: [before.fields]})
        assert Says({ZONE: clocks}, {ZONE: clocks}).why(ZONE, UPDATE, reviewed=False) == why


def test_what_is_set_aside_is_told_and_nothing_that_somebody_has_to_end() -> None:
    other = Step(Change(None, a("blog", "192.0.2.9")))
    plan = ScopePlan(ZONE, steps=[UPDATE, other], live=[OLD])
    left = set_aside(plan, says([NEW, a("blog", "192.0.2.9")], [OLD, a("blog", "192.0.2.9")]), {NEW.id})
    assert ([*left.steps], [*left.live], left.ahead) == ([UPDATE], [OLD], {OLD.id, other.change.id})
    alone = replace(left, steps=(), live=())
    outcome = Outcome([alone])
    shown = outcomes.of_outcome(outcome, "mspctl apply")
    assert outcome.exit_code is Exit.DONE
    assert [(line.label, line.name) for block in shown.blocks for line in block.lines] == [("elsewhere", "blog A")]
    assert shown.summary == "Nothing was changed. 1 change left to other runs."
    assert as_issues.of_apply(shown, "#7").facts == {}
    held = replace(alone, steps=[replace(UPDATE, standing=Standing.HELD, reason="window")])
    told = as_issues.of_apply(outcomes.of_outcome(Outcome([held]), "mspctl apply"), "#7")
    assert [line.name for line in told.facts.values()] == ["www A"]
    assert set_aside(plan, Says({}), set()) is plan
