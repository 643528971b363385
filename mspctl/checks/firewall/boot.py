"""Whether a firewall's rules are there after its next start."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts
from mspctl.checks.firewall.live import firewalls
from mspctl.finding import Finding, Severity

CODES = {"firewall.boot": "a firewall's rules are not loaded when it starts, or nobody knows"}


def findings(facts: Facts) -> Iterator[Finding]:
    for told, say in firewalls(facts):
        if amiss := told.get("boot_amiss"):
            what = f"its rules are gone when it starts anew: {amiss}"
            remedy = "mspctl apply --revert puts it back"
            yield say("firewall.boot", Severity.SEVERE, what, remedy)
        if unseen := told.get("boot_unseen"):
            what = f"nobody knows whether its rules are there when it starts anew: {unseen}"
            remedy = "load them there by its own means, and say so in targets.yaml: at_boot: elsewhere"
            yield say("firewall.boot", Severity.UNKNOWN, what, remedy)
