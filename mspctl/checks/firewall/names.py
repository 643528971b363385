"""Names of the DNS that a firewall's rules speak of, and which its device cannot resolve."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts
from mspctl.finding import Finding, Severity
from mspctl.kinds.firewall import FACET

CODES = {"firewall.name": "a name in a firewall's rules does not resolve on the device"}


def findings(facts: Facts) -> Iterator[Finding]:
    for declaration in facts.declared:
        plan = facts.live.get(declaration.scope)
        if declaration.scope.facet != FACET or plan is None:
            continue
        missing = plan.facts.get("unresolved")
        for name in missing if isinstance(missing, tuple) else ():
            what = f"{str(name).rstrip('.')} does not resolve there: its rules keep the addresses they had, or wait"
            yield Finding(
                "firewall.name", Severity.WARNING, facts.customer.name, f"{FACET}/{declaration.scope.name}", what,
                "is the name right, and does the device reach its resolver?", declaration.source,
            )  # fmt: skip
