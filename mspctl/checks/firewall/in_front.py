"""What decides on a device besides Git's rules: other tables, and what somebody put in front of ours."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts
from mspctl.finding import Finding, Severity
from mspctl.kinds.firewall import FACET

CODES = {"firewall.in-front": "something that is not managed decides in front of our rules"}
_REMEDY = "take it away on the device, write it as a rule in Git, or accept it until a day"


def findings(facts: Facts) -> Iterator[Finding]:
    for declaration in facts.declared:
        plan = facts.live.get(declaration.scope)
        if declaration.scope.facet != FACET or plan is None:
            continue
        alarms = plan.facts.get("alarms")
        path = f"{FACET}/{declaration.scope.name}"
        for text in alarms if isinstance(alarms, tuple) else ():
            yield Finding(
                "firewall.in-front", Severity.WARNING, facts.customer.name, path, str(text), _REMEDY, declaration.source
            )
