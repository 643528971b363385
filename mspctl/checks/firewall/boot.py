"""Whether a firewall's rules are there after its next start."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts
from mspctl.finding import Finding, Severity
from mspctl.kinds.firewall import FACET

CODES = {"firewall.boot": "a firewall's rules are not loaded when it starts, or nobody knows"}


def findings(facts: Facts) -> Iterator[Finding]:
    for declaration in facts.declared:
        plan = facts.live.get(declaration.scope)
        if declaration.scope.facet != FACET or plan is None:
            continue
        path, name = f"{FACET}/{declaration.scope.name}", facts.customer.name
        if amiss := plan.facts.get("boot_amiss"):
            what = f"its rules are gone when it starts anew: {amiss}"
            remedy = "the next apply that changes something there mends it, or on the device: systemctl enable"
            yield Finding("firewall.boot", Severity.SEVERE, name, path, what, remedy, declaration.source)
        if unseen := plan.facts.get("boot_unseen"):
            what = f"nobody knows whether its rules are there when it starts anew: {unseen}"
            remedy = "load them there by its own means, and say so in targets.yaml: at_boot: elsewhere"
            yield Finding("firewall.boot", Severity.UNKNOWN, name, path, what, remedy, declaration.source)
