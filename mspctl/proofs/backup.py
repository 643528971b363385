"""
That backups can be restored: the newest copy of a job, or of some of its folders, is restored on the host into a
scratch folder, every file is held against the copy, and a script says whether what came back works.

A job that says which mail domains lie in it proves those as well, each on its own: such a proof is of the scope of the
domain's mailboxes, and vouches for the moment at which the copy was taken. `guards.purge` goes by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mspctl.desired.backup import backed_up
from mspctl.driver import Errands
from mspctl.errors import TargetError
from mspctl.kinds import mail
from mspctl.kinds.backup import ERRAND
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.backup import Job, RestoreTest
from mspctl.proof import BACKUP, Trial
from mspctl.proofs import Making, as_told
from mspctl.resource import Scope
from mspctl.strict_yaml import find
from mspctl.targets import Targets

SCRIPTS = "playbooks/backup"  # in the customers' repository


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is restored, and where."""

    scope: Scope  # of the host's backups
    host: str
    job: str
    test: RestoreTest
    paths: Sequence[str]  # all of the job when there are none


def trials(customer: Customer, inventory: Inventory) -> Iterator[Trial]:
    for host, scope, jobs in backed_up(customer):
        for name, job in jobs:
            if job.restore_test:
                yield from _of_job(customer, host, scope, name, job, job.restore_test)


def _of_job(customer: Customer, host: str, scope: Scope, name: str, job: Job, test: RestoreTest) -> Iterator[Trial]:
    def source(*key: str) -> str:
        mark = find(customer.data["backup"], ("jobs", name, *key))
        return f"{mark.file}:{mark.line}" if mark else f"customers/{customer.name}/backup.yaml"

    yield Trial(scope, BACKUP, test.every, source("restore_test"), name, Wanted(scope, host, name, test, test.paths))
    for domain, held in job.mailboxes.items():
        of = Scope(held.target, mail.FACET, domain, scope.customer, scope.engine)
        wanted = Wanted(scope, host, name, test.model_copy(update={"start": None}), [held.path])
        yield Trial(of, BACKUP, test.every, source("mailboxes", domain), name, wanted)


def make(trial: Trial, targets: Targets, making: Making) -> None:
    wanted: Wanted = trial.what
    driver = targets.driver(wanted.scope)
    if not isinstance(driver, Errands):
        raise TargetError(f"nothing can be restored through {wanted.scope.target}")
    ask = {
        "do": "prove",
        "job": wanted.job,
        "host": wanted.host,
        "paths": list(wanted.paths),
        "scratch": wanted.test.scratch,
        "start": wanted.test.start or "",
        "script": _script(targets, wanted.test.start),
    }
    said = driver.errand(wanted.scope, ERRAND, ask, wanted.test.within)
    making.state = datetime.fromtimestamp(said["state"], UTC) if said["state"] else None
    making.steps += [as_told(each) for each in said["steps"]]


def _script(targets: Targets, name: str | None) -> str:
    if name is None:
        return ""
    path = targets.estate.root / SCRIPTS / name
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TargetError(f"there is no {SCRIPTS}/{name} in the repository") from None
    if not text.startswith("#!"):
        raise TargetError(f"{SCRIPTS}/{name} does not say what runs it (begin it with #!/bin/sh)")
    return text
