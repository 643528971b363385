"""Trials and proofs: what they come to, when they are due, and that a page gives them back or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mspctl.exits import Exit
from mspctl.proof import Proof, Step, Trial, Verdict, exit_code, following, parsed, path, rendered
from mspctl.resource import Scope
from mspctl.secrets import Secret

NOW = datetime(2027, 3, 5, 3, 10, tzinfo=UTC)
SCOPE = Scope("mail-1", "mailboxes", "acme.example", "acme")
PASSED, FAILED, UNKNOWN = (Step(v.value, v) for v in (Verdict.PASSED, Verdict.FAILED, Verdict.UNKNOWN))


def proof(*steps: Step, hours: float = 0, **more: object) -> Proof:
    made = NOW - timedelta(hours=hours)
    return Proof(SCOPE, "mail", made, 1.5, steps or (PASSED,), **more)  # type: ignore[arg-type]


TRIAL = Trial(SCOPE, "mail", 86400, "customers/acme/mail.yaml:7")


@pytest.mark.parametrize(
    ("steps", "verdict", "code"),
    [
        ([PASSED, PASSED], Verdict.PASSED, Exit.DONE),
        ([PASSED, UNKNOWN], Verdict.UNKNOWN, Exit.UNREACHABLE),
        ([UNKNOWN, FAILED, PASSED], Verdict.FAILED, Exit.DIFFERS),
    ],
)
def test_a_proof_is_as_good_as_its_worst_step(steps: list[Step], verdict: Verdict, code: Exit) -> None:
    assert proof(*steps).verdict is verdict
    assert exit_code([proof(), proof(*steps)]) is code


def test_where_nothing_was_tried_nothing_is_proved() -> None:
    nothing = replace(proof(), steps=())
    assert (nothing.verdict, nothing.why) == (Verdict.UNKNOWN, "nothing was tried")
    assert exit_code([]) is Exit.DONE


def test_a_trial_remembers_when_it_passed_last() -> None:
    first = following(proof(hours=9), None)
    assert first.passed == first.made
    second = following(proof(FAILED), first)
    assert (second.verdict, second.passed) == (Verdict.FAILED, first.made)
    assert following(proof(UNKNOWN), None).passed is None


@pytest.mark.parametrize(
    ("hours", "due", "late"),
    [(1, False, False), (21.5, False, False), (22, True, False), (30, True, False), (31, True, True)],
)
def test_a_schedule_that_comes_a_little_early_or_late_makes_no_noise(hours: float, due: bool, late: bool) -> None:
    last = following(proof(hours=hours), None)
    assert (TRIAL.is_due(last, NOW), TRIAL.is_late(last, NOW)) == (due, late)


def test_what_never_passed_is_due_and_late() -> None:
    assert TRIAL.is_due(None, NOW)
    last = following(proof(FAILED), None)
    assert (TRIAL.is_due(last, NOW), TRIAL.is_late(last, NOW)) == (True, True)


def test_a_backup_vouches_for_the_day_on_which_it_was_taken() -> None:
    assert proof().vouches_for == NOW
    assert proof(state=NOW - timedelta(days=3)).vouches_for == NOW - timedelta(days=3)
    assert proof(state=NOW + timedelta(days=3)).vouches_for == NOW  # whatever a clock says


def test_paths_are_those_of_commands() -> None:
    assert path(TRIAL) == "mailboxes/acme.example"
    assert path(replace(TRIAL, name="nvr")) == "mailboxes/acme.example/nvr"


def test_a_page_gives_back_what_was_written() -> None:
    steps = (Step("a message comes in", Verdict.PASSED, seconds=0.25), Step("x", Verdict.FAILED, "550 5.1.1 “no”"))
    made = [
        proof(*steps, passed=NOW - timedelta(days=2)),
        replace(proof(), section="backup", state=NOW - timedelta(hours=3), name="nightly"),
    ]
    again = parsed(rendered(made))
    assert {*again} == {*made}
    assert rendered(again) == rendered(reversed(made))
    assert rendered(made).count(b"\n") == 8  # a line for each proof, so that Git shows what changed


def test_a_secret_does_not_get_into_a_page() -> None:
    word = Secret("PROVA", b"correct horse battery").reveal().decode()
    page = rendered([proof(Step("x", Verdict.FAILED, f"535 {word} is wrong"))])
    assert b"correct horse" not in page
    assert b"<secret PROVA>" in page


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "passed"},
        {"made": "2027-03-05T03:10:00"},
        {"seconds": True},
        {"steps": [{"what": "x\u001b[2J", "verdict": "failed"}]},
        {"steps": [{"what": "x", "verdict": "good"}]},
        {"more": 1},
    ],
)
def test_what_is_not_exactly_a_page_is_none(change: dict[str, object]) -> None:
    page = json.loads(rendered([proof(FAILED)]))
    page["proofs"][0] |= change
    assert parsed(json.dumps(page).encode()) == ()
    assert parsed(b"\xff") == parsed(b"[" * 100_000) == parsed(b"{}") == ()
    assert parsed(json.dumps(page | {"format": 2}).encode()) == ()
