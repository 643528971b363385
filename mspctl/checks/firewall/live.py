"""What was read of each firewall of a customer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from mspctl.checks import Facts
from mspctl.desired import Declaration
from mspctl.driver import Outputs
from mspctl.finding import Finding, Severity
from mspctl.kinds.firewall import FACET

Say = Callable[[str, Severity, str, str], Finding]  # code, severity, what is wrong, what to do


def firewalls(facts: Facts) -> Iterator[tuple[Outputs, Say]]:
    """What the driver told of each device, and how to say that something is wrong with it."""
    for declaration in facts.declared:
        plan = facts.live.get(declaration.scope)
        if declaration.scope.facet == FACET and plan is not None:
            yield plan.facts, partial(_finding, declaration)


def _finding(declaration: Declaration, code: str, severity: Severity, what: str, remedy: str) -> Finding:
    scope = declaration.scope
    return Finding(code, severity, scope.customer, f"{FACET}/{scope.name}", what, remedy, declaration.source)
