"""An apply ring by ring: what is declared for many customers at once is tried on some of them first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from mspctl import proofs, rings
from mspctl.apply import Outcome
from mspctl.cli.workspace import Workspace, now
from mspctl.desired import Selection
from mspctl.errors import LedgerError
from mspctl.plan import Plan
from mspctl.proof import Trial, Verdict
from mspctl.resource import Cause
from mspctl.rings import Changes, Ring

Say = Callable[[str], None]
STEP = 30.0  # seconds that are waited at once


class Ringing:
    """One apply. `planned` is all that was planned, also for customers whom another job applies it for."""

    def __init__(self, work: Workspace, planned: Changes, say: Say) -> None:
        self.work, self.planned, self.say = work, planned, say

    def apply(self, plan: Plan, causes: frozenset[Cause], reason: str, wait: float) -> Outcome:
        """Carry out what a plan shows as due in its rings; behind the first that does not end well, it is held."""
        outcome, mine, why = Outcome(), {s.scope.customer for s in plan.scopes}, ""
        due = {scope.customer for scope, found in self.planned.items() if found}
        order = rings.rings(self.work.estate, due | {s.scope.customer for s in plan.scopes if s.error})
        for number, ring in enumerate(order):
            why = why or (self._ready(order[number - 1]) if number else "")
            if not (ring.customers & mine):
                continue
            part = [s for s in plan.scopes if s.scope.customer in ring.customers]
            if why:
                outcome.plans += [rings.held(each, why) for each in part]
                continue
            self.say(f"Ring {ring.name}: {', '.join(sorted(ring.customers & mine))}")
            self.work.narrow(ring.customers & mine)
            _add(outcome, self.work.apply(replace(plan, scopes=part), causes, reason, wait))
            unread = [p for p in outcome.plans if p.error]
            if unread:
                why = f"ring {ring.name} could not be read whole: {unread[0].scope}"
            elif outcome.interrupted or outcome.ledger_error:
                why = f"ring {ring.name} did not end well"
            else:
                why = self._prove(ring)
                outcome.unproved = why
        done = {p.scope for p in outcome.plans}
        _add(outcome, Outcome([p for p in plan.scopes if p.scope not in done]))
        return outcome

    def _ready(self, ring: Ring) -> str:
        """Why the ring after this one does not begin; it is waited for, and looked again whether all still is well."""
        why, left = self._state(ring)
        if left and not why:
            self.say(f"Ring {ring.name} has landed; the next one begins in {left / 60:.0f} min.")
        while left > 0 and not why:
            time.sleep(min(STEP, left))
            for name in ("ledger", "observations"):
                self.work.__dict__.pop(name, None)
            why, left = self._state(ring)
        return why

    def _state(self, ring: Ring) -> tuple[str, float]:
        """Why not, and for how many seconds not yet."""
        own = rings.of(self.planned, ring)
        landed = self._landed(own)
        trials = self._trials(ring)
        known = self.work.observations.proofs({trial.scope for trial in trials}) if trials else {}
        why = rings.why_not(ring, own, self.work.ledger.recorded([*own]), trials, known, landed)
        return why, rings.begins(ring, landed, now()).total_seconds()

    def _landed(self, changes: Changes) -> datetime | None:
        found = self.work.ledger.history([*changes], limit=1)
        return found[0].when if found else None

    def _trials(self, ring: Ring) -> Sequence[Trial]:
        if not ring.prove:
            return ()
        mine = {name: self.work.estate.everyone[name] for name in ring.customers}
        return proofs.trials(replace(self.work.estate, customers=mine), Selection())

    def _prove(self, ring: Ring) -> str:
        """Make the live tests of a ring that has just been applied; what is wrong."""
        trials = self._trials(ring)
        if not trials or [*rings.unlanded(rings.of(self.planned, ring), self.work.ledger.recorded())]:
            return ""
        self.work.now = now()  # the tests come after what landed
        made, interrupted = self.work.prove(trials)
        try:
            self.work.record_proofs(made)
        except LedgerError as error:
            return f"ring {ring.name}: how its live tests ended could not be recorded: {error}"
        self.work.__dict__.pop("observations", None)
        for proof in made:
            self.say(f"  live test of {proof.section} {proof.scope.name}: {proof.verdict}")
        bad = [p for p in made if p.verdict is not Verdict.PASSED]
        if interrupted:
            return f"ring {ring.name}: its live tests were interrupted"
        return (
            f"ring {ring.name}: the live test of {bad[0].section} {bad[0].scope.name}: {bad[0].verdict}" if bad else ""
        )


def _add(outcome: Outcome, more: Outcome) -> None:
    outcome.plans += more.plans
    outcome.scopes |= more.scopes
    outcome.ledger_error = outcome.ledger_error or more.ledger_error
    outcome.interrupted = outcome.interrupted or more.interrupted
    outcome.emergencies = [*outcome.emergencies, *more.emergencies]


def spoken(work: Workspace, plan: Plan) -> str:
    """In which order an apply would go; "" where there is none."""
    found = rings.rings(work.estate, {s.scope.customer for s in plan.scopes if s.due})
    return rings.spoken(found) if found else ""
