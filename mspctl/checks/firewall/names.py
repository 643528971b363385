"""Names of the DNS that a firewall's rules speak of, and which its device cannot resolve."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts
from mspctl.checks.firewall.live import firewalls
from mspctl.finding import Finding, Severity

CODES = {"firewall.name": "a name in a firewall's rules does not resolve on the device"}
_REMEDY = "is the name right, and does the device reach its resolver?"


def findings(facts: Facts) -> Iterator[Finding]:
    for told, say in firewalls(facts):
        missing = told.get("unresolved")
        for name in missing if isinstance(missing, tuple) else ():
            what = f"{str(name).rstrip('.')} does not resolve there: its rules keep the addresses they had, or wait"
            yield say("firewall.name", Severity.WARNING, what, _REMEDY)
