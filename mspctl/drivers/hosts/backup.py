"""
Backups with restic or borgmatic, from a service and a timer of ours for each job.

What a job does stands in a file of JSON that is read back as it is; the program beside it runs restic, or borgmatic
with a configuration of its own (`backup_borgmatic.py`), and writes down how it went, for findings. Secrets are in files
of their own that only root reads: their first lines say which secret it is, so that one that was changed in Git is
seen; the value itself is never read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from mspctl.driver import Outputs
from mspctl.drivers.hosts import backup_borgmatic
from mspctl.drivers.hosts.bundle import UNITS, Bundle, Facts, File, Place, Watched, calendar, program, written
from mspctl.errors import TargetError, Unsupported
from mspctl.kinds import backup
from mspctl.moments import times
from mspctl.resource import Resource, Value

KINDS = frozenset({backup.JOB, backup.THINNING, backup.REPORT})
FOLDER, PROGRAMS, STATES = "/etc/mspctl/backup", "/usr/local/lib/mspctl", "/var/lib/mspctl"
THIN, REPORTS = "/etc/mspctl/thinning", "/etc/mspctl/reports"
PACKAGES = {
    "restic": ("ca-certificates", "openssh-client", "restic", "tzdata"),
    "borgmatic": ("borgbackup", "borgmatic", "openssh-client", "tzdata"),
}
OURS = ("backup", "thinning", "report")
WATCHED = Watched(
    files=(
        *(f"{folder}/*.conf" for folder in (FOLDER, THIN, REPORTS)),
        f"{FOLDER}/*.{backup_borgmatic.ENDING}",
        *(f"{PROGRAMS}/{what}-*" for what in OURS),
        *(f"{UNITS}/mspctl-{what}-*" for what in OURS),
    ),
    secret=(*(f"{FOLDER}/*.{name}" for name in backup.SECRETS), f"{THIN}/*.password"),
    packages=sorted({name for names in PACKAGES.values() for name in names}),
    state=tuple(f"{STATES}/{what}-*.json" for what in OURS),
)
KNOWN = {  # numbers and texts in what each writes down
    "backup": (("started", "ended", "bytes", "before", "copies", "latest", "checked"), ("error", "broken")),
    "thinning": (("ended", "good", "repositories", "removed"), ("error",)),
    "report": (("ended", "latest", "bytes", "before", "looked", "reports"), ("error",)),
}
TOLD = ("files", "format", "about")  # of a report
SETS = ("paths", "exclude", "keep", "dumps")
SAID = ("program", "repository", "host_key", "append_only", "upload", "check", "read", *SETS)  # in the file of JSON
SHAPES: Mapping[str, type] = {"append_only": bool, "upload": int, "check": int, "read": int} | dict.fromkeys(
    SETS, list
)  # the others are text


def accept(resource: Resource) -> None:
    if resource.id.kind == backup.REPORT:
        if resource.fields["format"] not in backup.FORMATS:
            raise Unsupported(f"there are reports in the formats {', '.join(backup.FORMATS)} only")
        return
    if resource.fields["program"] not in backup.PROGRAMS:
        raise Unsupported(f"there are backups with {' and '.join(backup.PROGRAMS)} only")
    try:
        times(str(resource.fields["schedule"]))
    except ValueError as error:
        raise Unsupported(str(error)) from None
    if resource.id.kind == backup.THINNING:
        if not resource.fields["keep"]:
            raise Unsupported("thinning out that keeps nothing")
        return
    if not resource.fields["paths"]:
        raise Unsupported("a backup of nothing")
    if resource.fields["append_only"] and resource.fields["keep"]:
        raise Unsupported("nothing can be taken out of an append-only repository (leave keep out)")
    program, read = str(resource.fields["program"]), resource.fields["read"]
    if unfit := backup.unfit(program, str(resource.fields["repository"]), read if isinstance(read, int) else 0):
        raise Unsupported(unfit)


# -- resources → files ------------------------------------------------------------------------------------------


def bundle(resource: Resource, place: Place) -> Bundle:
    return {backup.JOB: _job, backup.THINNING: _thinning, backup.REPORT: _report}[resource.id.kind](resource, place)


def _report(resource: Resource, place: Place) -> Bundle:
    name, said = resource.id.name, resource.fields
    head, unit, title = f"# {place.mark}\n", f"{UNITS}/mspctl-report-{name}", f"Read what is reported of {name}"
    plain = {key: said[key] for key in TOLD}
    files = [
        File(f"{REPORTS}/{name}.conf", f"{head}{json.dumps(plain, indent=1, ensure_ascii=False)}\n"),
        File(f"{PROGRAMS}/report-{name}", head + program("backup_report"), "0755"),
        File(f"{unit}.service", head + _service(title, f"report-{name} {name}")),
        File(f"{unit}.timer", f"{head}[Unit]\nDescription={title}\n\n{_HALF_HOURLY}"),
    ]
    return Bundle(files, [f"mspctl-report-{name}.timer"])


_HALF_HOURLY = (
    "[Timer]\nOnActiveSec=1min\nOnBootSec=5min\nOnUnitActiveSec=30min\nRandomizedDelaySec=2min\n\n"
    "[Install]\nWantedBy=timers.target\n"
)


def _thinning(resource: Resource, place: Place) -> Bundle:
    name, said = resource.id.name, resource.fields
    head, unit, title = f"# {place.mark}\n", f"{UNITS}/mspctl-thinning-{name}", f"Thin out backups in {said['folder']}"
    plain = {"program": said["program"], "folder": said["folder"], "keep": _listed(said["keep"])}
    files = [
        File(f"{THIN}/{name}.conf", f"{head}{json.dumps(plain, indent=1, ensure_ascii=False)}\n"),
        File(f"{THIN}/{name}.password", f"{head}# {said['password']}\n", "0600", str(said["password"])),
        File(f"{PROGRAMS}/thinning-{name}", head + program("backup_thinning"), "0755"),
        File(f"{unit}.service", head + _service(title, f"thinning-{name} {name}")),
        File(f"{unit}.timer", head + _timer(title, str(said["schedule"]), str(said["timezone"]))),
    ]
    return Bundle(files, [f"mspctl-thinning-{name}.timer"], _packages(said["program"]))


def _listed(value: Value) -> Value | list[str]:
    return sorted(value) if isinstance(value, frozenset) else value


def _job(resource: Resource, place: Place) -> Bundle:
    name, said = resource.id.name, resource.fields
    head = f"# {place.mark}\n"
    plain = {key: _listed(said[key]) for key in SAID}
    unit = f"{UNITS}/mspctl-backup-{name}"
    files = [
        File(f"{FOLDER}/{name}.conf", f"{head}{json.dumps(plain, indent=1, ensure_ascii=False)}\n"),
        File(f"{PROGRAMS}/backup-{name}", head + program("backup_job"), "0755"),
        File(f"{unit}.service", head + _service(f"Backup {name}", f"backup-{name} {name} {place.host}")),
        File(f"{unit}.timer", head + _timer(f"Backup {name}", str(said["schedule"]), str(said["timezone"]))),
        *(
            File(f"{FOLDER}/{name}.{kind}", f"{head}# {said[kind]}\n", "0600", str(said[kind]))
            for kind in backup.SECRETS
            if said[kind]
        ),
    ]
    if said["program"] == "borgmatic":
        text = head + backup_borgmatic.configuration(name, FOLDER, STATES, said)
        path = f"{FOLDER}/{name}.{backup_borgmatic.ENDING}"
        files.append(File(path, text, check=backup_borgmatic.VALIDATE))
    return Bundle(files, [f"mspctl-backup-{name}.timer"], _packages(said["program"]))


def _packages(program: Value) -> Sequence[str]:
    """Of one that nobody knows, as it may stand in a file that was edited, none."""
    return PACKAGES.get(str(program), ())


def _service(title: str, command: str) -> str:
    return (
        f"[Unit]\nDescription={title.replace('%', '%%')}\nWants=network-online.target\nAfter=network-online.target\n\n"
        f"[Service]\nType=oneshot\nNice=10\nIOSchedulingClass=idle\nUMask=0077\n"
        f"ExecStart=/usr/bin/python3 {PROGRAMS}/{command}\n"
    )


def _timer(title: str, schedule: str, timezone: str) -> str:
    """One that was missed is made up for."""
    try:
        when = calendar(*times(schedule), timezone)
    except ValueError:
        when = ""
    return (
        f"# {json.dumps({'schedule': schedule, 'timezone': timezone})}\n"
        f"[Unit]\nDescription={title.replace('%', '%%')}\n\n"
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
        elif path.startswith(f"{THIN}/") and path.endswith(".conf"):
            yield _thinned(path, file["text"], files)
        elif path.startswith(f"{REPORTS}/") and path.endswith(".conf"):
            told = written(path, file["text"])
            yield backup.report(PurePosixPath(path).stem, {key: _value(path, key, told.get(key)) for key in TOLD})


def _thinned(path: str, text: str, files: Facts) -> Resource:
    name, said = PurePosixPath(path).stem, written(path, text)
    fields = {key: _value(path, key, said.get(key)) for key in ("program", "folder", "keep")}
    fields["password"] = _which(files.get(f"{THIN}/{name}.password"))
    return backup.thinning(name, fields | _when(files.get(f"{UNITS}/mspctl-thinning-{name}.timer")))


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
    """
    `<job> <what>`: how the last run of each job went, as it wrote down; nothing of one that never ran. Likewise
    `thinning/<name> <what>` and `report/<name> <what>`.
    """
    found: dict[str, Value] = {}
    for path, state in facts["state"].items():
        kind, _, name = PurePosixPath(path).stem.partition("-")
        if isinstance(state, dict) and kind in OURS:
            start = name if kind == "backup" else f"{kind}/{name}"
            numbers, texts = KNOWN[kind]
            found |= {f"{start} {key}": state[key] if isinstance(state.get(key), int) else 0 for key in numbers}
            found |= {f"{start} {key}": " ".join(str(state.get(key, "")).split())[:300] for key in texts}
            found[f"{start} ok"] = state.get("ok") is True
    return found
