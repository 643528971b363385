"""
That malware is caught: on each host, EICAR's test file is written where files are watched (or, where none are, where a
scan goes), and has to be caught, taken away and reported. What it leaves behind is taken away again.

A trial has the name of its product. Another product than ClamAV is tried in a folder that ClamAV does not look at, so
that while one takes the other's place it is known which of them caught it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mspctl.desired.hosts import places
from mspctl.driver import Errands
from mspctl.errors import TargetError
from mspctl.kinds.antivirus import SECTION, TRIED
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.antivirus import CLAMAV, Section, scans_of, settled
from mspctl.proof import Trial
from mspctl.proofs import Making, as_told
from mspctl.strict_yaml import find
from mspctl.targets import Targets

PROGRAM = "antivirus_proof"  # in playbooks/files
AROUND = 60  # seconds that it takes besides


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where the file is written, and what has to become of it."""

    on_access: tuple[str, ...]
    scanned: tuple[str, ...]
    quarantine: bool
    reported: bool
    within: int


def trials(customer: Customer, inventory: Inventory) -> Iterator[Trial]:
    section = customer.sections[SECTION]
    assert isinstance(section, Section), "load puts each section's own model here"
    if section.proof is None:
        return
    mark = find(customer.data[SECTION], ("proof",))
    source = f"{mark.file}:{mark.line}" if mark else f"customers/{customer.name}/antivirus.yaml"
    for name, entry, scope in places(customer, SECTION):
        policy = settled(section, name, entry)
        if policy is None:
            continue
        if policy.product != CLAMAV:
            wanted = Wanted((TRIED,), (), True, False, section.proof.within)
            yield Trial(scope, SECTION, section.proof.every, source, policy.product, wanted)
            continue
        scanned = tuple(path for _, scan in scans_of(section, name, entry) for path in scan.paths)
        wanted = Wanted(policy.on_access, scanned, policy.action == "quarantine", True, section.proof.within)
        yield Trial(scope, SECTION, section.proof.every, source, policy.product, wanted)


def make(trial: Trial, targets: Targets, making: Making) -> None:
    wanted: Wanted = trial.what
    if not (wanted.on_access or wanted.scanned):
        raise TargetError("nothing is watched there, and no scan is declared")
    driver = targets.driver(trial.scope)
    if not isinstance(driver, Errands):
        raise TargetError(f"nothing can be tried through {trial.scope.target}")
    ask: dict[str, object] = {
        "on_access": [*wanted.on_access],
        "scanned": [*wanted.scanned],
        "quarantine": wanted.quarantine,
        "reported": wanted.reported,
        "within": wanted.within,
    }
    said = driver.errand(trial.scope, [PROGRAM], ask, wanted.within * 3 + AROUND)
    making.steps += [as_told(each) for each in said["steps"]]
