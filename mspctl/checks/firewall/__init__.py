"""What is wrong with firewalls although no field differs: each file here judges one thing."""

from __future__ import annotations

from collections.abc import Iterator

from mspctl.checks import Facts, Seen
from mspctl.checks.firewall import boot, in_front, names
from mspctl.finding import Finding

CODES = {**boot.CODES, **in_front.CODES, **names.CODES}


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    yield from in_front.findings(facts)
    yield from boot.findings(facts)
    yield from names.findings(facts)
