"""
`backup.yaml`: which jobs hosts run, and into which repositories. What is shared is mostly in a baseline.

A job is for one host, or for all that have a role. Each host has a repository of its own, below the one that is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema, model_validator

from mspctl import moments
from mspctl.fields import (
    PLACE,
    Boolean,
    Count,
    Model,
    Name,
    Names,
    Percent,
    Seconds,
    SectionModel,
    Size,
    Text,
    Texts,
    ZoneName,
    one_line,
    one_or_many,
    typed,
)
from mspctl.kinds import backup, mail
from mspctl.model.base import nearest
from mspctl.model.inventory import SecretName
from mspctl.model.sections import hosts
from mspctl.model.sections.hosts import Entry, HostKey
from mspctl.strict_yaml import Problems, find

if TYPE_CHECKING:
    from mspctl.model.customer import Customer
    from mspctl.model.inventory import Inventory

SYSTEMS = ("debian-",)  # what the driver was tried on
OF_BORG = "debian-12"  # whose borgmatic, 1.7, takes what we write; those before and after it want another layout


def _path(value: Any) -> str:
    return backup.fold_path(one_line(value))


def _url(value: Any) -> str:
    return backup.fold_url(one_line(value))


def _sftp(value: Any) -> str:
    return backup.fold_remote("sftp", one_line(value))


def _ssh(value: Any) -> str:
    return backup.fold_remote("ssh", one_line(value))


def _database(value: Any) -> str:
    return backup.fold_database(one_line(value))


def _s3(value: Any) -> str:
    return backup.fold_s3(one_line(value))


def _schedule(value: Any) -> str:
    text = typed(value)
    moments.times(text)
    return text


_TEXT = {"type": "string"}
HostPath = Annotated[str, BeforeValidator(_path), WithJsonSchema(_TEXT | {"examples": ["/srv"]})]
Url = Annotated[str, BeforeValidator(_url), WithJsonSchema(_TEXT | {"examples": ["https://backup.example.com:8000"]})]
S3 = Annotated[str, BeforeValidator(_s3), WithJsonSchema(_TEXT | {"examples": ["https://s3.example.com/backups"]})]
Sftp = Annotated[
    str, BeforeValidator(_sftp), WithJsonSchema(_TEXT | {"examples": ["backup@nas.example.com/srv/restic"]})
]
Ssh = Annotated[str, BeforeValidator(_ssh), WithJsonSchema(_TEXT | {"examples": ["borg@nas.example.com/srv/borg"]})]
Program = Literal[backup.PROGRAMS]  # type: ignore[valid-type]  # one list, for both ends
Schedule = Annotated[str, BeforeValidator(_schedule), WithJsonSchema(_TEXT | {"examples": ["02:30", "mon-fri 22:30"]})]


Databases = Annotated[
    tuple[Annotated[str, BeforeValidator(_database), WithJsonSchema(_TEXT | {"examples": ["all", "crm"]})], ...],
    BeforeValidator(one_or_many),
]


def _period(seconds: int) -> int:
    if seconds < 3600:
        raise ValueError("is more often than each hour (write 7d)")
    return seconds


Period = Annotated[Seconds, AfterValidator(_period)]


class Keep(Model):
    """How many copies stay; one that several of these mean counts for each."""

    last: Count | None = None
    hourly: Count | None = None
    daily: Count | None = None
    weekly: Count | None = None
    monthly: Count | None = None
    yearly: Count | None = None


class Repository(Model):
    """Where copies go, and the names of the secrets that open it."""

    program: Program = "restic"  # that makes copies there, and can read them
    local: HostPath | None = None  # on the host itself: a disk that is changed, a share that is mounted
    rest: Annotated[Url | None, PLACE] = None  # restic's REST protocol
    s3: Annotated[S3 | None, PLACE] = None  # a bucket, and perhaps a folder in it
    sftp: Annotated[Sftp | None, PLACE] = None  # a folder of another host
    ssh: Annotated[Ssh | None, PLACE] = None  # the same, where Borg is installed too
    password: SecretName  # of the repository; without it, nobody can restore
    login: SecretName | None = None  # "user:password" for a server; of a bucket, "access key:secret key"
    key: SecretName | None = None  # the private key to log in with, for SFTP and SSH
    host_key: HostKey | None = None  # of that host
    rev: Count = 1  # a new number writes the secrets anew
    append_only: Boolean = False  # the server lets hosts add and not delete: it thins out itself

    @model_validator(mode="after")
    def _somewhere(self) -> Repository:
        if sum(map(bool, (self.local, self.rest, self.s3, self.sftp, self.ssh))) != 1:
            raise ValueError("says where it is, once (write local: /mnt/backup or rest: https://backup.example.com)")
        if not bool(self.sftp or self.ssh) is bool(self.key) is bool(self.host_key):
            raise ValueError("has key and host_key if it has sftp or ssh, and only then")
        if unfit := backup.unfit(self.program, self.place, 0):
            raise ValueError(unfit)
        if self.s3 and not self.login:
            raise ValueError("has no keys for its bucket (write login: NAME, of a secret ACCESS:SECRET)")
        if self.login and not (self.rest or self.s3):
            raise ValueError("has a log-in, and no server (leave login out)")
        return self

    @property
    def place(self) -> str:
        return self.local or self.rest or self.s3 or self.sftp or self.ssh or ""


class Dumps(Model):
    """Databases that the host dumps first, as their own administrator; `all`: all that there are then."""

    postgresql: Databases = ()
    mariadb: Databases = ()


class Check(Model):
    """That the repository is whole, looked at after a run of the job."""

    every: Period
    read: Percent | None = None  # of what it holds, each time another part; by default only its structure. Borg: 100


class RestoreTest(Model):
    """That what the job puts away can be restored, tried on the host itself in a scratch folder."""

    every: Period
    paths: Annotated[tuple[HostPath, ...], BeforeValidator(one_or_many)] = ()  # only these; by default everything
    start: Name | None = None  # a script in playbooks/backup, run beside what was restored: does it work?
    scratch: HostPath = "/var/tmp"  # noqa: S108  # a new folder is made there, and removed
    within: Seconds = 4 * 3600  # it is ended then


class Mailboxes(Model):
    """A mail domain whose mailboxes lie on the host, all of them below one folder."""

    target: Name
    path: HostPath


class Job(Model):
    host: Name | None = None
    role: Name | None = None  # for all hosts that have it
    paths: Annotated[tuple[HostPath, ...], BeforeValidator(one_or_many)]
    exclude: Texts = ()  # patterns, as restic takes them; with both programs
    repository: Name
    schedule: Schedule
    keep: Keep | None = None
    rpo: Seconds  # how old the newest copy may be
    upload: Size | None = None  # in a second
    dumps: Dumps = Dumps()
    check: Check | None = None
    restore_test: RestoreTest | None = None
    mailboxes: dict[ZoneName, Mailboxes] = {}  # by domain; a proof of theirs lets a leaver's go whose time is over

    @model_validator(mode="after")
    def _for_somebody(self) -> Job:
        if bool(self.host) is bool(self.role):
            raise ValueError("is for a host or for a role (write host: srv-1 or role: files)")
        if not self.paths:
            raise ValueError("has no paths")
        if self.mailboxes and not (self.host and self.restore_test):
            raise ValueError("has mailboxes, so it is for one host and is tried (write restore_test: {every: 7d})")
        tried = self.restore_test.paths if self.restore_test else ()
        for path in (*tried, *(each.path for each in self.mailboxes.values())):
            if not any(backup.within(path, each) for each in self.paths):
                raise ValueError(f"does not copy {path}, so it cannot be restored (add it to paths)")
        return self


class Thinning(Model):
    """Where repositories lie whose hosts may only add: old copies are taken out there, by who has the key."""

    host: Name
    program: Program = "restic"
    folder: HostPath  # every repository of that program below it
    password: SecretName
    rev: Count = 1
    keep: Keep
    schedule: Schedule

    @model_validator(mode="after")
    def _keeps_something(self) -> Thinning:
        if not self.keep.model_dump(exclude_none=True):
            raise ValueError("keeps nothing (write keep: {daily: 14, weekly: 8})")
        return self


class Report(Model):
    """Backups that another program makes, judged by what it says of them in files or mails on a host."""

    host: Name  # that the reports lie on
    files: HostPath  # a pattern: /srv/reports/*.json, /var/vmail/msp.example/backup/Maildir/*/*
    format: Literal[backup.FORMATS]  # type: ignore[valid-type]  # one list, for both ends
    about: Text | None = None  # only reports that have this word
    covers: Names = ()  # hosts that are backed up by it
    rpo: Seconds


class Section(SectionModel):
    repositories: dict[Name, Repository] = {}
    jobs: dict[Name, Job] = {}
    thinning: dict[Name, Thinning] = {}
    reports: dict[Name, Report] = {}


class Checks(Model):
    """`backup` in inventory/checks.yaml."""

    size: Count = 50  # percent by which a copy may be smaller than the one before
    growth: Count = 100  # percent by which it may be larger


def jobs_of(section: Section, name: str, entry: Entry) -> Iterator[tuple[str, Job]]:
    """What one host runs."""
    for key, job in section.jobs.items():
        if job.host == name or (job.role and job.role == entry.role):
            yield key, job


def covered(customer: Customer) -> frozenset[str]:
    """Hosts that have a backup; a job of a host that nobody drives is none, a report of another program is one."""
    section = customer.sections.get("backup")
    if not isinstance(section, Section):
        return frozenset()
    driven = {name: entry for name, entry in hosts.entries(customer).items() if entry.target and entry.address}
    own = (name for name, entry in driven.items() if [*jobs_of(section, name, entry)])
    return frozenset(own).union(*(report.covers for report in section.reports.values()))


def check(customers: Sequence[Customer], inventory: Inventory, problems: Problems) -> None:
    """Hosts and repositories are there; what is append-only is thinned out by nobody here."""
    for customer in customers:
        section = customer.sections.get("backup")
        if isinstance(section, Section):
            _check(customer, section, problems)
            _check_others(customer, section, problems)
            _check_mailboxes(customer, section, inventory, problems)


def _check(customer: Customer, section: Section, problems: Problems) -> None:
    known, data = hosts.entries(customer), customer.data["backup"]

    def add(key: str, field: str, text: str) -> None:
        problems.add(find(data, ("jobs", key, field)), f"jobs.{key}.{field}", text)

    for key, job in section.jobs.items():
        if job.host and job.host not in known:
            add(key, "host", f"there is no host {job.host} in hosts.yaml{nearest(job.host, known)}")
        repository = section.repositories.get(job.repository)
        if repository is None:
            near = nearest(job.repository, section.repositories)
            add(key, "repository", f"there is no repository {job.repository} in repositories{near}")
        elif repository.append_only and job.keep:
            add(key, "keep", f"{job.repository} is append-only, so its own side thins out (leave keep out)")
        if repository and job.check and (unfit := backup.unfit(repository.program, "/", job.check.read or 0)):
            add(key, "check", unfit)
        for name, entry in known.items():
            mine = job.host == name or (job.role and job.role == entry.role)
            if mine and entry.target and not (entry.os or "").startswith(SYSTEMS):
                text = f"{entry.os or 'a system of which nothing is said'} is not backed up so far, only Debian is"
                mark = hosts.place(customer, name, "os")
                problems.add(mark, f"hosts.{name}.os", f"{text} (leave target out and waive backup)")
            elif mine and entry.target and repository and (text := _not_there(repository.program, name, entry)):
                add(key, "repository", text)


def _not_there(program: str, name: str, entry: Entry) -> str:
    """Why a program cannot be driven on a host's release; "" when it can."""
    if program != "borgmatic" or entry.os == OF_BORG:
        return ""
    has = entry.os or "a system of which nothing is said"
    return f"{name} has {has}, and borgmatic is driven on {OF_BORG} only so far (restic on any Debian)"


def _check_others(customer: Customer, section: Section, problems: Problems) -> None:
    """Thinning and reports are for hosts that are driven; what a report covers is there."""
    known = hosts.entries(customer)
    their = {("thinning", name): it.host for name, it in section.thinning.items()}
    their |= {("reports", name): it.host for name, it in section.reports.items()}
    for path, host in their.items():
        entry = known.get(host)
        text = f"there is no host {host} in hosts.yaml{nearest(host, known)}"
        if entry and not (entry.target and entry.address):
            text, entry = f"{host} is not driven: give it target and address in hosts.yaml", None
        elif entry and not (entry.os or "").startswith(SYSTEMS):
            text, entry = f"{host} is no Debian, and nothing else is driven so far", None
        if entry is None:
            problems.add(find(customer.data["backup"], (*path, "host")), f"{'.'.join(path)}.host", text)
    for name, it in section.thinning.items():
        entry = known.get(it.host)
        if entry and entry.target and (text := _not_there(it.program, it.host, entry)):
            problems.add(find(customer.data["backup"], ("thinning", name, "program")), f"thinning.{name}.program", text)
    for name, report in section.reports.items():
        for host in report.covers:
            if host not in known:
                mark = find(customer.data["backup"], ("reports", name, "covers"))
                text = f"there is no host {host} in hosts.yaml{nearest(host, known)}"
                problems.add(mark, f"reports.{name}.covers", text)


def _check_mailboxes(customer: Customer, section: Section, inventory: Inventory, problems: Problems) -> None:
    """They are on a target that has mailboxes. Whose domains are there, other customers' files say."""
    has = [name for name, target in inventory.targets.items() if mail.FACET in target.facets]
    for key, job in section.jobs.items():
        for domain, mine in job.mailboxes.items():
            if mine.target not in has:
                mark = find(customer.data["backup"], ("jobs", key, "mailboxes", domain, "target"))
                text = f"{mine.target} is no target with mailboxes{nearest(mine.target, has)}"
                problems.add(mark, f"jobs.{key}.mailboxes.{domain}.target", text)
