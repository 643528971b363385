"""Findings: what is true and bad although no field differs, and what nobody could check."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from mspctl.exits import Exit


class Severity(enum.StrEnum):
    """The gravest first."""

    SEVERE = "severe"  # it does not work
    WARNING = "warning"  # it works in part, or not for long
    UNKNOWN = "unknown"  # it could not be checked: never counted as good
    INFO = "info"  # worth knowing; nobody has to do anything


@dataclass(frozen=True, slots=True)
class Finding:
    code: str  # "dns.parent-ns"; docs/findings.md says what it means and what to do
    severity: Severity
    customer: str
    path: str  # what it is about, as commands and accepted.yaml name it: "dns/acme.example/@ MX"
    what: str  # is wrong, in one line
    remedy: str  # what to do, in one line
    source: str = ""  # "customers/acme/dns.yaml:3"
    since: date | None = None
    until: date | None = None  # the day on which it gets worse


@dataclass(frozen=True, slots=True)
class AcceptedFinding:
    """A finding that somebody left as it is until a day."""

    finding: Finding
    who: str
    why: str
    until: date


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found, the gravest of each customer first."""

    open: Sequence[Finding] = ()
    accepted: Sequence[AcceptedFinding] = ()
    asked: bool = False  # whether the network was asked; otherwise only what Git says was looked at

    @property
    def exit_code(self) -> Exit:
        found = {finding.severity for finding in self.open}
        if found & {Severity.SEVERE, Severity.WARNING}:
            return Exit.DIFFERS
        return Exit.UNREACHABLE if Severity.UNKNOWN in found else Exit.DONE
