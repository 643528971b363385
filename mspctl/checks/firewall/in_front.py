"""What decides on a device besides Git's rules: other tables, and what somebody put in front of ours."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts
from mspctl.checks.firewall.live import firewalls
from mspctl.finding import Finding, Severity

CODES = {"firewall.in-front": "something that is not managed decides in front of our rules"}
_REMEDY = "take it away on the device, write it as a rule in Git, or accept it until a day"


def findings(facts: Facts) -> Iterator[Finding]:
    for told, say in firewalls(facts):
        alarms = told.get("alarms")
        for text in alarms if isinstance(alarms, tuple) else ():
            yield say("firewall.in-front", Severity.WARNING, str(text), _REMEDY)
