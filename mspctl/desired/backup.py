"""Backup jobs, and the thinning out of repositories → one scope per host that has any."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from mspctl.desired import Declaration, Outputs
from mspctl.desired.hosts import places
from mspctl.kinds import backup
from mspctl.kinds.hosts import FACET
from mspctl.model.customer import Customer
from mspctl.model.inventory import Inventory
from mspctl.model.sections.backup import Job, Keep, Report, Repository, Section, Thinning, jobs_of
from mspctl.resource import Resource, Scope, Value
from mspctl.strict_yaml import find

FACETS = ()  # the way back is that of `hosts`
SCOPES = {FACET: ("hosts:Host", backup.FIELDS)}


def declare(customer: Customer, inventory: Inventory, outputs: Outputs, now: datetime) -> Iterator[Declaration]:
    jobs, section = {scope: (host, found) for host, scope, found in backed_up(customer)}, _section(customer)
    for host, scope in _concerned(customer):
        made = [_job(customer, host, name, job) for name, job in jobs.get(scope, (host, []))[1]]
        made += [_thinning(customer, name, it) for name, it in section.thinning.items() if it.host == host]
        made += [_report(customer, name, it) for name, it in section.reports.items() if it.host == host]
        yield Declaration(scope, made, f"customers/{customer.name}/backup.yaml")


def scopes(customer: Customer) -> Iterator[Scope]:
    return (scope for _, scope in _concerned(customer))


def _concerned(customer: Customer) -> Iterator[tuple[str, Scope]]:
    """Hosts that have jobs, and those that repositories or reports lie on."""
    section = _section(customer)
    others = {it.host for it in section.thinning.values()} | {it.host for it in section.reports.values()}
    for name, entry, scope in places(customer, backup.SECTION):
        if [*jobs_of(section, name, entry)] or name in others:
            yield name, scope


def _report(customer: Customer, name: str, it: Report) -> Resource:
    mark = find(customer.data["backup"], ("reports", name))
    fields: dict[str, Value] = {"files": it.files, "format": it.format, "about": it.about or ""}
    return backup.report(name, fields, f"{mark.file}:{mark.line}" if mark else "")


def _thinning(customer: Customer, name: str, it: Thinning) -> Resource:
    mark = find(customer.data["backup"], ("thinning", name))
    fields: dict[str, Value] = {
        "program": it.program,
        "folder": it.folder,
        "password": f"{it.password} rev {it.rev}",
        "keep": backup.keeps(it.keep.model_dump(exclude_none=True)),
        "schedule": it.schedule,
        "timezone": customer.info.timezone,
    }
    return backup.thinning(name, fields, f"{mark.file}:{mark.line}" if mark else "")


def _section(customer: Customer) -> Section:
    section = customer.sections["backup"]
    assert isinstance(section, Section), "load puts each section's own model here"
    return section


def backed_up(customer: Customer) -> Iterator[tuple[str, Scope, list[tuple[str, Job]]]]:
    """Each host that has jobs: its name, the scope of its backups, and the jobs by name."""
    for name, entry, scope in places(customer, backup.SECTION):
        if jobs := [*jobs_of(_section(customer), name, entry)]:
            yield name, scope, jobs


def _job(customer: Customer, host: str, name: str, job: Job) -> Resource:
    repository = _section(customer).repositories[job.repository]
    mark = find(customer.data["backup"], ("jobs", name))
    fields: dict[str, Value] = {
        "program": repository.program,
        "paths": frozenset(job.paths),
        "exclude": frozenset(job.exclude),
        "repository": f"{repository.place}/{customer.name}/{host}",
        "append_only": repository.append_only,
        "host_key": repository.host_key or "",
        **_secrets(repository),
        "schedule": job.schedule,
        "timezone": customer.info.timezone,
        "keep": backup.keeps((job.keep or Keep()).model_dump(exclude_none=True)),
        "upload": -(-(job.upload or 0) // 1024),
        "dumps": frozenset(f"{engine} {name}" for engine, names in job.dumps for name in names),
        "check": job.check.every if job.check else 0,
        "read": (job.check.read or 0) if job.check else 0,
    }
    return backup.job(name, fields, f"{mark.file}:{mark.line}" if mark else "")


def _secrets(repository: Repository) -> dict[str, Value]:
    """Which secrets are meant; "" for none."""
    named = {name: getattr(repository, name) for name in backup.SECRETS}
    return {name: f"{secret} rev {repository.rev}" if secret else "" for name, secret in named.items()}
