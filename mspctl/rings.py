"""
Rings: which customers get a change of shared files first, and what it waits for before the next ones get it.

Whether an earlier ring has what was planned for it is read from the ledger and the proofs, not remembered: so the next
run, on whichever machine, goes on where the last one stopped. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mspctl.load import Estate
from mspctl.plan import ScopePlan, Standing
from mspctl.proof import Key, Proof, Trial, Verdict
from mspctl.record import ScopeRecord
from mspctl.resource import Change, Resource, Scope

OTHERS = "the others"
NAMED = 4  # customers of a ring that are named; the rest is counted

Changes = Mapping[Scope, Sequence[Change]]


@dataclass(frozen=True, slots=True)
class Ring:
    name: str
    customers: frozenset[str]
    soak: int = 0  # seconds, before the next ring begins
    prove: bool = False  # live tests are made, and have to pass, before the next ring begins


def rings(estate: Estate, names: Collection[str]) -> list[Ring]:
    """The rings that these customers are in, in their order; who is in none comes last. [] where none are declared."""
    if not estate.inventory.rings:
        return []
    found = [Ring(r.name, frozenset(r.customers) & {*names}, r.soak, r.prove) for r in estate.inventory.rings]
    others = {*names}.difference(*(ring.customers for ring in found))
    return [ring for ring in (*found, Ring(OTHERS, frozenset(others))) if ring.customers]


def spoken(found: Sequence[Ring]) -> str:
    """`ring by ring: ours (acme), then few (beta, gamma), then the others (12 customers)`."""
    return "ring by ring: " + ", then ".join(f"{ring.name} ({_named(ring.customers)})" for ring in found)


def _named(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) if len(names) <= NAMED else f"{len(names):,} customers"


def of(changes: Changes, ring: Ring) -> dict[Scope, Sequence[Change]]:
    return {scope: found for scope, found in changes.items() if scope.customer in ring.customers}


# -- how an earlier ring stands ---------------------------------------------------------------------------------


def unlanded(changes: Changes, recorded: Mapping[Scope, ScopeRecord]) -> Iterator[tuple[Scope, Change]]:
    """Changes of which the ledger does not know that they landed: it is still as it was, or nobody knows how it is."""
    for scope, found in changes.items():
        record = recorded.get(scope)
        for change in found:
            known = record.resources.get(change.id) if record else None
            states = known.states if known else (None,)
            if len(states) != 1 or _is_as_before(change, states[0]):
                yield scope, change


def _is_as_before(change: Change, state: Resource | None) -> bool:
    if state is None or change.after is None:
        return (state is None) is not (change.after is None)
    if change.before is None:
        return False
    return any(state.fields.get(name) == change.before.fields.get(name) for name in change.changed)


def unproved(trials: Sequence[Trial], proofs: Mapping[Key, Proof], landed: datetime) -> str:
    """Why live tests of a ring do not let the next one begin; "" when they do."""
    for trial in trials:
        proof, what = proofs.get(trial.key), f"the live test of {trial.section} {trial.scope.name}"
        if proof is None or proof.made < landed:
            return f"{what} was not made since"
        if proof.verdict is not Verdict.PASSED:
            return f"{what}: {proof.verdict}"
    return ""


def why_not(
    ring: Ring,
    changes: Changes,
    recorded: Mapping[Scope, ScopeRecord],
    trials: Sequence[Trial],
    proofs: Mapping[Key, Proof],
    landed: datetime | None,
) -> str:
    """Why the ring after this one may not begin; "" when it may, once `soak` is over. `landed`: its last change."""
    if left := [*unlanded(changes, recorded)]:
        scope, change = left[0]
        more = f" and {len(left) - 1:,} more" if len(left) > 1 else ""
        return f"not everything landed in ring {ring.name}: {change.id.name} in {scope}{more}"
    wrong = unproved(trials, proofs, landed) if ring.prove and landed else ""
    return f"ring {ring.name}: {wrong}" if wrong else ""


def begins(ring: Ring, landed: datetime | None, now: datetime) -> timedelta:
    """How long the ring after this one still has to wait."""
    return max(timedelta(), landed + timedelta(seconds=ring.soak) - now) if landed else timedelta()


def held(plan: ScopePlan, why: str) -> ScopePlan:
    """The plan, with nothing due."""
    steps = [
        replace(step, standing=Standing.HELD, reason=why) if step.standing is Standing.DUE else step
        for step in plan.steps
    ]
    return replace(plan, steps=steps, live=())
