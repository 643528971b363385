"""
Proofs: live tests that somebody declared, made for real. One file or folder per section, of the section's name.

A section's module has `trials(customer, inventory)`, the tests that its YAML declares, which is pure; and
`make(trial, targets, making)`, which carries one out and notes down what it saw. It writes only what the declared test
needs, and takes away again what it wrote. Talking is left to drivers and transports.
"""

from __future__ import annotations

import pkgutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

from mspctl.desired import Selection
from mspctl.driver import translated
from mspctl.errors import TargetError
from mspctl.finding import Finding, Severity
from mspctl.kinds import on_one_line
from mspctl.load import Estate
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.proof import Key, Proof, Step, Trial, Verdict, path
from mspctl.targets import Targets

CODES = {
    "proof.failed": "a live test failed",
    "proof.unmade": "a live test could not be made",
    "proof.too-old": "a live test was not made for too long",
    "proof.missing": "a live test was never made",
}


class Trying:
    """One step while it is made. Unless something is said against it, it passes."""

    def __init__(self) -> None:
        self.verdict = Verdict.PASSED
        self.said = ""
        self.seconds: float | None = None  # where time matters, and was measured

    def failed(self, said: str) -> None:
        self.verdict, self.said = Verdict.FAILED, said

    def unknown(self, said: str) -> None:
        self.verdict, self.said = Verdict.UNKNOWN, said


class Making:
    """A proof while it is made."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.state: datetime | None = None  # what it vouches for, where that is older than the proof

    @contextmanager
    def step(self, what: str) -> Iterator[Trying]:
        """What a target does not let us find out ends the step, which then was not made, and no other."""
        trying = Trying()
        try:
            with translated():
                yield trying
        except TargetError as error:
            trying.unknown(str(error))
        self.steps.append(Step(what, trying.verdict, trying.said, trying.seconds))


def as_told(said: Mapping[str, Any]) -> Step:
    """As a host tells it, which may be in anybody's hands: nothing reaches a terminal that it would act upon."""
    what, text = (on_one_line(str(said[k])) for k in ("what", "said"))
    seconds = said["seconds"]
    return Step(what, Verdict(said["verdict"]), text, float(seconds) if seconds is not None else None)


class Section(Protocol):
    """What a section's module can do."""

    def trials(self, customer: Customer, inventory: Inventory) -> Iterator[Trial]: ...
    def make(self, trial: Trial, targets: Targets, making: Making) -> None: ...


def names() -> tuple[str, ...]:
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__)))


def section(name: str) -> Section:
    module: Section = import_module(f"{__name__}.{name}")
    return module


def trials(estate: Estate, selection: Selection) -> list[Trial]:
    """What the selected customers, sections and targets declare."""
    found = []
    for name in names():
        if not selection.sections or name in selection.sections:
            for customer in estate.customers.values():
                if name in customer.sections:
                    found += [t for t in section(name).trials(customer, estate.inventory) if _meant(t, selection)]
    return found


def _meant(trial: Trial, selection: Selection) -> bool:
    """A path may name one of several trials in a scope."""
    named, paths = f"{path(trial)}/", [f"{each.rstrip('/')}/" for each in selection.paths]
    return selection.covers(trial.scope) and (not paths or any(map(named.startswith, paths)))


def make(trial: Trial, targets: Targets, now: datetime) -> Proof:
    """One proof, however it ends."""
    making, begun = Making(), time.monotonic()
    try:
        with translated():
            section(trial.section).make(trial, targets, making)
    except TargetError as error:
        making.steps.append(Step("it could not be made", Verdict.UNKNOWN, str(error)))
    seconds = time.monotonic() - begun
    return Proof(trial.scope, trial.section, now, seconds, tuple(making.steps), trial.name, making.state)


# -- what is said of them ---------------------------------------------------------------------------------------


def findings(wanted: Sequence[Trial], made: Mapping[Key, Proof], now: datetime) -> Iterator[Finding]:
    for trial in wanted:
        if found := _finding(trial, made.get(trial.key), now):
            yield found


def _finding(trial: Trial, last: Proof | None, now: datetime) -> Finding | None:
    customer = trial.scope.customer
    again = f"mspctl prove -c {customer} {path(trial)}"
    if last is None:
        code, severity, what = "proof.missing", Severity.WARNING, f"it was never proved: {trial.section}"
        remedy, since = f"{again}, and let a schedule do it: mspctl prove --due", None
    elif last.verdict is Verdict.FAILED:
        code, severity, what = "proof.failed", Severity.SEVERE, f"the last proof failed: {last.why}"
        remedy, since = f"mend it, then {again}", last.made.date()
    elif trial.is_late(last, now):
        passed = f"passed last on {last.passed:%Y-%m-%d}" if last.passed else "never passed"
        code, severity, what = "proof.too-old", Severity.WARNING, f"the proof of {trial.section} {passed}"
        remedy, since = (
            f"{again}, and see why no schedule does it (mspctl prove --due)",
            last.passed and last.passed.date(),
        )
    elif last.verdict is Verdict.UNKNOWN:
        code, severity, what = "proof.unmade", Severity.UNKNOWN, f"the last proof could not be made: {last.why}"
        remedy, since = again, last.made.date()
    else:
        return None
    return Finding(code, severity, customer, path(trial), what, remedy, trial.source, since)
