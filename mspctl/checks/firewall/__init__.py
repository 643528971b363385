"""What is wrong with firewalls although no field differs: each file here judges one thing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mspctl.checks import Facts, Seen
from mspctl.checks.firewall import archive, boot, device, in_front, names, rules, vpn
from mspctl.finding import Finding

CODES = {
    **boot.CODES,
    **device.CODES,
    **archive.CODES,
    **in_front.CODES,
    **names.CODES,
    **rules.CODES,
    **vpn.CODES,
}


def questions(facts: Facts) -> Iterator[Any]:
    yield from archive.questions(facts)
    yield from device.questions(facts)
    yield from rules.questions(facts)
    yield from vpn.questions(facts)


def findings(facts: Facts, seen: Seen) -> Iterator[Finding]:
    yield from in_front.findings(facts)
    yield from boot.findings(facts)
    yield from names.findings(facts)
    yield from device.findings(facts, seen)
    yield from rules.findings(facts, seen)
    yield from vpn.findings(facts, seen)
    yield from archive.findings(facts, seen)
