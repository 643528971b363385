"""What the commands about restoring have in common: whose host, which jobs, as of when; and asking the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mspctl.load import Estate
    from mspctl.resource import Scope
    from mspctl.targets import Targets


@dataclass
class Restoring:
    """One host of a customer's, and what it backs up."""

    directory: str | None
    customer: str
    host: str
    job: str | None = None  # only this one
    at: str | None = None

    def __post_init__(self) -> None:
        from mspctl.cli.workspace import find_root, now
        from mspctl.desired.backup import backed_up
        from mspctl.errors import InputError
        from mspctl.load import load
        from mspctl.model.base import nearest
        from mspctl.model.sections.hosts import entries
        from mspctl.targets import Targets

        self.root, self.now = find_root(self.directory), now()
        self.estate: Estate = load(self.root, [self.customer], self.now)
        self.targets: Targets = Targets(self.estate)
        owner = self.estate.customers[self.customer]
        self.zone: str = owner.info.timezone
        self.until = moment(self.at, self.zone, self.now) if self.at else None
        known = entries(owner)
        if self.host not in known:
            raise InputError.at("", f"{self.customer} has no host {self.host!r}{nearest(self.host, known)}")
        made = backed_up(owner) if "backup" in owner.sections else ()
        jobs = {name: (scope, [name for name, _ in each]) for name, scope, each in made}
        if self.host not in jobs:
            raise InputError.at("", f"{self.host} has no backup that mspctl makes (backup.yaml, target in hosts.yaml)")
        self.scope: Scope = jobs[self.host][0]
        self.jobs: list[str] = jobs[self.host][1]
        if self.job and self.job not in self.jobs:
            raise InputError.at("", f"{self.host} has no backup {self.job!r}{nearest(self.job, self.jobs)}")
        self.jobs = [self.job] if self.job else self.jobs

    def ask(self, do: str, pattern: str, seconds: int, **more: object) -> Mapping[str, Any]:
        """What the host answers: see playbooks/files/backup_restore.py. Raises TargetError."""
        from mspctl.driver import Errands
        from mspctl.errors import TargetError
        from mspctl.kinds.backup import ERRAND

        driver = self.targets.driver(self.scope)
        if not isinstance(driver, Errands):
            raise TargetError(f"nothing can be restored through {self.scope.target}")
        until = int(self.until.timestamp()) if self.until else 0
        ask = {"do": do, "host": self.host, "jobs": self.jobs, "pattern": pattern, "until": until, **more}
        said: Mapping[str, Any] = driver.errand(self.scope, ERRAND, ask, seconds)
        return said


def moment(text: str, zone: str, now: datetime) -> datetime:
    """As of when: `2h`, `3d` ago, a day (its end), or a time of the customer's clock. Raises UsageError."""
    from mspctl.fields import duration
    from mspctl.moments import Moment

    if text[-1:].isalpha():
        try:
            return now - timedelta(seconds=duration(text))
        except (ValueError, OverflowError):
            raise click.UsageError(f"--at: {text!r} is neither a time nor so long ago (write 2h, 3d)") from None
    try:
        return Moment.parse(text).ends(zone)
    except ValueError as error:
        raise click.UsageError(f"--at: {error}") from None


def pattern(ctx: click.Context, parameter: click.Parameter, text: str) -> str:
    """A name or a path; case does not matter."""
    if not text.strip() or not text.isprintable() or text in ("*", "/", "**"):
        raise click.UsageError("PATTERN is a name or a path, like 'prices*.xlsx' or /srv/data/prices.xlsx")
    return text
