"""
Backups that a host makes itself, as one kind of resource in its scope `…/backup`.

`backup.job` "notte": which `paths` without what `exclude` matches, after which `dumps` ("postgresql crm"), into which
`repository` (an absolute path; for restic an https URL that speaks its REST protocol, `s3:https://host/bucket/path`, or
`sftp://user@host:port/path` of a host that has `host_key`; for borgmatic `ssh://user@host:port/path` of one), by which
`program` (restic or borgmatic), when (`schedule`, "mon-fri 02:30", in `timezone`), how many
copies it keeps (`keep`, "daily 14"; none where the repository is `append_only`, which is thinned out from its own
side), how fast it may send (`upload`, KiB in a second; 0: as fast as it can), how often the repository is checked
(`check`, seconds; 0: never) and how much of it read for that (`read`, percent).
`password`, `login` and `key` say which secrets are meant, never what they are.

`backup.thinning` "vault": in which `folder` of the host repositories of a `program` lie that are thinned out there,
which copies they `keep`, and when; the `password` that opens them.

`backup.report` "veeam": `files` on the host (a pattern) in which another program says how its backups went, in which
`format`, and a word that those are `about` which count ("": all).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mspctl.kinds import NOTHING_AMISS, fold_secret, hosts, shown, spoken_duration
from mspctl.resource import Fields, Id, Resource, Value

SECTION = "backup"
JOB = "backup.job"
THINNING = "backup.thinning"
REPORT = "backup.report"
FORMATS = ("json", "synology", "veeam", "words")  # as playbooks/files/backup_report.py reads them
PROGRAMS = ("restic", "borgmatic")  # what makes copies
PLACES = {"restic": ("https:", "s3:", "sftp:", "/"), "borgmatic": ("ssh:", "/")}  # what repositories of each begin with
KEPT = ("last", "hourly", "daily", "weekly", "monthly", "yearly")

ERRAND = ("backup_job", "backup_restore")  # what restores on a host

SECRETS = ("password", "login", "key")

FIELDS: Mapping[str, Mapping[str, type]] = {
    JOB: {
        "program": str,
        "paths": frozenset,
        "exclude": frozenset,
        "repository": str,
        "append_only": bool,
        "host_key": str,
        **dict.fromkeys(SECRETS, str),
        "schedule": str,
        "timezone": str,
        "keep": frozenset,
        "upload": int,
        "dumps": frozenset,
        "check": int,
        "read": int,
        "amiss?": frozenset,
    },
    THINNING: {
        **dict.fromkeys(("program", "folder", "password", "schedule", "timezone"), str),
        "keep": frozenset,
        "amiss?": frozenset,
    },
    REPORT: {"files": str, "format": str, "about": str, "amiss?": frozenset},
}

_SFTP = re.compile(r"([a-z_][a-z0-9_-]*)@([a-z0-9][a-z0-9.-]*)(?::(\d{1,5}))?(/[A-Za-z0-9._~/-]*)")
_DATABASE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.$-]{0,62}")
_URL = re.compile(r"https://[a-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._~/-]*)?")


def fold_path(text: str) -> str:
    """An absolute path. Raises ValueError."""
    if not text.startswith("/") or "/../" in f"{text}/" or not text.isprintable():
        raise ValueError(f"{shown(text)} is not an absolute path (write /srv)")
    return text.rstrip("/") or "/"


def fold_database(text: str) -> str:
    """The name of a database, or "all". Raises ValueError."""
    if not _DATABASE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not the name of a database (letters, digits, _, . and -; or all)")
    return text


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def fold_url(text: str) -> str:
    """Where a repository is served. Raises ValueError, which does not repeat the text: it may hold a password."""
    if not _URL.fullmatch(text):
        raise ValueError("is no place of a repository (write https://backup.example.com:8000; a log-in is login: NAME)")
    return text.rstrip("/")


def fold_s3(text: str) -> str:
    """A bucket, and a folder in it. Raises ValueError, which does not repeat the text: it may hold a key."""
    found = _URL.fullmatch(text)
    if not found or not text.partition("://")[2].partition("/")[2].strip("/"):
        raise ValueError("is no bucket (write https://s3.example.com/backups; its keys are login: NAME)")
    return "s3:" + text.rstrip("/")


def fold_remote(protocol: str, text: str) -> str:
    """Where a repository lies on another host. Raises ValueError."""
    found = _SFTP.fullmatch(text)
    if not found or "/../" in f"{text}/":
        raise ValueError(f"{shown(text)} is no folder of another host (write backup@nas.example.com:22/srv/backup)")
    return f"{protocol}://{found[1]}@{found[2]}:{found[3] or 22}{found[4].rstrip('/')}"


def unfit(program: str, repository: str, read: int) -> str:
    """What a program cannot do with a repository, and what would be right; "" when it can."""
    if not repository.startswith(PLACES[program]):
        return f"{program} has no such repositories (it takes {', '.join(_SPOKEN[one] for one in PLACES[program])})"
    if program == "borgmatic" and repository.startswith("/") and set("{}:\\") & {*repository}:
        return "Borg takes no folder whose name has a brace, a colon or a backslash (name another one)"
    if program == "borgmatic" and read not in (0, 100):
        return "Borg reads all that a repository holds, or nothing of it (write read: 100, or leave it out)"
    return ""


_SPOKEN = {"https:": "rest", "s3:": "s3", "sftp:": "sftp", "ssh:": "ssh", "/": "local"}


def job(name: str, fields: Fields, source: str = "") -> Resource:
    return Resource(Id(JOB, name), {**fields, **NOTHING_AMISS}, source)


def worded(name: str, value: Value) -> str | None:
    if name == "check" and value and isinstance(value, int):
        return f"check {spoken_duration(value)}"
    if name == "read" and value:
        return f"read {value} %"
    if name == "upload" and value:
        return f"upload {value} KiB/s"
    return "" if name == "append_only" and not value else hosts.worded(name, value)


def thinning(name: str, fields: Fields, source: str = "") -> Resource:
    return Resource(Id(THINNING, name), {**fields, **NOTHING_AMISS}, source)


def report(name: str, fields: Fields, source: str = "") -> Resource:
    return Resource(Id(REPORT, name), {**fields, **NOTHING_AMISS}, source)


def keeps(kept: Mapping[str, int]) -> frozenset[str]:
    return frozenset(f"{name} {number}" for name, number in kept.items() if number)


# -- as programs may spell it -----------------------------------------------------------------------------------------


def fold_repository(text: str) -> str:
    """A place as `repository` has it. Raises ValueError, which repeats no text that may hold a password."""
    for protocol in ("sftp", "ssh"):
        if text.startswith(f"{protocol}://"):
            return fold_remote(protocol, text.partition("://")[2])
    if text.startswith("s3:"):
        return fold_s3(text.removeprefix("s3:"))
    return fold_path(text) if text.startswith("/") else fold_url(text)


def _kept(text: str) -> str:
    name, _, number = text.partition(" ")
    if name not in KEPT or not re.fullmatch(r"[1-9][0-9]{0,3}", number):
        raise ValueError(f"{shown(text)} is not how many copies stay (write daily 14; {', '.join(KEPT)})")
    return text


def _dump(text: str) -> str:
    engine, _, name = text.partition(" ")
    if engine not in ("postgresql", "mariadb"):
        raise ValueError(f"{shown(text)} is no database that is dumped (write postgresql crm, or mariadb all)")
    return f"{engine} {fold_database(name)}"


_FOLDS = {
    "": hosts.fold_name,
    **dict.fromkeys(("paths", "folder", "files"), fold_path),
    "repository": fold_repository,
    "program": hosts.one_of(PROGRAMS),
    "format": hosts.one_of(FORMATS),
    "password": fold_secret,
    **dict.fromkeys(("login", "key"), hosts.maybe(fold_secret)),
    "keep": _kept,
    "dumps": _dump,
}
_NUMBERS = {"upload": (0, 2**31 - 1), "check": (0, 2**31 - 1), "read": (0, 100)}


def normal(id_: Id, field: str, value: Value, scope: str) -> Value | None:
    """As programs may spell it. Raises ValueError."""
    if field in _NUMBERS:
        return hosts.between(*_NUMBERS[field], value)
    return hosts.folded(_FOLDS.get(field), value)
