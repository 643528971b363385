"""
Backups with restic, from a service and a timer of ours for each job.

What a job does stands in a file of JSON that is read back as it is; the program beside it runs restic and writes down
how it went, for findings. Secrets are in files of their own that only root reads: their first lines say which secret it
is, so that one that was changed in Git is seen; the value itself is never read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from mspctl.driver import Outputs
from mspctl.drivers.hosts.bundle import UNITS, Bundle, Facts, File, Place, Watched, calendar, program, written
from mspctl.errors import TargetError, Unsupported
from mspctl.kinds import backup
from mspctl.moments import times
from mspctl.resource import Resource, Value

KINDS = frozenset({backup.JOB})
FOLDER, PROGRAMS, STATES = "/etc/mspctl/backup", "/usr/local/lib/mspctl", "/var/lib/mspctl"
PACKAGES = ("ca-certificates", "openssh-client", "restic", "tzdata")
WATCHED = Watched(
    files=(f"{FOLDER}/*.conf", f"{PROGRAMS}/backup-*", f"{UNITS}/mspctl-backup-*"),
    secret=tuple(f"{FOLDER}/*.{name}" for name in backup.SECRETS),
    packages=PACKAGES,
    state=(f"{STATES}/backup-*.json",),
)
SETS = ("paths", "exclude", "keep")
SAID = ("repository", "host_key", "append_only", "upload", "check", "read", *SETS)  # in the file of JSON
SHAPES: Mapping[str, type] = {"append_only": bool, "upload": int, "check": int, "read": int} | dict.fromkeys(
    SETS, list
)  # the others are text


def accept(resource: Resource) -> None:
    try:
        times(str(resource.fields["schedule"]))
    except ValueError as error:
        raise Unsupported(str(error)) from None
    if not resource.fields["paths"]:
        raise Unsupported("a backup of nothing")
    if resource.fields["append_only"] and resource.fields["keep"]:
        raise Unsupported("nothing can be taken out of an append-only repository (leave keep out)")


# -- resources → files ------------------------------------------------------------------------------------------


def bundle(resource: Resource, place: Place) -> Bundle:
    name, said = resource.id.name, resource.fields
    head = f"# {place.mark}\n"
    plain = {key: sorted(value) if isinstance(value := said[key], frozenset) else value for key in SAID}
    unit = f"{UNITS}/mspctl-backup-{name}"
    files = [
        File(f"{FOLDER}/{name}.conf", f"{head}{json.dumps(plain, indent=1, ensure_ascii=False)}\n"),
        File(f"{PROGRAMS}/backup-{name}", head + program("backup_job"), "0755"),
        File(f"{unit}.service", head + _service(name, place.host)),
        File(f"{unit}.timer", head + _timer(name, str(said["schedule"]), str(said["timezone"]))),
        *(
            File(f"{FOLDER}/{name}.{kind}", f"{head}# {said[kind]}\n", "0600", str(said[kind]))
            for kind in backup.SECRETS
            if said[kind]
        ),
    ]
    return Bundle(files, [f"mspctl-backup-{name}.timer"], PACKAGES)


def _service(name: str, host: str) -> str:
    return (
        f"[Unit]\nDescription=Backup {name}\nWants=network-online.target\nAfter=network-online.target\n\n"
        f"[Service]\nType=oneshot\nNice=10\nIOSchedulingClass=idle\nUMask=0077\n"
        f"ExecStart=/usr/bin/python3 {PROGRAMS}/backup-{name} {name} {host}\n"
    )


def _timer(name: str, schedule: str, timezone: str) -> str:
    """One that was missed is made up for."""
    try:
        when = calendar(*times(schedule), timezone)
    except ValueError:
        when = ""
    return (
        f"# {json.dumps({'schedule': schedule, 'timezone': timezone})}\n"
        f"[Unit]\nDescription=Backup {name}\n\n"
        f"[Timer]\nOnCalendar={when}\nPersistent=true\nRandomizedDelaySec=300\nFixedRandomDelay=true\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )


# -- facts → resources ------------------------------------------------------------------------------------------


def parse(facts: Facts) -> Iterator[Resource]:
    files = facts["files"]
    for path, file in files.items():
        if path.startswith(f"{FOLDER}/") and path.endswith(".conf"):
            name = PurePosixPath(path).stem
            said = written(path, file["text"])
            fields: dict[str, Value] = {key: _value(path, key, said.get(key)) for key in SAID}
            fields |= {kind: _which(files.get(f"{FOLDER}/{name}.{kind}")) for kind in backup.SECRETS}
            when = _when(files.get(f"{UNITS}/mspctl-backup-{name}.timer"))
            yield backup.job(name, fields | when)


def _value(path: str, key: str, value: object) -> Value:
    if not isinstance(value, SHAPES.get(key, str)):
        raise TargetError(f"{path} is not what mspctl wrote there ({key})")
    return frozenset(map(str, value)) if isinstance(value, list) else value  # type: ignore[return-value]


def _which(file: Mapping[str, str] | None) -> str:
    """Which secret a file says that it holds."""
    lines = file["text"].splitlines() if file else []
    return lines[1].removeprefix("# ") if len(lines) > 1 else ""


def _when(file: Mapping[str, str] | None) -> dict[str, Value]:
    """As the timer's second line says; that the rest is what follows from it, the bundle shows."""
    lines = file["text"].splitlines() if file else []
    try:
        said = json.loads(lines[1].removeprefix("# "))
        return {key: str(said[key]) for key in ("schedule", "timezone")}
    except (IndexError, KeyError, TypeError, ValueError):
        return {"schedule": "", "timezone": ""}


def known(facts: Facts) -> Outputs:
    """`<job> <what>`: how the last run of each job went, as it wrote down; nothing of one that never ran."""
    found: dict[str, Value] = {}
    for path, state in facts["state"].items():
        if isinstance(state, dict):
            name = PurePosixPath(path).stem.removeprefix("backup-")
            for key in ("started", "ended", "bytes", "before", "copies", "latest", "checked"):
                found[f"{name} {key}"] = state[key] if isinstance(state.get(key), int) else 0
            found[f"{name} ok"] = state.get("ok") is True
            for key in ("error", "broken"):
                found[f"{name} {key}"] = " ".join(str(state.get(key, "")).split())[:300]
    return found
