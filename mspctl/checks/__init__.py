"""
What is true and bad although no field differs: one file or folder per section, of the section's name. Pure.

A section's module has `CODES`, each code it may find with its meaning in a few words, and
`findings(facts, seen)`, which judges one customer. Optional is `questions(facts)`: what somebody who may talk to
targets or to the network has to ask first; `seen` then holds what was learnt, by question, and nothing of what nobody
was asked. Who answers a question is known by its type: a Gauge is a target's, a ZoneQuestion the DNS's.

What was proved, and what was not, is judged for all sections in the same way: `mspctl/proofs/`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol

from mspctl import proofs
from mspctl.desired import Declaration, Selection
from mspctl.finding import AcceptedFinding, Finding, Findings, Severity
from mspctl.load import Estate
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.permissions import Permissions
from mspctl.moments import Clock
from mspctl.plan import ScopePlan
from mspctl.proof import Key, Proof, Trial
from mspctl.record import ScopeRecord
from mspctl.resource import Scope

Seen = Mapping[Any, Any]  # by question
Ask = Callable[[Sequence[Any]], Seen]
EVERYTHING = Selection()
NOTHING: Mapping[Key, Proof] = MappingProxyType({})


@dataclass(frozen=True)
class Facts:
    """All that a section's checks may look at: one customer."""

    customer: Customer
    inventory: Inventory
    declared: Sequence[Declaration]  # the scopes of the customer that were asked for, of every section
    live: Mapping[Scope, ScopePlan]  # what targets said in this run: outputs and differences, or why nothing
    history: Mapping[Scope, ScopeRecord]  # what the ledger says
    now: datetime
    selection: Selection = EVERYTHING  # what was asked for
    everyone: Mapping[str, Customer] = field(default_factory=dict)  # the other customers too

    def wants(self, scope: Scope, *of: str) -> bool:
        """Whether a scope is part of what was asked for, which may be declared by nobody; `of` are its sections."""
        asked = self.selection.sections
        return self.selection.covers(scope) and (not asked or any(section in asked for section in of))

    @cached_property
    def today(self) -> date:
        """Where the customer is."""
        return Clock(self.now, self.customer.info.timezone).today


class Check(Protocol):
    """What a section's module can do; `questions` is optional."""

    CODES: Mapping[str, str]

    def findings(self, facts: Facts, seen: Seen) -> Iterator[Finding]: ...
    def questions(self, facts: Facts) -> Iterator[Any]: ...


def names() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def check(section: str) -> Check:
    module: Check = import_module(f"{__name__}.{section}")
    return module


def codes() -> dict[str, str]:
    """Every code that there is, with its meaning."""
    return {code: text for section in names() for code, text in check(section).CODES.items()} | proofs.CODES


def facts_of(
    estate: Estate,
    declared: Iterable[Declaration],
    live: Iterable[ScopePlan],
    history: Mapping[Scope, ScopeRecord],
    now: datetime,
    selection: Selection = EVERYTHING,
) -> list[Facts]:
    """The facts of each customer that was asked for."""
    by_customer: dict[str, list[Declaration]] = {name: [] for name in estate.customers}
    for declaration in declared:
        by_customer.setdefault(declaration.scope.customer, []).append(declaration)
    plans = {plan.scope: plan for plan in live}
    return [
        Facts(estate.customers[name], estate.inventory, mine, plans, history, now, selection, estate.everyone)
        for name, mine in by_customer.items()
    ]


def find(
    facts: Sequence[Facts],
    ask: Mapping[type, Ask],
    *,
    outside: bool = False,
    trials: Sequence[Trial] = (),
    proved: Mapping[Key, Proof] = NOTHING,
) -> Findings:
    """
    What every section finds. `ask` says who answers which type of question; nobody answers any other.

    `outside`: whether strangers are asked too. `trials` are what was to be proved, `proved` how that ended last.
    """
    found: list[Finding] = []
    for section in names():
        module = check(section)
        mine = [f for f in facts if section in f.customer.sections]
        seen: dict[Any, Any] = {}
        asked = [question for f in mine for question in module.questions(f)] if hasattr(module, "questions") else ()
        for kind, answer in ask.items():
            if questions := dict.fromkeys(q for q in asked if isinstance(q, kind)):
                seen |= answer([*questions])
        found += [finding for f in mine for finding in module.findings(f, seen)]
    if trials:
        found += proofs.findings(trials, proved, facts[0].now)
    return judged(found, {f.customer.name: f.customer.permissions.on(f.today) for f in facts}, outside)


def judged(found: Iterable[Finding], permissions: Mapping[str, Permissions], outside: bool) -> Findings:
    """What was found, without what somebody lets be today; `permissions` are those of each customer."""
    left, accepted = [], []
    for finding in sorted(found, key=_gravest_first):
        let = permissions[finding.customer].acceptance_of(finding.code, finding.path)
        if let is None:
            left.append(finding)
        else:
            accepted.append(AcceptedFinding(finding, let.who, let.why, let.until))
    return Findings(tuple(left), tuple(accepted), outside)


def _gravest_first(finding: Finding) -> tuple[str, int, str, str, str]:
    return finding.customer, [*Severity].index(finding.severity), finding.path, finding.code, finding.what
